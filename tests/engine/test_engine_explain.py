"""Why a step runs, in words."""

from __future__ import annotations

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
