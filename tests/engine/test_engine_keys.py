"""Action keys: all that can change a result, and nothing else."""

from __future__ import annotations

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.step import Step
from onnxbuild.engine import code
from onnxbuild.engine.keys import find_ingredients, make_key


def step(label: str, *, run: str = "tests:join", **fields) -> Step:
    return Step(run=run, label=label, **fields)


def test_code_of_a_step_is_in_its_key(tmp_path, monkeypatch):
    """Of its run module and of all that it imports from onnxbuild, at any depth; not of what it does not."""
    package = tmp_path / "onnxbuild"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "run.py").write_text("from onnxbuild.near import f\n")
    (package / "near.py").write_text("import onnxbuild.far\n")
    (package / "far.py").write_text("a = 1\n")
    (package / "other.py").write_text("")
    monkeypatch.setattr(code, "FOLDER", str(package))

    def key():
        code.digest_code.cache_clear()
        code._read.cache_clear()
        return make_key(find_ingredients(step("x", run="onnxbuild.run:f"), {}))

    keys = [key()]
    for name in ("run", "near", "far"):
        (package / f"{name}.py").write_text((package / f"{name}.py").read_text() + "# changed\n")
        keys.append(key())
    (package / "other.py").write_text("# changed\n")
    unrelated = key()
    code.digest_code.cache_clear()
    code._read.cache_clear()

    assert len(set(keys)) == 4
    assert unrelated == keys[-1]


def test_code_that_options_name_is_in_the_key(tmp_path, monkeypatch):
    """A rule's function is reached by a name in the options of the export, and its code counts as well."""
    package = tmp_path / "onnxbuild"
    package.mkdir()
    for name in ("__init__", "run", "rule", "other"):
        (package / f"{name}.py").write_text("")
    monkeypatch.setattr(code, "FOLDER", str(package))
    options = {"replace": [{"name": "mine", "run": "onnxbuild.rule:apply", "options": {}}]}

    def key():
        code.digest_code.cache_clear()
        code._read.cache_clear()
        return make_key(find_ingredients(step("x", run="onnxbuild.run:f", options=options), {}))

    first = key()
    (package / "other.py").write_text("# changed\n")
    unrelated = key()
    (package / "rule.py").write_text("# changed\n")
    changed = key()
    code.digest_code.cache_clear()
    code._read.cache_clear()

    assert unrelated == first
    assert changed != first


def test_key_sees_every_ingredient():
    """Whatever can change a result changes the key; labels and resources do not."""
    artifact = Artifact(kind="model", digest="b3:1", size=1)
    other = Artifact(kind="model", digest="b3:2", size=1)
    base = step("x", options={"a": 1}, folder="recipes", libraries=("numpy",))

    def key(made: Step, given: Artifact = artifact) -> str:
        return make_key(find_ingredients(made, {"model": given}))

    assert key(base) == key(
        step("other label", options={"a": 1}, folder="recipes", libraries=("numpy",))
    )
    changed = [
        step("x", options={"a": 1.0}, folder="recipes", libraries=("numpy",)),
        step("x", options={"a": True}, folder="recipes", libraries=("numpy",)),
        step("x", options={"a": "1"}, folder="recipes", libraries=("numpy",)),
        step("x", options={"a": 1}, folder="elsewhere", libraries=("numpy",)),
        step("x", options={"a": 1}, folder="recipes", libraries=("onnx",)),
        step("x", options={"a": 1}, folder="recipes", libraries=("numpy",), threads=2),
        step("x", options={"a": 1}, folder="recipes", libraries=("numpy",), machine=True),
        step("x", options={"a": 1}, folder="recipes", libraries=("numpy",), outputs=("other",)),
        step("x", options={"a": 1}, folder="recipes", libraries=("numpy",), run="tests:else"),
    ]
    keys = {key(item) for item in changed} | {key(base), key(base, other)}
    assert len(keys) == len(changed) + 2
