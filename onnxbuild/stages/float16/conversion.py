"""One model, and what it becomes in half precision for a choice of nodes that stay float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import onnx_ir as ir
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.errors import StageError
from onnxbuild.graph.emulate import half_type, typed
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import read, store_root
from onnxbuild.graph.names import check_names
from onnxbuild.graph.ports import CONTROL, control_bodies, is_tensor
from onnxbuild.graph.ranges import Range
from onnxbuild.graph.select import select_names
from onnxbuild.graph.summary import own_inputs
from onnxbuild.graph.weights import weights
from onnxbuild.stages.float16.change import Change, lift_constants
from onnxbuild.stages.float16.half import halve
from onnxbuild.stages.float16.quantized import quantizes
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.float16.stays import Judgement, Stays, small_matters

FLOAT = ir.DataType.FLOAT

NOT_TAKEN = "in half precision, the numbers would be further off than is allowed"

LARGEST_BFLOAT16 = 3.3895314e38
"""The largest number in bfloat16."""


class Conversion:
    """Reads the model once; converts it anew for each choice, since it is changed in place."""

    def __init__(self, work: Work, options: Float16) -> None:
        self._work = work
        self._path = work.input("model")
        self._options = options
        self._made: dict[str, ir.TensorProtocol] = {}
        self.half = ir.DataType[options.dtype.upper()]
        self.largest = options.max_finite_val if options.dtype == "float16" else LARGEST_BFLOAT16
        self.before = read(self._path)
        if options.check_fp16_ready and half_type(self.before) is not None:
            raise StageError(
                "the model is in half precision already",
                hint="start from another stage (`from:`), or set check_fp16_ready: false",
            )
        self._kept = kept_names(self.before, options.keep_io_types)
        model = self._read()
        nodes = list(model.graph.all_nodes())
        self.nodes: dict[str, str] = {node.name or "": node.op_type for node in nodes}
        """By name, the operators of all nodes, in order."""
        self._asked = set(select_names(model, options.node_block_list, option="node_block_list"))
        known = {*self.nodes.values(), *(schema.name for schema in get_all_operator_schema())}
        check_names(options.op_block_list, known, option="op_block_list", what="operator")
        self.small = small_matters(model)
        self.scores = _softened(model)
        self.observable = [
            value.name or ""
            for value in (
                *own_inputs(model),
                *(value for node in model.graph for value in node.outputs),
            )
            if is_tensor(value, FLOAT)
        ]
        """The float32 values of the main graph."""

    def make(
        self,
        ranges: Mapping[str, Range],
        rounded: set[str],
        blocked: Mapping[str, str],
        halves: Collection[str] | None = None,
    ) -> tuple[Artifact | None, dict[str, Any]]:
        """Convert, keep the result, and say what became of it. `blocked` nodes stay, each with why.

        Given `halves`, all other nodes stay too. Where nothing became half, it gives no result if that is for the
        `blocked` nodes, and raises `StageError` else.
        """
        model = self._read()
        stays = self._find_stays(model, ranges, rounded)
        for node in model.graph.all_nodes():
            name = node.name or ""
            if name in blocked:
                _keep_with_body(stays, node, blocked[name])
            elif halves is not None and name not in halves:
                stays.keep(node, NOT_TAKEN)
        change = self._change(model, stays)
        change.apply()
        kept = change.kept
        notes, in_vain = self._account(model, stays, change)
        if in_vain and halves is None:
            if not blocked:
                hint = _why_none(model, stays, self.half)
                raise StageError("no weight became half precision", hint=hint)
            return None, notes
        made = [value for value in weights(model) if value.dtype == self.half]
        retyped = {
            value.name or ""
            for value in (*self.before.graph.inputs, *self.before.graph.outputs)
            if value.dtype == FLOAT and value.name not in kept
        }
        artifact = finish(
            self._work, self.before, model, library="the conversion", retyped=retyped, load=False
        )
        # What is in the store now need not be converted again.
        for value in made:
            if value.const_value is not None:
                self._made[value.name or ""] = value.const_value
        return artifact, notes

    def candidates(self, ranges: Mapping[str, Range], rounded: set[str]) -> list[str]:
        """Name the nodes that may become half precision, in the order of the graph."""
        model = self._read()
        change = self._change(model, self._find_stays(model, ranges, rounded))
        return [node.name or "" for node in change.candidates()]

    def _change(self, model: ir.Model, stays: Stays) -> Change:
        return Change(
            model=model,
            half=self.half,
            stays=stays.nodes.keys(),
            kept=self._kept | self._unfit_inputs(stays).keys(),
            convert=self._convert,
            saturated=stays.saturated,
        )

    def _unfit_inputs(self, stays: Stays) -> dict[str, str]:
        """Name the inputs that stay float32 though the recipe does not say so, each with why."""
        if self._options.keep_io_types is not None:
            return {}
        own = {value.name or "" for value in own_inputs(self.before) if value.dtype == FLOAT}
        return {name: why for name, why in stays.inputs.items() if name in own}

    def _read(self) -> ir.Model:
        model = typed(self._path, store_root(self._work.store))
        name_nodes(model)
        lift_constants(model)
        return model

    def _find_stays(self, model: ir.Model, ranges: Mapping[str, Range], rounded: set[str]) -> Stays:
        stays = Judgement(model, ranges, rounded, self.half, self.largest).judge()
        for node in model.graph.all_nodes():
            if node.name in self._asked or node.op_type in self._options.op_block_list:
                _keep_with_body(stays, node, "")
        return stays

    def _convert(self, value: ir.Value, name: str) -> ir.TensorProtocol:
        known = self._made.get(name)
        if known is not None:
            return known
        assert value.const_value is not None  # noqa: S101 - only weights are converted
        return halve(value.const_value, self.half, self.largest, name)

    def _account(
        self, model: ir.Model, stays: Stays, change: Change
    ) -> tuple[dict[str, Any], bool]:
        """Count what became half precision and list what did not; tell whether that is all that matters."""
        halved, kept, matter = 0, {}, False
        for value in weights(model):
            if value.dtype == self.half:
                halved += 1
            elif value.dtype == FLOAT and list(value.uses()):
                kept[value.name or ""] = _users(value, stays)
                matter |= value.const_value is not None and value.const_value.size > 1
        reasons = {
            node.name or "": why for node, why in stays.nodes.items() if why and change.could(node)
        }
        notes: dict[str, Any] = {
            "float16_weights": halved,
            "float32_weights": kept,
            "casts": change.casts,
        }
        if reasons:
            notes["kept_float32"] = dict(sorted(reasons.items()))
        unfit = self._unfit_inputs(stays)
        if unfit:
            notes["float32_inputs"] = dict(sorted(unfit.items()))
        cut = stays.cut - kept.keys()
        if cut:
            notes["cut_to_limit"] = sorted(cut)
        return notes, not halved and (matter or not change.halved)


def kept_names(model: ir.Model, keep_io_types: bool | tuple[str, ...] | None) -> frozenset[str]:
    """Name the inputs and outputs that a recipe keeps float32. Raises `StageError` for a name that is neither."""
    values = [*own_inputs(model), *model.graph.outputs]
    floats = frozenset(value.name or "" for value in values if value.dtype == FLOAT)
    if keep_io_types is None or isinstance(keep_io_types, bool):
        return floats if keep_io_types else frozenset()
    known = [value.name or "" for value in values]
    check_names(keep_io_types, known, option="keep_io_types", what="input or output")
    return floats & frozenset(keep_io_types)


def _softened(model: ir.Model) -> set[str]:
    """Name the values of the main graph of whose rows, along the last axis, a softmax is taken."""
    found = set()
    for node in model.graph:
        value = node.inputs[0] if node.op_type == "Softmax" else None
        if value is None or value.shape is None:
            continue
        if node.attributes.get_int("axis", -1) in {-1, len(value.shape) - 1}:
            found.add(value.name or "")
    return found


def name_nodes(model: ir.Model) -> None:
    """Give every node a name of its own: by it nodes are chosen, and told of."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.all_nodes()):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        node.name = name
        taken.add(name)


