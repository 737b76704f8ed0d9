"""Recipe + environment + overrides, in Hydra's grammar, give one recipe."""

import pytest

from onnxbuild.compose import compose, expand, validate
from onnxbuild.errors import RecipeError, UsageError

PATH = "recipes/small.yaml"


def write_env(project, name, text):
    (project / "configs/env").mkdir(parents=True, exist_ok=True)
    (project / "configs/env" / f"{name}.yaml").write_text("# @package _global_\n" + text)


def test_a_config_needs_no_header(project):
    """What a config of any group says is said of the recipe, as in a file of overrides."""
    write_env(project, "prod", "")
    (project / "configs/env/prod.yaml").write_text("export: {opset: 20}\n")
    (project / "configs/size").mkdir()
    (project / "configs/size/big.yaml").write_text("model: {kwargs: {width: 64}}\n")
    (project / "configs/size/small.yaml").write_text("model: {kwargs: {width: 4}}\n")
    (project / "recipes/derived.yaml").write_text(
        "defaults: [small, {/size: small}]\nname: derived\n"
    )

    plain = compose(PATH, ["env=prod", "size=big"]).recipe
    derived = compose("recipes/derived.yaml", ["size=big"]).recipe
    with_plus = compose("recipes/derived.yaml", ["+size=big"]).recipe

    assert (plain.export.opset, plain.model.kwargs["width"]) == (20, 64)
    assert derived.model.kwargs["width"] == with_plus.model.kwargs["width"] == 64


def test_a_recipe_may_choose_its_environment(project):
    """An environment in the defaults list is taken when the call names none, however it is written there."""
    write_env(project, "prod", "export: {opset: 20}\n")
    for name, item in (("plain", "env: prod"), ("overriding", "override env: prod")):
        (project / f"recipes/{name}.yaml").write_text(f"defaults: [small, {{{item}}}]\n")

    opsets = [
        compose(f"recipes/{name}.yaml").recipe.export.opset for name in ("plain", "overriding")
    ]

    assert opsets == [20, 20]


def test_what_a_missing_base_would_give_is_not_missed(project):
    """Only the mistake in the defaults list is told, not what the recipe seems to lack without it."""
    (project / "recipes/derived.yaml").write_text("defaults: [smal]\nname: derived\n")

    mistakes = validate("recipes/derived.yaml")

    assert [mistake.what for mistake in mistakes] == ["there is no config smal"]


def test_a_file_whose_name_is_no_recipes_name_is_told_so(project):
    """The name came from the file: that is said, and what to do."""
    (project / "recipes/my model.yaml").write_text((project / PATH).read_text())

    (mistake,) = validate("recipes/my model.yaml")

    assert "it is the file's name; give the recipe a `name:`" in mistake.hint
    assert compose("recipes/my model.yaml", ["name=mine"]).recipe.name == "mine"


