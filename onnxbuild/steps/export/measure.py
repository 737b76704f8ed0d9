"""Run an exported graph once at every sample beside PyTorch's outputs, in a process that may crash.

Only what no static check can see: a dimension that is fixed inside the graph, a model that does not run
in onnxruntime, numbers that are wildly different. How far they are apart is `verify`'s to say.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime

from onnxbuild.arrays import BFLOAT16, is_float, read_items
from onnxbuild.errors import ExportError
from onnxbuild.graph.emulate import needs_emulation, runnable
from onnxbuild.graph.sessions import find_weights, options, readable, spare

Kind: TypeAlias = Literal["load", "run", "shape", "value", "drift"]
"""What is wrong; a drift is what `verify` would not let pass by default, and no exporter is refused for."""

WILD = 0.02
"""The largest error over the largest value from which on an exporter's numbers count as wrong."""

DRIFT = 0.001
"""The same from which on it is worth a word: what 32-bit floats in another order do not give."""

WILD_HALF, DRIFT_HALF = 0.1, 0.02
"""The same for 16-bit floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong at one sample."""

    kind: Kind
    index: int
    text: str
    error: float = float("inf")
    """The largest error over the largest value; infinite where the graph gives nothing to compare."""


def measure(graph: str, inputs: Sequence[str], samples: str, reference: str) -> list[Problem]:
    """Run the graph at every sample and give what is wrong, in the order of the samples."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns that other threads' locks are not inherited; the child uses none of theirs.
        warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, graph, inputs, samples, reference)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return [Problem(kind="load", index=0, text=f"onnxruntime crashed on it ({name})")]
    if not content:
        return [Problem(kind="load", index=0, text="the process that tried it ended early")]
    return [Problem(**problem) for problem in json.loads(content)]


def _answer(writer: int, graph: str, inputs: Sequence[str], samples: str, reference: str) -> None:
    """Measure in the child, answer through the pipe and leave without running the parent's exits."""
    code = 1
    try:
        problems = _measure(graph, inputs, samples, reference)
        with os.fdopen(writer, "w") as pipe:
            json.dump([asdict(problem) for problem in problems], pipe)
        code = 0
    except BaseException:  # noqa: BLE001 - printed; the parent must not run twice
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _measure(graph: str, inputs: Sequence[str], samples: str, reference: str) -> list[Problem]:
    settings = options()
    try:
        # What computes in bfloat16 does not run on this provider: it is run with each result rounded.
        proto = onnx.load(graph, load_external_data=False)
        emulated = needs_emulation(proto)
        model = runnable(graph).SerializeToString() if emulated else graph
        if emulated:
            find_weights(settings, graph)
        else:
            spare(settings, proto)
        session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - it is the answer
        return [Problem(kind="load", index=0, text=_words(error))]
    problems = []
    pairs = zip(read_items(samples), read_items(reference), strict=True)
    for index, (item, expected) in enumerate(pairs):
        fed = {
            name: item[name].astype(np.float32) if item[name].dtype == BFLOAT16 else item[name]
            for name in inputs
        }
        try:
            found = session.run(list(expected), fed)
        except Exception as error:  # noqa: BLE001 - it is the answer
            problems.append(Problem(kind="run", index=index, text=_words(error)))
            continue
        for (name, wanted), given in zip(expected.items(), found, strict=True):
            problem = compare(name, wanted, np.asarray(given))
            if problem:
                kind: Kind = "shape" if wanted.shape != np.shape(given) else "value"
                off = float("inf") if kind == "shape" else _scaled(wanted, np.asarray(given))
                problems.append(Problem(kind=kind, index=index, text=problem, error=off))
            elif (off := _scaled(wanted, np.asarray(given))) > (
                DRIFT_HALF if _is_half(wanted) else DRIFT
            ):
                text = f"the output {name!r} is off by {off:.3g} of the largest value"
                problems.append(Problem(kind="drift", index=index, text=text, error=off))
    return problems


def _scaled(wanted: np.ndarray[Any, Any], given: np.ndarray[Any, Any]) -> float:
    """Give the largest error over the largest value; for whole numbers the share that differ."""
    if not wanted.size:
        return 0.0
    if not (is_float(wanted.dtype) or wanted.dtype.kind == "c"):
        return float(np.mean(wanted != given))
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
    scale = float(np.abs(wanted.astype(wide)).max())
    error = float(np.abs(given.astype(wide) - wanted.astype(wide)).max())
    return error / scale if scale else error


