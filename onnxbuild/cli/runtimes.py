"""Which release of onnxruntime runs which opset, and which exporter writes it: what was published and measured."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = """
  https://onnxruntime.ai/docs/reference/compatibility.html for releases to 1.20,
  the release notes for 1.25, measured for 1.32."""

LEAST_OPSET = 7
"""Every release of onnxruntime runs opsets from this one on."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a release of onnxruntime implements at most."""

    release: str
    opset: int
    ir: int
    exact: bool = True
    """False where releases before it are not known: one of those may have it already."""


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
    # The published table ends with 1.20. The notes of 1.25.0 say that it implements ONNX 1.21.
    Runtime("1.25", 26, 13, exact=False),
    # Measured: 1.32.0 loads opset 28 with IR version 14, and neither 29 nor 15.
    Runtime("1.32", 28, 14, exact=False),
)
"""Oldest first; releases that add nothing are left out."""

DYNAMO = range(18, 26)
TORCHSCRIPT = range(9, 24)
"""Opsets that a recipe may ask of each exporter: torch 2.13 wrote them for a small network that onnxruntime then
ran right. Below 18 the dynamo exporter gives 18; TorchScript writes 7 and 8 for some models, and refuses 24."""

MEASURED_WITH = "torch 2.13"


def find_runtime(opset: int, ir: int = 0) -> Runtime | None:
    """Give the first release that runs a model of that opset and IR version; None when none is known to."""
    return next((item for item in RUNTIMES if item.opset >= opset and item.ir >= ir), None)


def say_runtime(found: Runtime | None) -> str:
    """Write a first release: ``1.18``, or ``1.25 or earlier`` where the exact one is not known."""
    if found is None:
        return f"none up to {RUNTIMES[-1].release}"
    return found.release if found.exact else f"{found.release} or earlier"


def exporters(opset: int) -> str:
    """Name the exporters that write an opset; a dash for none."""
    named = [("dynamo", DYNAMO), ("torchscript", TORCHSCRIPT)]
    return ", ".join(name for name, opsets in named if opset in opsets) or "-"