def test_short_forms_are_written_out(project):
    """What a recipe leaves to be understood is there in the end."""
    recipe = compose(PATH).recipe

    assert recipe.name == "small"
    assert recipe.folder == "recipes"
    assert recipe.model.weights.path == "net/weights.safetensors"
    assert recipe.inputs["image"].shape == (2, 1, 8, 8)
    assert recipe.dynamic_axes == {"image": {"0": "batch"}, "logits": {"0": "batch"}}
    assert recipe.data["calibration"].entry == "net/data.py:calibration"
    assert recipe.stages["slim"].from_ == "export"
    assert recipe.publish == ("fp16", "int8")


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("export.opset=20", ("export", "opset"), 20),
        ("settings.jobs=2", ("settings", "jobs"), 2),
        ("dynamic_axes.image.0=n", ("dynamic_axes", "image", "0"), "n"),
        ("dynamic_axes.logits={0: batch, 1: classes}", ("dynamic_axes", "logits", "1"), "classes"),
        ("stages.int8.per_channel=false", ("stages", "int8", "per_channel"), False),
        ("stages.slim.fixed_point=false", ("stages", "slim", "fixed_point"), False),
        ("stages.fp16={use: float16, max_finite_val: 1e3}", ("stages", "fp16", "max_finite_val"), 1e3),
        ("stages.extra=onnxruntime", ("stages", "extra", "use"), "onnxruntime"),
        ("stages.fp16=onnxruntime", ("stages", "fp16", "from"), "slim"),
        ("publish=[slim]", ("publish",), ["slim"]),
        ("inputs.image=[4,1,8,8]", ("inputs", "image", "shape"), [4, 1, 8, 8]),
        ("inputs.image.shape.0=3", ("inputs", "image", "shape"), [3, 1, 8, 8]),
        ("inputs.image.range=[0,1]", ("inputs", "image", "range"), [0.0, 1.0]),
        ("+dims.batch.max=9", ("dims", "batch", "max"), 9),
        ("++dims.batch.example=5", ("inputs", "image", "shape"), [5, 1, 8, 8]),
        ("model.kwargs.width=8", ("model", "kwargs", "width"), 8),
        ("verify.int8.rtol=1e-3", ("verify", "int8", "rtol"), 1e-3),
        ("verify.default.cosine=0.9", ("verify", "default", "cosine"), 0.9),
        ("description='a, b'", ("description",), "a, b"),
        ("description=${name} of ${model.entry}", ("description",), "x of net/model.py:build"),
        ("pass_env=[HF_HOME]", ("pass_env",), ["HF_HOME"]),
        ("export.metadata.owner=me", ("export", "metadata", "owner"), "me"),
        ("executor=inline", ("settings", "executor"), "inline"),
        ("store=local", ("settings", "store"), ".onnxbuild"),
        ("env=ci", ("settings", "keep_going"), True),
        ("env=edge", ("export", "metadata", "target"), "edge"),
        ("settings.timeout=null", ("settings", "timeout"), None),
    ],
)  # fmt: skip
def test_an_override_reaches_every_key(project, override, where, value):
    """A key that the schema knows never needs a plus; a group is chosen by name."""
    found = compose(PATH, ["name=x", override]).canonical

    for key in where:
        found = found[key]
    assert found == value


def test_a_stage_is_removed_by_an_override(project):
    """`~stages.int8` builds one variant less, and asks nothing of it."""
    (project / PATH).write_text((project / PATH).read_text() + "publish: [slim, fp16, int8]\n")

    recipe = compose(PATH, ["~stages.int8"]).recipe

    assert recipe.publish == ("slim", "fp16")
    assert "int8" not in recipe.verify


def test_an_override_beats_the_environment_which_beats_the_recipe(project):
    """Three sources, one order."""
    write_env(project, "high", "export: {opset: 20}\nstages: {fp16: {from: export}}\n")
    (project / PATH).write_text((project / PATH).read_text() + "export: {opset: 19}\n")

    plain = compose(PATH).recipe.export.opset
    in_env = compose(PATH, ["env=high"]).recipe
    over = compose(PATH, ["env=high", "export.opset=21"]).recipe.export.opset

    assert (plain, in_env.export.opset, over) == (19, 20, 21)
    assert in_env.stages["fp16"].from_ == "export"


def test_a_project_has_its_own_local_environment(project):
    """`configs/env/local.yaml` is taken when no environment is named."""
    write_env(project, "local", "settings: {jobs: 3}\n")

    assert compose(PATH).recipe.settings.jobs == 3


def test_a_recipe_has_a_defaults_list_of_its_own(project):
    """A base beside the recipe lies under it, and the environment still lies over it."""
    (project / "recipes/base.yaml").write_text("export: {opset: 20}\ndescription: base\n")
    write_env(project, "local", "description: from the environment\n")
    text = "defaults: [base]\nexport: {exporter: dynamo}\n" + (project / PATH).read_text()
    (project / PATH).write_text(text)

    recipe = compose(PATH).recipe

    assert (recipe.export.opset, recipe.export.exporter) == (20, "dynamo")
    assert recipe.description == "from the environment"


def test_a_group_of_the_projects_own_can_be_chosen(project):
    """Without a plus, and from several places."""
    folder = project / "configs/quality"
    folder.mkdir(parents=True)
    (folder / "high.yaml").write_text("# @package _global_\nverify: {default: {cosine: 0.999}}\n")
    (folder / "verify.yaml").write_text("# @package verify.fp16\ncosine: 0.99\n")

    high = compose(PATH, ["quality=high"]).recipe
    packaged = compose(PATH, ["quality=verify"]).recipe

    assert high.verify["default"].cosine == 0.999
    assert packaged.verify["fp16"].cosine == 0.99