def _is_half(array: np.ndarray[Any, Any]) -> bool:
    return is_float(array.dtype) and array.dtype.itemsize == 2  # noqa: PLR2004 - bytes


def _words(error: Exception) -> str:
    """Give onnxruntime's message without the places in its own source."""
    text = re.sub(r"/onnxruntime_src/\S+:\d+ .*? was false\. ?", "", str(error), flags=re.DOTALL)
    text = text.replace("Non-zero status code returned while running ", "")
    return f"onnxruntime: {readable(RuntimeError(text))}"


def compare(name: str, wanted: np.ndarray[Any, Any], given: np.ndarray[Any, Any]) -> str:
    """Say what is wildly wrong with an output; empty if nothing is."""
    if wanted.shape != given.shape:
        return f"the output {name!r} has the shape {_shape(given)}, and PyTorch's {_shape(wanted)}"
    if not wanted.size:
        return ""
    if not (is_float(wanted.dtype) or wanted.dtype.kind == "c"):
        share = float(np.mean(wanted != given))
        # A tie may fall to another index; a wrong graph misses far more.
        return (
            f"{share:.0%} of {name!r} are other values than PyTorch's" if share > WILD_HALF else ""
        )
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
    error = np.abs(given.astype(wide) - wanted.astype(wide)).max()
    scale = np.abs(wanted.astype(wide)).max()
    if not np.isfinite(error):
        return f"the output {name!r} has values that are NaN or infinite"
    if (
        error > (WILD_HALF if _is_half(wanted) else WILD) * scale
        and error > np.finfo(np.float32).eps
    ):
        return f"the output {name!r} is off by {error:.3g}, where PyTorch's largest value is {scale:.3g}"
    return ""


def judge(
    problems: Sequence[Problem],
    shapes: Sequence[Mapping[str, Any]],
    exporter: str,
    *,
    numbers: bool,
) -> None:
    """Raise `ExportError` for a graph that is not what was asked.

    `numbers` also refuses a graph that runs nowhere, or gives other numbers: what makes ``auto`` try
    the other exporter. Without it only a fixed dimension is refused, which the recipe had asked to be dynamic;
    the rest is left to `verify`, which has figures.
    """
    problems = [problem for problem in problems if problem.kind != "drift"]
    at_trace = [problem for problem in problems if problem.index == 0]
    elsewhere = [
        problem for problem in problems if problem.index and problem.kind in {"run", "shape"}
    ]
    if elsewhere and not any(problem.kind in {"run", "load", "shape"} for problem in at_trace):
        raise _fixed(problems, elsewhere[0], shapes, exporter)
    if problems and numbers:
        first = problems[0]
        raise ExportError(
            f"{exporter} gives a graph that is not the model, at {_at(shapes, first.index)}: {first.text}",
            where="export",
            hint=f"say `exporter: {exporter.partition(' ')[0]}` to have `verify` measure it all the same"
            if exporter.startswith(("dynamo", "torchscript"))
            else "give inputs and outputs other names than values inside the graph have",
        )


def _fixed(
    problems: Sequence[Problem],
    first: Problem,
    shapes: Sequence[Mapping[str, Any]],
    exporter: str,
) -> ExportError:
    trace = shapes[0]["sizes"]
    failing = {problem.index for problem in problems}
    differs = [
        {dim for dim, size in shape["sizes"].items() if trace.get(dim) != size} for shape in shapes
    ]
    fine = set().union(*(d for i, d in enumerate(differs) if i not in failing))
    suspects = sorted(set().union(*(differs[i] for i in failing)) - fine)
    suspects = suspects or sorted(differs[first.index])
    names = " or ".join(f"{dim} (traced at {trace.get(dim)})" for dim in suspects)
    return ExportError(
        f"{exporter} gives a graph that holds only at the size at which it was traced: "
        f"the dynamic dimension {names} came out fixed. At {_at(shapes, first.index)}: {first.text}",
        where="dynamic_axes",
        hint="look for that size in a reshape, a comparison or int() of the model; or drop the axis",
    )


def _at(shapes: Sequence[Mapping[str, Any]], index: int) -> str:
    if index >= len(shapes):
        return f"sample {index}"
    sizes = ", ".join(f"{dim} {size}" for dim, size in shapes[index]["sizes"].items())
    return f"the shape {shapes[index]['name']!r}" + (f" ({sizes})" if sizes else "")


def _shape(array: np.ndarray[Any, Any]) -> str:
    return "x".join(map(str, array.shape)) or "scalar"
