"""Points of a sweep become recipes of one plan, each with a folder of its own."""

import pytest

import onnxbuild
from onnxbuild.compose import compose_all
from onnxbuild.compose.sweeping import name_points
from onnxbuild.errors import UsageError
from onnxbuild.planner import make_plan, name_owners

PATH = "recipes/small.yaml"


def test_each_point_is_a_recipe_named_after_what_is_swept(project):
    """What every point has is not in the name; the order is that of the sweep."""
    made = compose_all(
        [PATH], ["export.opset=18,20", "export.strict=true", "stages.int8.per_channel=true,false"],
        multirun=True,
    )  # fmt: skip

    assert [item.recipe.name for item in made] == [
        "small/export.opset=18,stages.int8.per_channel=True",
        "small/export.opset=18,stages.int8.per_channel=False",
        "small/export.opset=20,stages.int8.per_channel=True",
        "small/export.opset=20,stages.int8.per_channel=False",
    ]
    assert [item.recipe.export.opset for item in made] == [18, 18, 20, 20]
    assert all(item.recipe.export.strict for item in made)


def test_points_share_the_steps_that_they_have_in_common(project):
    """Reference and samples are planned once, exports once for each opset."""
    made = compose_all([PATH], ["export.opset=18,20"], multirun=True)

    plan = make_plan([item.recipe for item in made])

    labels = [step.label for step in plan.steps]
    assert (labels.count("reference"), labels.count("export")) == (1, 2)
    assert plan.owner(plan.steps[labels.index("reference")]) == "small"
    assert plan.owner(plan.steps[labels.index("export")]) == "small/export.opset=18"


def test_a_call_without_a_sweep_is_what_it_always_is(project):
    """``--multirun`` alone changes no name."""
    (made,) = compose_all([PATH], ["export.opset=20"], multirun=True)

    assert made.recipe.name == "small"


@pytest.mark.parametrize(
    ("overrides", "points", "names"),
    [
        (["a=1,2", "b=3"], [["a=1", "b=3"], ["a=2", "b=3"]], ["a=1", "a=2"]),
        (["env=ci,edge"], [["env=ci"], ["env=edge"]], ["env=ci", "env=edge"]),
        (["p=x/y,z"], [["p=x/y"], ["p=z"]], ["p=x_y", "p=z"]),
    ],
)
def test_names_are_those_of_folders(overrides, points, names):
    """Signs that a folder's name should not have are replaced."""
    assert name_points(overrides, points) == names


def test_no_two_points_share_a_folder():
    """Names that would be the same, or too long, are told apart by a digest."""
    same = name_points(["p=…"], [["p=a/b"], ["p=a b"]])
    long = name_points(["p=…"], [["p=" + "x" * 300 + "1"], ["p=" + "x" * 300 + "2"]])

    assert len(set(same)) == len(set(long)) == 2
    assert max(map(len, long)) <= 120


def test_a_recipe_is_named_once(project):
    """The same recipe twice, and recipes of different projects, have no plan in common."""
    with pytest.raises(UsageError, match="two recipes are named 'small'"):
        compose_all([PATH, PATH], [])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a/x=1,y=1", "a/x=1,y=2"], "a/x=1"),
        (["a/x=1", "a/x=2", "b/x=1"], "a, b/x=1"),
    ],
)
def test_shared_steps_are_named_by_what_their_points_have_in_common(names, told):
    """A step of forty points is not named forty times."""
    assert name_owners(names) == told


def test_python_takes_one_or_several_of_everything(project):
    """A path is text or a `Path`, one override needs no list, and what is wrong is given as values."""
    one = onnxbuild.validate(project / PATH, "export.opset=20")
    swept = onnxbuild.validate([PATH], ["export.opset=18,200"], multirun=True)
    endless = onnxbuild.validate(PATH, "export.opset=interval(1,2)", multirun=True)

    assert one == ()
    assert [mistake.what for mistake in swept] == ["`export.opset` must be at most 25, not 200"]
    assert [mistake.what for mistake in endless] == ["an interval has no points to build"]


def test_publishing_less_for_once_takes_no_gates_away(project):
    """Gates of what an override leaves out are left aside; in the file they are a mistake."""
    gated = ["verify.export.cosine=0.9", "verify.fp16.cosine=0.9"]

    mistakes = onnxbuild.validate(PATH, [*gated, "publish=[int8]"])

    assert mistakes == ()
    assert onnxbuild.validate(PATH, gated)


@pytest.mark.parametrize(
    "call",
    [
        lambda: onnxbuild.plan([]),
        lambda: onnxbuild.plan(PATH, only=["fp17"]),
        lambda: onnxbuild.run(PATH, jobs=0),
        lambda: onnxbuild.run(PATH, rerun=["exprot"]),
    ],
    ids=["no recipe", "no such variant", "no jobs", "no such step"],
)
def test_wrong_calls_from_python_are_usage_errors(project, call):
    """What the command refuses, the functions refuse alike."""
    with pytest.raises(UsageError):
        call()