def test_an_environment_chooses_an_executor(project):
    """An environment has a defaults list too."""
    text = "defaults:\n  - override /executor: inline\n  - _self_\n"
    write_env(project, "debug", text.replace("  - _self_\n", ""))

    assert compose(PATH, ["env=debug"]).recipe.settings.executor == "inline"


def test_axes_are_text_wherever_they_come_from(project):
    """An integer key in a config is the same key as in the recipe."""
    write_env(project, "local", "dynamic_axes: {image: {0: n}, logits: {0: n}}\n")

    axes = compose(PATH).recipe.dynamic_axes

    assert axes == {"logits": {"0": "n"}, "image": {"0": "n"}}


def test_a_folder_named_like_a_section_is_no_group(project):
    """`data/` beside a recipe does not make `data=` a choice of configs."""
    (project / "recipes/data").mkdir()
    (project / "recipes/data/calibration.yaml").write_text("a: 1\n")

    recipe = compose(PATH, ["data.calibration.samples=4"]).recipe

    assert recipe.data["calibration"].samples == 4


def test_variables_are_read_through_oc_env(project, monkeypatch):
    """And noted by the digest of their value, never by the value."""
    monkeypatch.setenv("SECRET_HOME", "/very/secret")
    (project / PATH).write_text(
        (project / PATH).read_text() + "roots: {hf: '${oc.env:SECRET_HOME}'}\n"
    )

    composition = compose(PATH)

    assert composition.recipe.roots == {"hf": "/very/secret"}
    noted = [fact for fact in composition.facts if fact[0] == "variable"]
    assert [name for _, name, _ in noted] == ["SECRET_HOME"]
    assert "secret" not in str(noted).replace("SECRET_HOME", "")


def test_a_value_to_be_given_must_be_given(project):
    """Hydra's `???` asks for an override."""
    (project / PATH).write_text((project / PATH).read_text() + "description: ???\n")

    wrong = validate(PATH)

    assert [mistake.what for mistake in wrong] == ["`description` must be given"]
    assert validate(PATH, ["description=x"]) == []


def test_a_stage_and_a_rule_of_the_users_own(project):
    """Their options are theirs, and come out under `options`."""
    (project / "recipes/net/own.py").write_text(
        "def prune(model, amount): ...\ndef patch(model, *, deep=False): ...\n"
    )
    text = (
        (project / PATH)
        .read_text()
        .replace("slim: onnxoptimizer", "slim: {use: 'net/own.py:prune', amount: 0.5}")
    )
    (project / PATH).write_text(
        text + "replace:\n  patch: {rule: 'net/own.py:patch', deep: true, optional: true}\n"
    )

    composition = compose(PATH)
    again = compose(PATH)

    stage = composition.recipe.stages["slim"].stage
    rule = composition.recipe.replace["patch"]
    assert (stage.function, stage.options) == ("net/own.py:prune", {"amount": 0.5})
    assert (rule.function, rule.options, rule.optional) == (
        "net/own.py:patch",
        {"deep": True},
        True,
    )
    assert again.recipe == composition.recipe
    assert composition.canonical["stages"]["slim"] == {
        "use": "net/own.py:prune",
        "from": "export",
        "amount": 0.5,
    }
    assert composition.canonical["replace"]["patch"] == {
        "rule": "net/own.py:patch",
        "deep": True,
        "optional": True,
    }


def test_no_user_code_runs(project):
    """A recipe is checked by parsing what it names."""
    (project / "recipes/net/model.py").write_text("def build(width): ...\nraise SystemExit(9)\n")

    assert validate(PATH) == []


@pytest.mark.parametrize(
    ("overrides", "points"),
    [
        (["a=1"], [["a=1"]]),
        ([], [[]]),
        (["export.opset=18,20"], [["export.opset=18"], ["export.opset=20"]]),
        (["export.opset=range(18,22,2)"], [["export.opset=18"], ["export.opset=20"]]),
        (["a=choice([1,2],x)", "b=3"], [["a=[1,2]", "b=3"], ["a=x", "b=3"]]),
        (["a=1,2", "env=ci,edge"], [["a=1", "env=ci"], ["a=1", "env=edge"], ["a=2", "env=ci"], ["a=2", "env=edge"]]),
    ],
)  # fmt: skip
def test_a_sweep_is_written_out(overrides, points):
    """Every combination, the last override fastest."""
    assert expand(overrides) == points


