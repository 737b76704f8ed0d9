"""Why a step runs, in words."""

from __future__ import annotations

import pytest

from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.trace import Trace
from onnxbuild.engine.explain import explain_missing


def make_trace(**files: str) -> Trace:
    facts = tuple(
        ("file", f"./{name}.txt", digest_bytes(text.encode())) for name, text in files.items()
    )
    return Trace(key="b3:k", ingredients={}, observations=facts, results={})


def explain(traces, root) -> list[str]:
    return explain_missing({}, traces, None, str(root), {}, {}, ())


def test_only_what_changed_since_the_nearest_build_is_named(tmp_path):
    """After going to another state and back, the state in between is no cause."""
    (tmp_path / "helper.txt").write_text("A")
    (tmp_path / "config.txt").write_text("edited")
    first = make_trace(helper="A", config="old")
    between = make_trace(helper="B", config="old")

    causes = explain([first, between], tmp_path)

    assert causes == ["config.txt changed"]


def test_every_changed_file_is_named(tmp_path):
    """Gone, and changed, are told apart."""
    (tmp_path / "config.txt").write_text("edited")

    causes = explain([make_trace(helper="A", config="old")], tmp_path)

    assert causes == ["helper.txt is gone", "config.txt changed"]


OLD = {
    "options": {"opset": 18, "names": ["a", "b"], "deep": {"flag": True}},
    "inputs": {"model": ["model", "b3:1"]},
    "libraries": {"onnx": "1.16.0", "numpy": "2.0.0"},
    "variables": {"HF_HOME": "b3:x"},
    "code": "b3:c",
    "run": "a:b",
    "outputs": ["model"],
    "threads": 1,
    "folder": "recipes",
    "platform": ["linux", "x86_64", "3.11.7"],
    "machine": "",
    "version": 2,
}


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ({"options": OLD["options"] | {"opset": 20}}, ["opset: 18 → 20"]),
        ({"options": OLD["options"] | {"opset": None}}, ["opset: 18 → None"]),
        ({"options": OLD["options"] | {"names": ["a", "c"]}}, ["names[1]: b → c"]),
        ({"options": OLD["options"] | {"names": ["a"]}}, ["names: ['a', 'b'] → ['a']"]),
        ({"options": OLD["options"] | {"deep": {"flag": 1}}}, ["deep.flag: True → 1"]),
        ({"inputs": {"model": ["model", "b3:2"]}}, ["its input model changed"]),
        ({"libraries": {"onnx": "1.17.0", "numpy": "2.0.0"}}, ["onnx 1.16.0 → 1.17.0"]),
        ({"libraries": {"onnx": "", "numpy": "2.0.0"}}, ["onnx 1.16.0 → not installed"]),
        ({"variables": {"HF_HOME": "b3:y"}}, ["the environment variable HF_HOME changed"]),
        ({"code": "b3:d"}, ["onnxbuild's own code for it changed"]),
        ({"threads": 2}, ["threads: 1 → 2"]),
        ({"machine": "x86_64 avx2"}, ["class of processor: none → x86_64 avx2"]),
        ({"version": 3}, ["version of keys: 2 → 3"]),
    ],
)
def test_what_of_a_key_changed_is_named(change, causes, tmp_path):
    """From what to what, for options, versions and the rest."""
    previous = Trace(key="b3:k", ingredients=OLD, observations=(), results={})

    found = explain_missing(OLD | change, [], previous, str(tmp_path), {}, {}, ())

    assert found == causes


def test_a_changed_package_is_named_with_both_versions(tmp_path):
    """Of a trace that would hold but for it."""
    trace = Trace(
        key="b3:k",
        ingredients={},
        observations=(("package", "no-such-package", "1.2"),),
        results={},
    )

    assert explain([trace], tmp_path) == ["no-such-package 1.2 → not installed"]


def test_what_was_never_built_and_what_is_gone_are_told_apart(tmp_path):
    """Nothing like it, or a result that is no longer there."""
    previous = Trace(key="b3:k", ingredients=OLD, observations=(), results={})

    never = explain_missing(OLD, [], None, str(tmp_path), {}, {}, ())
    gone = explain_missing(OLD, [], previous, str(tmp_path), {}, {}, ())

    assert never == ["nothing like it was ever built"]
    assert gone == ["its earlier result is no longer in the store"]
