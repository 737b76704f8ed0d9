"""The rule ``scan_loops``: what a recipe may say. The work is in `onnxbuild.rules.scan_loops.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLoops(Rule):
    """Go through a sequence by ``Scan`` where Mamba and RWKV kinds do in a Python loop, so that its length may change.

    A traced loop is written out as often as the example is long. The functions are found by name, in the modules of the
    model's classes: ``mamba_selective_scan``, ``selective_scan_fn``, ``selective_scan_ref``,
    ``rwkv_linear_attention_cpu``. Dynamo only.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.scan_loops.run:apply"