def test_a_sweep_without_points_is_refused():
    """An interval has no end of values."""
    with pytest.raises(RecipeError, match="an interval has no points to build"):
        expand(["a=interval(0,1)"])


def test_a_recipe_that_is_not_there(project):
    """The nearest name is suggested."""
    with pytest.raises(UsageError, match=r"there is no recipe recipes/smal\.yaml") as caught:
        compose("recipes/smal.yaml")
    assert caught.value.hint == "did you mean 'small.yaml'?"

    with pytest.raises(UsageError, match="recipes is a folder, not a recipe"):
        compose("recipes")


def test_mistakes_of_several_recipes_are_given_at_once(project):
    """`validate` goes on."""
    (project / "recipes/wrong.yaml").write_text("model: {entri: x}\n")

    wrong = validate(["recipes/nowhere.yaml", PATH, "recipes/wrong.yaml"])

    assert [type(mistake).__name__ for mistake in wrong] == ["UsageError", "Mistake", "Mistake"]


def test_hydra_is_left_as_it_was(project):
    """Its global state is others' too."""
    from hydra.version import VersionBase
    from omegaconf import OmegaConf

    VersionBase.instance().version_base = None
    compose(PATH, ["description=${oc.env:HOME}"])

    assert VersionBase.instance().version_base is None
    assert OmegaConf.create({"a": "${oc.env:NOT_THERE,x}"}).a == "x"


CACHED = """\
model: {entry: net/model.py:build}
inputs:
  ids: {shape: [batch, sequence], dtype: int64}
  past: {expand: "{0..1}.{key,value}", shape: [batch, 2, past, 4]}
  batch.dense: [batch, 3]
  use_cache: {value: true}
"""


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("inputs.past.1.key.dtype=float16", {"past.1.key": "float16"}),
        ("inputs.batch.dense.dtype=float64", {"batch.dense": "float64"}),
        (
            "inputs.past.dtype=float64",
            dict.fromkeys(["past.0.key", "past.0.value", "past.1.key", "past.1.value"], "float64"),
        ),
    ],
)
def test_an_override_reaches_a_name_with_dots(project, override, changed):
    """One of the many that were written once, or all of them."""
    (project / "recipes/cached.yaml").write_text(CACHED)

    before = compose("recipes/cached.yaml").recipe.inputs
    after = compose("recipes/cached.yaml", [override]).recipe.inputs

    assert list(after) == list(before)
    found = {name: item.dtype for name, item in after.items() if item != before[name]}
    assert found == changed


def test_overrides_add_inputs_constants_and_expressions(project):
    """A new name goes up to the first key of an input; an expression needs quotes that the shell leaves."""
    (project / "recipes/cached.yaml").write_text(CACHED)

    recipe = compose(
        "recipes/cached.yaml",
        [
            "inputs.batch.mask.shape=[batch,'past + sequence']",
            "inputs.use_cache.value=false",
            "dynamic_axes.hidden.0.state.1='past+sequence+1'",
            "~inputs.past.1.value",
        ],
    ).recipe

    assert recipe.inputs["batch.mask"].shape == (2, 4)
    assert recipe.dynamic_axes["batch.mask"] == {"0": "batch", "1": "past + sequence"}
    assert recipe.dynamic_axes["hidden.0.state"] == {"1": "past + sequence + 1"}
    assert recipe.constants == {"use_cache": False}
    assert "past.1.value" not in recipe.inputs


def test_a_wrong_override_of_many_is_shown_whole(project):
    """The caret stands under what the override says, and the mistake is told once."""
    (project / "recipes/cached.yaml").write_text(CACHED)

    mistakes = validate("recipes/cached.yaml", ["inputs.past.dtype=flot16"])

    assert [mistake.what for mistake in mistakes] == [
        "`inputs.past.dtype` cannot be the text 'flot16'"
    ]
