"""A composed recipe is remembered exactly as long as what it observed holds."""

import shutil
import subprocess
import sys

import pytest

from onnxbuild.compose import compose, remembered
from onnxbuild.compose.composing import compose_anew

PATH = "recipes/small.yaml"


@pytest.fixture
def anew(monkeypatch):
    """Count how often a recipe is composed anew."""
    calls = []

    def counted(path, *arguments, **options):
        calls.append(path)
        return compose_anew(path, *arguments, **options)

    monkeypatch.setattr("onnxbuild.compose.composing.compose_anew", counted)
    return calls


def test_what_is_remembered_is_the_same(project, anew):
    """Recipe, canonical mapping, facts and sources."""
    first = compose(PATH, ["env=ci"])
    second = compose(PATH, ["env=ci"])

    assert len(anew) == 1
    assert second.recipe == first.recipe
    assert second.canonical == first.canonical
    assert (second.facts, second.sources) == (first.facts, first.sources)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: (p / PATH).write_text((p / PATH).read_text() + "#\n"), id="recipe"),
        pytest.param(lambda p: (p / "configs/env").mkdir(parents=True) or (p / "configs/env/local.yaml").write_text("# @package _global_\n{}\n"), id="own-environment"),
        pytest.param(lambda p: (p / "recipes/net/model.py").write_text("def build(width): ...\n"), id="entry-file"),
        pytest.param(lambda p: (p / "recipes/net/weights.safetensors").rename(p / "recipes/net/w.safetensors") and (p / "recipes/net/weights.safetensors").write_bytes(b""), id="listing"),
    ],
)  # fmt: skip
def test_it_is_composed_anew_when_something_changed(project, anew, change):
    """Each file that was read, looked for or listed counts."""
    compose(PATH)

    change(project)
    compose(PATH)

    assert len(anew) == 2


def test_the_content_of_weights_does_not_count(project, anew):
    """Only that they are there: to digest gigabytes is the steps' work."""
    compose(PATH)

    (project / "recipes/net/weights.safetensors").write_bytes(b"other")
    compose(PATH)

    assert len(anew) == 1


def test_overrides_and_variables_count(project, anew, monkeypatch):
    """Another override, or another value of a variable that was read."""
    monkeypatch.setenv("FLAVOUR", "mint")
    compose(PATH, ["description=${oc.env:FLAVOUR}"])
    compose(PATH)
    monkeypatch.setenv("FLAVOUR", "lime")

    changed = compose(PATH, ["description=${oc.env:FLAVOUR}"])
    compose(PATH)

    assert changed.recipe.description == "lime"
    assert len(anew) == 3


def test_versions_count(project, anew, monkeypatch):
    """Another Hydra composes anew."""
    from onnxbuild.core import facts

    compose(PATH)

    monkeypatch.setattr(facts, "_installed", {**facts.installed(), "hydra-core": "1.9"})
    compose(PATH)

    assert len(anew) == 2


def test_a_wrong_recipe_is_never_remembered(project, anew):
    """A mistake is looked at again each time."""
    from onnxbuild.compose import validate

    (project / "recipes/net/model.py").unlink()

    first, second = validate(PATH), validate(PATH)

    assert [str(item) for item in first] == [str(item) for item in second]
    assert len(anew) == 2


def test_a_moved_project_keeps_its_answers(project, anew, monkeypatch):
    """Copied elsewhere with its store, nothing is composed anew."""
    compose(PATH)
    copy = project.parent / "elsewhere"
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)

    moved = compose(PATH)

    assert len(anew) == 1
    assert moved.root == str(copy)


def test_a_project_that_cannot_be_written_to_is_composed_all_the_same(project, monkeypatch):
    """Remembering is a help, not a need."""
    (project / ".onnxbuild").write_text("a file where the store should be")

    assert compose(PATH).recipe.name == "small"


def test_the_code_is_part_of_the_key(project, anew, monkeypatch):
    """A newer onnxbuild reads recipes anew."""
    compose(PATH)

    monkeypatch.setattr(remembered, "code_stamp", lambda: "other")
    compose(PATH)

    assert len(anew) == 2


def test_a_remembered_recipe_needs_no_heavy_import(project):
    """Neither Hydra, OmegaConf, PyYAML nor jsonschema; nor torch, onnx or numpy."""
    compose(PATH)
    code = (
        "import sys\nfrom onnxbuild.compose import compose\n"
        f"compose({PATH!r})\n"
        "heavy = ('hydra','omegaconf','yaml','jsonschema','torch','onnx','onnxruntime','numpy','importlib.metadata')\n"
        "print([name for name in heavy if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
