"""Releases of ONNX and onnxruntime, opsets, IR versions, and who writes them: what was published and measured.

People mix these numbers up, so each can be told from the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SOURCE = """
  https://onnxruntime.ai/docs/reference/compatibility.html for releases to 1.20,
  measured from 1.21 on: what a model with one node may have so that it loads."""

LEAST_OPSET = 7
"""Every release of onnxruntime runs opsets from this one on."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a release of onnxruntime implements at most."""

    release: str
    opset: int
    ir: int


RUNTIMES = (
    Runtime("0.1", 8, 3),
    Runtime("0.3", 9, 3),
    Runtime("0.4", 10, 5),
    Runtime("1.0", 11, 6),
    Runtime("1.3", 12, 7),
    Runtime("1.6", 13, 7),
    Runtime("1.8", 14, 7),
    Runtime("1.9", 15, 8),
    Runtime("1.11", 16, 8),
    Runtime("1.12", 17, 8),
    Runtime("1.14", 18, 8),
    Runtime("1.15", 19, 8),
    Runtime("1.16", 19, 9),
    Runtime("1.17", 20, 9),
    Runtime("1.18", 21, 10),
    Runtime("1.21", 22, 10),
    Runtime("1.23", 23, 11),
    Runtime("1.24", 25, 13),
    Runtime("1.25", 26, 13),
    Runtime("1.32", 28, 14),
)
"""Oldest first; releases that add nothing are left out."""

DYNAMO = range(18, 26)
TORCHSCRIPT = range(9, 24)
"""Opsets that a recipe may ask of each exporter: torch 2.13 wrote them for a small network that onnxruntime then
ran right. Below 18 the dynamo exporter gives 18; TorchScript writes 7 and 8 for some models, and refuses 24."""

MEASURED_WITH = "torch 2.13"


ONNX = (
    ("1.0", 3, 1), ("1.1", 3, 5), ("1.1.2", 3, 6), ("1.2", 3, 7), ("1.3", 3, 8), ("1.4.1", 4, 9), ("1.5.0", 5, 10),
    ("1.6.0", 6, 11), ("1.7.0", 7, 12), ("1.8.0", 7, 13), ("1.8.1", 7, 13), ("1.9.0", 7, 14), ("1.10.0", 8, 15),
    ("1.10.1", 8, 15), ("1.10.2", 8, 15), ("1.11.0", 8, 16), ("1.12.0", 8, 17), ("1.13.0", 8, 18), ("1.13.1", 8, 18),
    ("1.14.0", 9, 19), ("1.14.1", 9, 19), ("1.15.0", 9, 20), ("1.16.0", 10, 21), ("1.16.1", 10, 21),
    ("1.16.2", 10, 21), ("1.17.0", 10, 22), ("1.18.0", 11, 23), ("1.19.0", 12, 24), ("1.19.1", 12, 24),
    ("1.20.0", 13, 25), ("1.20.1", 13, 25), ("1.21.0", 13, 26), ("1.22.0", 13, 27), ("1.23.0", 14, 28),
)  # fmt: skip
"""Releases of ONNX with IR version and opset, as `onnx.helper.VERSION_TABLE` has them."""

RELEASE = re.compile(r"v?\d+(\.\d+){1,2}([a-z]\w*)?")


def find_runtime(opset: int, ir: int = 0) -> Runtime | None:
    """Give the first release that runs a model of that opset and IR version; None when none is known to."""
    return next((item for item in RUNTIMES if item.opset >= opset and item.ir >= ir), None)


def runtime_of(release: str) -> Runtime | None:
    """Give what a release of onnxruntime implements; None for what is no release, or older than all known ones."""
    if not RELEASE.fullmatch(release):
        return None
    wanted = _numbers(release)
    return next((item for item in reversed(RUNTIMES) if _numbers(item.release) <= wanted), None)


def say_runtime(found: Runtime | None) -> str:
    """Write a first release: ``1.18``."""
    return f"none up to {RUNTIMES[-1].release}" if found is None else found.release


def releases_by_opset() -> dict[int, tuple[str, int]]:
    """Give, by opset, the first release of ONNX that has it, and the IR version of that."""
    found: dict[int, tuple[str, int]] = {}
    for release, ir, opset in ONNX:
        found.setdefault(opset, (release, ir))
    return found


def find_opset(release: str) -> int | None:
    """Give the opset of a release of ONNX, with or without its patch; None where there is no such release."""
    if not RELEASE.fullmatch(release):
        return None
    wanted = _numbers(release)
    found = [opset for name, _, opset in ONNX if _numbers(name)[: len(wanted)] == wanted]
    return max(found, default=None)


def tell_number(text: str) -> str:
    """Say what a number is that was given for an opset, and what its opset is; empty where it is nothing known."""
    text = text.strip("'\" ")
    opset, runtime = find_opset(text), runtime_of(text)
    if opset is not None:
        return f"that is a release of ONNX; its opset is {opset}"
    if runtime is None or _numbers(text) > (*_numbers(RUNTIMES[-1].release), 99):
        return ""
    return f"that is a release of onnxruntime; it runs opsets up to {runtime.opset}"


def exporters(opset: int) -> str:
    """Name the exporters that write an opset; a dash for none."""
    named = [("dynamo", DYNAMO), ("torchscript", TORCHSCRIPT)]
    return ", ".join(name for name, opsets in named if opset in opsets) or "-"


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:3])