def _why_none(model: ir.Model, stays: Stays, half: ir.DataType) -> str:
    """Say what is left in float32, and so what to do."""
    if any(quantizes(node) for node in model.graph.all_nodes()):
        return (
            "what is left in float32 are the scales of a quantized model: publish that one as it is"
        )
    reason = next((why for why in stays.nodes.values() if why), "")
    if reason:
        return f"what could be half precision stays float32: {reason}"
    if half == ir.DataType.BFLOAT16:
        return "operators take bfloat16 from opset 13 on, convolutions and recurrent ones from 22: set export.opset"
    return "has the model float32 weights, and are their operators not all blocked?"


def _keep_with_body(stays: Stays, node: ir.Node, why: str) -> None:
    """Keep a node, and what is inside it."""
    pending = [node]
    while pending:
        current = pending.pop()
        stays.keep(current, why)
        if current.op_type in CONTROL:
            pending += [inner for body in control_bodies(current) for inner in body]


def _users(value: ir.Value, stays: Stays) -> list[str] | str:
    """Name the nodes that need a weight in float32, or say that their operator takes nothing else."""
    users = sorted({node.name or "": node for node, _ in value.uses()}.items())
    free = [node for _, node in users if node not in stays.nodes]
    if free and len(free) == len(users):
        return f"{free[0].op_type} takes it in float32 only, or hands it on to what does"
    return [name for name, _ in users]
