"""Which nodes stay float32, and why: what half precision would make of their numbers.

Known are the constants, and the ranges of all results of the main graph at the samples that were looked at.
A value is *unfit* for half when it is too large, too small, or a whole number that half rounds; its maker
and its users stay float32. So do nodes that overflow inside, as the squares of a norm do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxbuild.graph.choices import find_decisions
from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.ports import is_tensor
from onnxbuild.graph.ranges import ENDLESS, Range
from onnxbuild.graph.weights import release, weights
from onnxbuild.stages.float16.change import MOVES
from onnxbuild.stages.float16.quantized import beside_quantized, quantizes

FLOAT = ir.DataType.FLOAT

HEADROOM = 4
"""By how much larger than at the samples a value may become."""

KEPT_OPERATORS = {
    "Bernoulli", "BlackmanWindow", "CumSum", "DFT", "Det", "EyeLike", "GridSample", "HammingWindow", "HannWindow",
    "MelWeightMatrix", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike", "Range", "RoiAlign", "STFT",
}  # fmt: skip
"""Operators that have no kernels in half precision, or lose by it what they are for: coordinates, long sums."""

REDUCING = {"ScatterElements", "ScatterND"}
"""Operators whose kernels in half precision put values in place, and fail when run where they are to add them up."""

SQUARES = {
    "GroupNorm", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "RMSNormalization", "ReduceL2", "SimplifiedLayerNormalization",
    "SkipGroupNorm", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
}  # fmt: skip
"""Operators that square their input inside."""

EXPONENTIALS = {"Mish", "ReduceLogSumExp", "Softplus"}
"""Operators that may take the exponential of their input inside."""

LARGEST_EXPONENT = 11.0
"""e to this is what half holds just so."""

SMALL_MATTERS = {("Div", 1), ("Log", 0), ("Pow", 0), ("Reciprocal", 0), ("Rsqrt", 0), ("Sqrt", 0)}
"""Inputs where a small number is not as good as zero."""

AFTER_SMALL = {"Clip", "Expand", "Identity", "Max", "Pow", "Reshape", "Sqrt", "Unsqueeze"}
"""Operators through which a number that was kept from being zero is on its way to those."""

CANCELLED = 128
"""A difference this much smaller than what it is of has lost seven of half's eleven bits."""

ARITHMETIC = {
    "Add", "Ceil", "Div", "Exp", "Floor", "Log", "Mod", "Mul", "Pow", "Reciprocal", "Round", "Sqrt", "Sub",
}  # fmt: skip
"""Operators by which the numbers come about that are cut to whole ones: buckets, indices, positions."""

WHOLE = {
    ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8, ir.DataType.UINT8,
    ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64,
}  # fmt: skip

ANGLES = {"Cos", "Sin", "Tan"}

LARGEST_ANGLE = 16.0
"""Half's steps are 1/64 from here on."""

