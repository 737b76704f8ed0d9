"""Whether an ONNX file gives what PyTorch gives, at every size. Shares no code with onnxbuild's own verification."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
from zoo.apart import first_words
from zoo.subject import Array

Answers = Sequence[tuple[str, dict[str, Array], list[Array]]]
LIMITS = {"fp32": (1e-3, 0.9999), "fp16": (1e-2, 0.999)}
"""Largest error over the largest value, and least cosine, of what is called right."""

INT8_COSINE = 0.99
INT8_WRONG = (0.3, 0.95)
"""Where an int8 model is called wrong, rather than coarse."""

FLIPS = {"fp32": 0.0, "fp16": 0.02, "int8": 0.1}
"""Share of whole numbers that may differ: two scores were close."""

ROUNDS = 15


@dataclass(kw_only=True)
class Checked:
    """What came of running a model at every size."""

    loads: bool = True
    scaled: float = 0.0
    cosine: float = 1.0
    flips: float = 0.0
    wrong: str = ""
    """The first size at which it fails, gives another shape, or is out of tolerance; and how."""

    milliseconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def check(path: str, answers: Answers, precision: str) -> dict[str, Any]:
    """Load the model at `path` and compare all its answers."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    found = Checked()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  it is told
        found.loads, found.wrong = False, f"does not load: {first_words(error)}"
        return found.plain()
    takes = {port.name: port.type for port in session.get_inputs()}
    for label, feed, expected in answers:
        given = _as_taken(feed, takes)
        try:
            outputs = session.run(None, given)
        except Exception as error:  # noqa: BLE001  it is told
            found.wrong = found.wrong or f"{label}: {first_words(error)}"
            continue
        problem = _compare(expected, outputs, precision, found)
        found.wrong = found.wrong or (problem and f"{label}: {problem}")
    if not found.wrong:
        found.milliseconds = _measure(session, _as_taken(answers[0][1], takes))
    return found.plain()


def _compare(
    expected: Sequence[Array], outputs: Sequence[Array], precision: str, found: Checked
) -> str:
    if len(expected) != len(outputs):
        return f"{len(outputs)} outputs, PyTorch has {len(expected)}"
    problems = []
    for number, (want, got) in enumerate(zip(expected, outputs, strict=True)):
        problem = _compare_one(want, np.asarray(got), precision, found)
        if problem:
            problems.append(f"output {number} {problem}")
    return problems[0] if problems else ""


def _compare_one(want: Array, got: Array, precision: str, found: Checked) -> str:
    if want.shape != got.shape:
        return f"has shape {list(got.shape)}, PyTorch's {list(want.shape)}"
    if not want.size:
        return ""
    if want.dtype.kind in "iub":
        flips = float(np.mean(want != got))
        found.flips = max(found.flips, flips)
        return f"differs in {flips:.0%} of its values" if flips > FLIPS[precision] else ""
    a, b = want.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    known = np.isfinite(a)
    if not np.array_equal(np.nan_to_num(a[~known]), np.nan_to_num(b[~known])):
        return "is finite elsewhere than PyTorch's"
    a, b = a[known], b[known]
    if not np.isfinite(b).all():
        return "is not finite"
    largest = max(float(np.abs(a).max(initial=0.0)), 1e-12)
    scaled = float(np.abs(a - b).max(initial=0.0)) / largest
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b) / length if length else float(not (a.any() or b.any()))
    found.scaled, found.cosine = max(found.scaled, scaled), min(found.cosine, cosine)
    most, least = LIMITS.get(precision, INT8_WRONG)
    if scaled > most or cosine < least:
        return f"is off by {scaled:.3g} of its largest value, cosine {cosine:.5f}"
    return ""


def _as_taken(feed: Mapping[str, Array], takes: Mapping[str, str]) -> dict[str, Array]:
    """Leave out what the graph does not need, and give in half what it wants in half."""
    return {
        name: value.astype(np.float16) if takes[name] == "tensor(float16)" else value
        for name, value in feed.items()
        if name in takes
    }


def _measure(session: onnxruntime.InferenceSession, given: dict[str, Array]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        session.run(None, given)
        times.append(time.perf_counter() - began)
    return 1000 * min(times)
