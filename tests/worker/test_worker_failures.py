"""What the user reads when a step fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

from onnxbuild.core.ports import Job
from onnxbuild.errors import ModelError, OnnxbuildError
from onnxbuild.worker.failures import LONGEST, explain


@pytest.fixture
def job(tmp_path):
    return Job(
        id="1",
        run="m:f",
        options=None,
        inputs={},
        outputs=("model",),
        label="export",
        store=str(tmp_path / "store"),
        root=str(tmp_path),
        folder=".",
    )


def run_text(text, path, call):
    names = {}
    exec(compile(text, path, "exec"), names)
    eval(call, names)


def caught(tmp_path, text, call="build()"):
    """Write `text` as the user's module, run a call of it, and give the error that comes out."""
    path = tmp_path / "model.py"
    path.write_text(text)
    with pytest.raises(BaseException) as info:  # noqa: PT011 - any
        run_text(text, str(path), call)
    # Less the frames of this test.
    return info.value.with_traceback(info.value.__traceback__.tb_next.tb_next)


def test_the_last_line_of_the_user_is_the_place(tmp_path, job):
    """An error inside a library is shown where the user's code called it."""
    error = caught(tmp_path, "import json\ndef build():\n    return json.loads('{')\n")

    status, failure = explain(error, job)

    assert status == "failed"
    assert failure.where == "model.py:3"
    assert failure.kind == "JSONDecodeError"
    assert failure.traceback.splitlines()[0] == "  model.py:3 in build"
    assert "decoder.py" not in failure.traceback


def test_an_error_of_ours_that_came_from_the_users_shows_their_frames(tmp_path, job):
    """Wrapping an error keeps the way to its cause."""
    cause = caught(tmp_path, "def build():\n    raise KeyError('width')\n")
    error = ModelError("the entry raised KeyError", hint="look at kwargs")
    error.__cause__ = cause

    _, failure = explain(error, job)

    assert (failure.what, failure.hint) == ("the entry raised KeyError", "look at kwargs")
    assert failure.where == "model.py:2"
    assert "model.py:2 in build" in failure.traceback


def test_a_syntax_error_is_placed_in_the_file(tmp_path, job):
    """The file that does not parse is named, with its line."""
    error = caught(tmp_path, "def build(:\n")

    _, failure = explain(error, job)

    assert failure.where == "model.py:1"
    assert failure.what.startswith("SyntaxError: ")


def test_a_missing_package_comes_with_its_command(tmp_path, job):
    """The hint can be pasted."""
    error = caught(tmp_path, "def build():\n    import sklearn_is_not_here\n")

    _, failure = explain(error, job)

    assert failure.hint.endswith("-m pip install sklearn_is_not_here")


def test_an_endless_message_is_cut(tmp_path, job):
    """TorchScript prints the whole graph; the console does not."""
    error = caught(tmp_path, "def build():\n    raise RuntimeError('x' * 1_000_000)\n")

    _, failure = explain(error, job)

    assert len(failure.what) < LONGEST + 100
    assert "1,000,014 characters" in failure.what


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("raise MemoryError", id="Python"),
        pytest.param("raise RuntimeError('std::bad_alloc')", id="native code"),
        pytest.param(
            'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried")',
            id="torch",
        ),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(tmp_path, job, text):
    """Whoever runs out of memory, Python or a library."""
    error = caught(tmp_path, f"def build():\n    {text}\n")

    status, failure = explain(error, job)

    assert status == "out of memory"
    assert "--jobs" in failure.hint


def test_errors_of_a_circle_of_causes_end(tmp_path, job):
    """A chain of causes that comes back to itself is walked once."""
    one, two = OnnxbuildError("one"), OnnxbuildError("two")
    one.__cause__, two.__cause__ = two, one

    _, failure = explain(one, job)

    assert failure.what == "one"


def test_the_worker_can_be_imported_without_heavy_libraries():
    """The server starts fast: torch and numpy come with the run modules that need them."""
    from onnxbuild.executors.environment import own_path

    script = (
        f"import sys; sys.path[:0] = {own_path()!r}; import onnxbuild.worker; "
        "print([n for n in ('torch', 'numpy', 'onnx', 'hydra') if n in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", script], check=True, capture_output=True, text=True
    )

    assert answer.stdout == "[]\n"