CUT_USERS = {
    "Add", "Clip", "Concat", "Equal", "Expand", "Gather", "Greater", "Identity", "Less", "Max", "Min", "Pad",
    "Reshape", "ScatterElements", "ScatterND", "Slice", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators for which a number that stands for infinity may be the largest half as well."""

CUTTING = {"ArgMax", "Exp", "ReduceMax", "Sigmoid", "Softmax", "TopK"}
"""Operators that make nothing of a large negative number."""


@dataclass(slots=True)
class Stays:
    """What stays float32."""

    nodes: dict[ir.Node, str] = field(default_factory=dict)
    """By node: why. Empty where that was asked for, or goes by the operator."""

    cut: set[str] = field(default_factory=set)
    """Constants that stand for infinity and are cut to the largest half."""

    inputs: dict[str, str] = field(default_factory=dict)
    """Inputs of the model that half cannot hold, each with why."""

    saturated: dict[str, float] = field(default_factory=dict)
    """Results that stand for minus infinity here and there, with what half has for that."""

    def keep(self, node: ir.Node, why: str = "") -> None:
        """Keep a node; the first reason counts."""
        if not self.nodes.get(node):
            self.nodes[node] = why


def small_matters(model: ir.Model) -> set[str]:
    """Name the values whose smallest number matters."""
    return {
        value.name or ""
        for graph in model_graphs(model)
        for node in graph
        for index, value in enumerate(node.inputs)
        if value is not None and _asks_small(node, index)
    }


class Judgement:
    """What half precision does to one model's numbers."""

    def __init__(
        self,
        model: ir.Model,
        ranges: Mapping[str, Range],
        rounded: set[str],
        half: ir.DataType,
        largest: float,
    ) -> None:
        self.stays = Stays()
        self._model = model
        self._ranges = ranges
        self._rounded = rounded
        self._largest = largest
        self._half = half
        self._tiny = 2.0**-126 if half == ir.DataType.BFLOAT16 else 2.0**-14
        self._saturable: dict[ir.Value, bool] = {}
        self._angles = {
            value.name or ""
            for graph in model_graphs(model)
            for node in graph
            if node.op_type in ANGLES
            for value in node.inputs
            if value is not None
        }

    def judge(self) -> Stays:
        """Find what stays."""
        for graph in model_graphs(self._model):
            for node in graph:
                if node.op_type in KEPT_OPERATORS or _reduces(node):
                    self.stays.keep(node)
                if quantizes(node):
                    self.stays.keep(node)
            for node in beside_quantized(list(graph)):
                self.stays.keep(node, "takes or gives what is quantized")
        for decision in find_decisions(self._model):
            for node in (*decision.scoring, decision.node):
                self.stays.keep(node, decision.why)
            if decision.is_close:
                for value in decision.sources:
                    if value.is_graph_input():
                        self.stays.inputs[value.name or ""] = decision.why
        for value in weights(self._model):
            tensor = value.const_value
            if tensor is not None and tensor.dtype == FLOAT:
                self._judge_constant(value, tensor.numpy())
                release(tensor)
        for graph in model_graphs(self._model):
            for node in graph:
                if node.op_type == "Cast" and is_tensor(node.inputs[0], FLOAT):
                    self._judge_cut(node)
            for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
                if is_tensor(value, FLOAT):
                    self._judge_value(value)
            for node in graph:
                self._judge_inside(node)
        return self.stays

    def _judge_constant(self, value: ir.Value, array: npt.NDArray[Any]) -> None:
        name = value.name or ""
        users = [node for node, _ in value.uses()]
        sizes = np.abs(array[np.isfinite(array)])
        large = sizes[sizes > self._largest]
        if large.size:
            negative = not (array[np.isfinite(array)] > self._largest).any()
            masks = negative and all(self._hides(node) for node in users)
            if users and (
                masks or (large.min() >= ENDLESS and all(n.op_type in CUT_USERS for n in users))
            ):
                self.stays.cut.add(name)
                return
            for node in users:
                self.stays.keep(node, f"{name} holds {large.max():g}, more than half precision can")
            return
        some = sizes[sizes > 0]
        if some.size and some.max() < self._tiny:
            for node in users:
                self._keep_small(
                    node, f"{name} holds {some.max():g}, too little for half precision"
                )

    def _hides(self, node: ir.Node) -> bool:
        """Tell whether a node uses a large negative constant to leave something out."""
        return node.op_type in CUT_USERS and all(self._is_saturable(one) for one in node.outputs)

    def _keep_small(self, node: ir.Node, why: str) -> None:
        """Keep a node that uses a tiny number, and what comes after it up to where that matters."""
        pending, seen = [node], {node}
        while pending:
            current = pending.pop()
            self.stays.keep(current, why)
            if current is not node and current.op_type not in AFTER_SMALL:
                continue
            for value in current.outputs:
                for user, index in value.uses():
                    if user in seen:
                        continue
                    if _asks_small(user, index) or user.op_type in AFTER_SMALL:
                        seen.add(user)
                        pending.append(user)

    def _judge_value(self, value: ir.Value) -> None:
        name = value.name or ""
        known = self._ranges.get(name)
        if known is None:
            return
        why = self._unfit(value, known)
        if why:
            maker = value.producer()
            if maker is not None and self._has_masked_rows(known):
                for one in maker.inputs:
                    if one is not None and self._is_mask(one):
                        self._keep_movers(one, why)
            for node in ([] if maker is None else [maker]) + [user for user, _ in value.uses()]:
                self.stays.keep(node, why)
            if value.is_graph_input():
                self.stays.inputs.setdefault(name, why)
            if name in self._angles:
                self._keep_movers(value, why)
        elif known.least < -self._largest and self._is_saturable(value):
            self.stays.saturated[name] = -self._largest

    def _unfit(self, value: ir.Value, known: Range) -> str:
        """Say why half precision does not hold the values of a result; empty where it does."""
        name, limit = value.name or "", self._largest / HEADROOM
        is_mask = self._is_saturable(value)
        if known.high > limit or (known.low < -limit and not is_mask):
            return f"{name} reaches {known.size:.4g}"
        ends = [one for one in (known.most, None if is_mask else known.least) if one is not None]
        if limit < ENDLESS and any(ENDLESS <= abs(one) < math.inf for one in ends):
            return f"{name} reaches {max(ends, key=abs):.4g}"
        if 0 < known.size < self._tiny:
            return f"{name} is at most {known.size:.4g} in size"
        if known.smallest < self._tiny:
            return f"{name} is divided by, or a root is taken of it, and it may be {known.smallest:.4g}"
        if name in self._rounded and not is_mask:
            return f"{name} holds whole numbers up to {known.size:.6g}, which would be rounded"
        if self._has_masked_rows(known):
            # A mask of -1e38 swallows what it is added to, and such a row is even. Half's lowest does not
            # where sums are computed in more digits, as onnxruntime's CPU provider does.
            return f"{name} has rows that are masked whole"
        if known.size > LARGEST_ANGLE and name in self._angles:
            return f"{name} is an angle of up to {known.size:.4g}"
        return ""

    def _is_mask(self, value: ir.Value) -> bool:
        known = self._ranges.get(value.name or "")
        return known is not None and known.least < -self._largest

    def _has_masked_rows(self, known: Range) -> bool:
        """Tell whether nothing of some row is left. Softmax makes nothing of minus infinities in float32 either."""
        return self._half == ir.DataType.FLOAT16 and -math.inf < known.rows < -self._largest

    def _keep_movers(self, value: ir.Value, why: str) -> None:
        """Keep what an angle comes from, as far back as it is only handed on, and what computed it."""
        pending = [value]
        while pending:
            maker = pending.pop().producer()
            if maker is None:
                continue
            self.stays.keep(maker, why)
            if maker.op_type in MOVES:
                pending += [one for one in maker.inputs if is_tensor(one, FLOAT) and one]

    def _judge_inside(self, node: ir.Node) -> None:
        sizes = [
            self._ranges[value.name or ""]
            for value in node.inputs
            if value is not None and (value.name or "") in self._ranges
        ]
        if not sizes:
            return
        if node.op_type in {"Add", "Sub"}:
            self._judge_difference(node)
        elif node.op_type in SQUARES:
            largest = max(known.size for known in sizes) ** 2
            if node.op_type == "ReduceL2":
                after = self._ranges.get(node.outputs[0].name or "")
                largest = max(largest, after.size**2 if after else 0.0)
            if largest > self._largest:
                self.stays.keep(node, f"the squares of {node.inputs[0].name} reach {largest:.4g}")
        elif node.op_type in EXPONENTIALS and self._half == ir.DataType.FLOAT16:
            high = max(known.high for known in sizes)
            if high > LARGEST_EXPONENT:
                self.stays.keep(node, f"it takes the exponential of numbers up to {high:.4g}")

    def _judge_cut(self, node: ir.Node) -> None:
        """Keep what computes numbers that are cut to whole ones: a rounding may lead to the next whole number."""
        to = node.attributes.get("to")
        if to is None or to.is_ref() or to.value not in WHOLE:
            return
        source = node.inputs[0]
        pending, seen = [source], {source}
        while pending:
            value = pending.pop()
            maker = None if value is None else value.producer()
            if maker is None or maker.op_type not in MOVES | ARITHMETIC:
                continue
            self.stays.keep(maker, f"{node.outputs[0].name} is cut to whole numbers")
            for one in maker.inputs:
                if one not in seen and is_tensor(one, FLOAT):
                    seen.add(one)
                    pending.append(one)

    def _judge_difference(self, node: ir.Node) -> None:
        """Keep a difference of nearly equal numbers, and what gives those: rounded, nothing is left of it."""
        after = self._ranges.get(node.outputs[0].name or "")
        if after is None or after.size == 0:
            return
        for value in node.inputs:
            known = self._ranges.get(value.name or "") if value is not None else None
            if value is None or known is None or after.size * CANCELLED >= known.size:
                continue
            why = f"{node.outputs[0].name} is a difference of numbers {known.size / after.size:.3g} times as large"
            self.stays.keep(node, why)
            self._keep_movers(value, why)

    def _is_saturable(self, value: ir.Value) -> bool:
        """Tell whether large negative numbers in a value may as well be half's lowest, wherever it goes."""
        if value not in self._saturable:
            # What a loop leads back to is judged by its other ways.
            self._saturable[value] = True
            uses = list(value.uses())
            self._saturable[value] = (
                bool(uses)
                and not value.is_graph_output()
                and all(self._saturates(node, index) for node, index in uses)
            )
        return self._saturable[value]

    def _saturates(self, node: ir.Node, index: int) -> bool:
        if node.op_type in CUTTING:
            return True
        hands_on = node.op_type in MOVES - {"Abs", "Neg", "Cast", "Clip", "Min"} or (
            node.op_type == "Add" or (node.op_type == "Sub" and index == 0)
        )
        return hands_on and all(self._is_saturable(one) for one in node.outputs)


def _reduces(node: ir.Node) -> bool:
    reduction = node.attributes.get("reduction")
    return node.op_type in REDUCING and reduction is not None and reduction.as_string() != "none"


def _asks_small(node: ir.Node, index: int) -> bool:
    if (node.op_type, index) not in SMALL_MATTERS:
        return False
    if node.op_type == "Pow":
        exponent = node.inputs[1].const_value if node.inputs[1] is not None else None
        if exponent is not None and exponent.size == 1:
            power = float(exponent.numpy().reshape(-1)[0])
            return power < 0 or power != int(power)
    return True
