"""Turn the nodes of a graph to half precision, with casts only where two precisions meet.

Types are known by inference and schemas, so it is known of each port of each node which precision it has
and which it may have. A node is half where it may be: all of its float32 ports whose type variable has the
half type; the others, as the scales of ``Resize``, stay. Then a value is cast where a port needs another
type than its maker gives, once for each type, and from what the maker gave: no two casts cancel.
Weights are converted instead of cast. Sequences and optionals stay float32, since nothing casts them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.ports import (
    ANY_INPUT,
    CONTROL,
    RESULT_TYPES,
    body_inputs,
    body_outputs,
    control_bodies,
    find_ports,
    is_tensor,
)

FLOAT = ir.DataType.FLOAT

MOVES = {
    "Abs", "Cast", "Clip", "Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten",
    "Gather", "GatherElements", "GatherND", "Identity", "Max", "Min", "Neg", "Pad", "Relu", "Reshape",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators that hand numbers on."""

HEAVY = {
    "Attention", "Conv", "ConvTranspose", "DeformConv", "Einsum", "GRU", "Gemm", "If", "LSTM", "Loop", "MatMul",
    "RNN", "Scan",
}  # fmt: skip
"""Operators that half precision is for. Others take the precision that costs the fewest casts."""

SMALL = 1024
"""Elements of a weight that may stay float32 for the sake of a cast."""

Ends = tuple[ir.Node | None, int]
"""Where a value is used: a node and the index of its input, or of a graph's output where there is no node."""


@dataclass(slots=True, kw_only=True)
class Change:
    """One conversion of one model, in place."""

    model: ir.Model
    half: ir.DataType
    stays: Collection[ir.Node]
    """The nodes that stay float32."""

    kept: Collection[str]
    """The inputs and outputs of the model that stay float32."""

    convert: Callable[[ir.Value, str], ir.TensorProtocol]
    """Gives a weight in half precision, under a name."""

    saturated: Mapping[str, float] = field(default_factory=dict)
    """Values that are cut off, at this number, before they are cast to half: what stands for minus infinity."""

    casts: int = 0
    """Casts that were put in, and those that the model had and needs still."""

    _halves: set[ir.Node] = field(default_factory=set)
    _made: dict[tuple[ir.Value, ir.DataType], ir.Value] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _floats: set[ir.Value] = field(default_factory=set)
    _homes: dict[ir.Value, ir.Graph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = _values(model_graphs(self.model))
        self._floats = {value for value in values if is_tensor(value, FLOAT)}

    def candidates(self) -> list[ir.Node]:
        """List the nodes that become half precision, but for the sake of casts."""
        nodes = [node for graph in model_graphs(self.model) for node in graph]
        return [node for node in nodes if node not in self.stays and self._is_able(node)]

    def apply(self) -> None:
        """Convert the model."""
        graphs = model_graphs(self.model)
        self._names = {value.name or "" for value in _values(graphs)}
        self._choose()
        for graph in graphs:
            for node in graph:
                if node in self._halves:
                    self._retype(node)
        for value in self.model.graph.inputs:
            if value in self._floats and value.name not in self.kept:
                self._turn_input(value)
        for graph in graphs:
            self._connect(graph)
        self._finish_outputs()
        self._drop_idle_casts(graphs)

    @property
    def suffix(self) -> str:
        """What is appended to the name of a value in half precision."""
        return "bfloat16" if self.half == ir.DataType.BFLOAT16 else "float16"

    @property
    def halved(self) -> bool:
        """Something is half precision now."""
        return bool(self._halves)

    def could(self, node: ir.Node) -> bool:
        """Tell whether a node could have been half precision."""
        return any(
            self._may(node, index, out=out)
            for out, values in ((False, node.inputs), (True, node.outputs))
            for index in range(len(values))
            if out or (node.op_type, index) not in ANY_INPUT
        )

    def _choose(self) -> None:
        able = self.candidates()
        self._halves = set(able)
        light = [node for node in able if _is_light(node) and not _has_large_weight(node)]
        # Forth and back, since the choice of one may pay only after that of its neighbour.
        for _ in range(4):
            before = len(self._halves)
            for node in (*light, *reversed(light)):
                if node in self._halves and self._costs_less_in_float(node):
                    self._halves.discard(node)
            if len(self._halves) == before:
                return

    def _is_able(self, node: ir.Node) -> bool:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        if node.op_type not in CONTROL and not all(_is_plain(value) for value in values):
            return False
        return any(self._may(node, index, out=True) for index in range(len(node.outputs))) or any(
            self._may(node, index, out=False) for index in range(len(node.inputs))
        )

    def _may(self, node: ir.Node, index: int, *, out: bool) -> bool:
        """Tell whether a port of a node has float32 and may have half."""
        values = node.outputs if out else node.inputs
        if values[index] not in self._floats:
            return False
        if node.op_type in CONTROL and node.domain == "":
            return True
        ports = find_ports(node, self.model.opset_imports)
        port = None if ports is None else ports.output(index) if out else ports.input(index)
        return port is not None and port.takes(self.half)

    def _costs_less_in_float(self, node: ir.Node) -> bool:
        """Count the casts around a node that hands on, either way."""
        as_half = as_float = 0
        for index, value in enumerate(node.inputs):
            if value not in self._floats or value is None or value.const_value is not None:
                continue
            if (node.op_type, index) in ANY_INPUT:
                continue
            maker = value.producer()
            is_half = maker in self._halves if maker is not None else value.name not in self.kept
            as_half, as_float = as_half + (not is_half), as_float + is_half
        for value in node.outputs:
            wants = {self._wants_half(user, index) for user, index in value.uses()}
            if value.is_graph_output():
                wants.add(value.name not in self.kept)
            as_half, as_float = as_half + (False in wants), as_float + (True in wants)
        return as_float < as_half

    def _wants_half(self, node: ir.Node, index: int) -> bool | None:
        if (node.op_type, index) in ANY_INPUT:
            return None
        return node in self._halves and self._may(node, index, out=False)

    def _retype(self, node: ir.Node) -> None:
        """Say that a node gives half precision, in its attributes and inside it too."""
        for index, value in enumerate(node.outputs):
            if self._may(node, index, out=True):
                value.dtype = self.half
        if node.op_type == "ConstantOfShape":
            given = node.attributes.get("value")
            array = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
            filled = array.astype(self.half.numpy())
            node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(filled, dtype=self.half))
        for name in RESULT_TYPES:
            given = node.attributes.get(name)
            if given is not None and not given.is_ref() and given.value == FLOAT:
                node.attributes[name] = ir.AttrInt64(name, self.half.value)
        for body in control_bodies(node):
            for value, _ in body_inputs(node, body):
                if value in self._floats:
                    value.dtype = self.half

    def _turn_input(self, value: ir.Value) -> None:
        if value.const_value is not None:
            value.const_value = self.convert(value, value.name or "")
        value.dtype = self.half

    def _connect(self, graph: ir.Graph) -> None:
        """Give each port of the graph's nodes the type that it needs, and each output of their bodies."""
        for node in list(graph):
            is_half = node in self._halves
            for index, value in enumerate(node.inputs):
                if value is None or value not in self._floats or (node.op_type, index) in ANY_INPUT:
                    continue
                wanted = self.half if is_half and self._may(node, index, out=False) else FLOAT
                node.replace_input_with(index, self._as(value, wanted))
            for body in control_bodies(node):
                for index, _ in body_outputs(node, body):
                    value = body.outputs[index]
                    if value in self._floats:
                        body.outputs[index] = self._as(value, self.half if is_half else FLOAT)

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Give a value as that type: itself, a weight beside it, or a cast of it."""
        if value in self._homes or (value.is_initializer() and not value.is_graph_input()):
            return self._weight_as(value, dtype)
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self._made:
            self._made[value, dtype] = self._cast(value, dtype, self._name(value, dtype))
        return self._made[value, dtype]

    def _weight_as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if (value, dtype) in self._made:
            return self._made[value, dtype]
        if value not in self._homes and value.graph is not None:
            self._homes[value] = value.graph
        graph, tensor = self._homes[value], value.const_value
        if tensor is None:
            return value
        name = value.name or ""
        # Users that have theirs by now are no longer among the uses.
        is_shared = (value, self.half) in self._made
        if dtype == FLOAT and (is_shared or any(self._wants_half(*use) for use in value.uses())):
            name = self._name(value, dtype)
        held = tensor if dtype == FLOAT else self.convert(value, name)
        made = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype), const_value=held)
        made.metadata_props.update(value.metadata_props)
        graph.initializers[name] = made
        self._made[value, dtype] = made
        return made

    def _cast(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
        nodes: list[ir.Node] = []
        source = value
        if dtype != FLOAT and value.name in self.saturated:
            source = self._saturate(value, nodes)
        node = ir.Node("", "Cast", [source], [ir.AttrInt64("to", dtype.value)], name=name)
        node.outputs[0].name = name
        node.outputs[0].type = ir.TensorType(dtype)
        node.outputs[0].shape = value.shape
        nodes.append(node)
        self.casts += 1
        maker, graph = value.producer(), value.graph
        if maker is not None and graph is not None:
            graph.insert_after(maker, nodes)
        elif graph is not None and len(graph):
            graph.insert_before(graph[0], nodes)
        elif graph is not None:
            graph.extend(nodes)
        return node.outputs[0]

    def _saturate(self, value: ir.Value, nodes: list[ir.Node]) -> ir.Value:
        """Cut off what half precision would make minus infinity."""
        name = self._fresh(f"{value.name}_least")
        least = ir.Tensor(np.array(self.saturated[value.name or ""], np.float32), name=name)
        bound = ir.Value(
            name=name, shape=ir.Shape([]), type=ir.TensorType(FLOAT), const_value=least
        )
        if value.graph is not None:
            value.graph.register_initializer(bound)
        cut = self._fresh(f"{value.name}_cut")
        node = ir.Node("", "Max", [value, bound], name=cut)
        node.outputs[0].name = cut
        node.outputs[0].type = ir.TensorType(FLOAT)
        node.outputs[0].shape = value.shape
        nodes.append(node)
        return node.outputs[0]

    def _finish_outputs(self) -> None:
        """Give the model's outputs their types, under their names."""
        graph = self.model.graph
        for index, value in enumerate(graph.outputs):
            if value not in self._floats:
                continue
            wanted = FLOAT if value.name in self.kept else self.half
            if value.is_initializer() or value.is_graph_input():
                replaced = self._as(value, wanted)
            elif value.dtype == wanted:
                continue
            else:
                replaced = self._rename_and_cast(value, wanted)
            graph.outputs[index] = replaced

    def _rename_and_cast(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        name = value.name or ""
        known = self._made.get((value, wanted))
        value.name = self._fresh(f"{name}_{self.suffix if value.dtype == self.half else 'float32'}")
        made = known or self._cast(value, wanted, name)
        made.name = name
        return made

    def _drop_idle_casts(self, graphs: list[ir.Graph]) -> None:
        """Remove casts of the model's own that have nothing left to do, and count those that have."""
        inserted = {value.producer() for value in self._made.values()}
        for graph in graphs:
            for node in list(graph):
                if node.op_type != "Cast" or node in inserted or node.domain not in {"", "ai.onnx"}:
                    continue
                source, result = node.inputs[0], node.outputs[0]
                if source is None or result not in self._floats:
                    continue
                if source.dtype != result.dtype or result.is_graph_output():
                    self.casts += source.dtype in {FLOAT, self.half}
                    continue
                result.replace_all_uses_with(source)
                graph.remove(node, safe=True)

    def _name(self, value: ir.Value, dtype: ir.DataType) -> str:
        return self._fresh(f"{value.name}_{'float32' if dtype == FLOAT else self.suffix}")

    def _fresh(self, name: str) -> str:
        fresh, number = name, 2
        while fresh in self._names:
            fresh, number = f"{name}_{number}", number + 1
        self._names.add(fresh)
        return fresh


def lift_constants(model: ir.Model) -> None:
    """Make weights of float32 ``Constant`` nodes, so that each user has them in the type that it needs."""
    for graph in model_graphs(model):
        for node in list(graph):
            if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"}:
                continue
            tensor, output = _constant(node), node.outputs[0]
            if tensor is None or output.is_graph_output() or tensor.dtype != FLOAT:
                continue
            weight = ir.Value(
                name=output.name,
                shape=ir.Shape(tensor.shape.numpy()),
                type=ir.TensorType(FLOAT),
                const_value=tensor,
            )
            output.replace_all_uses_with(weight)
            graph.remove(node, safe=True)
            graph.register_initializer(weight)


def _constant(node: ir.Node) -> ir.TensorProtocol | None:
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            return attribute.as_tensor()
        if name in {"value_float", "value_floats"}:
            return ir.Tensor(np.array(attribute.value, np.float32))
    return None


def _values(graphs: list[ir.Graph]) -> Iterator[ir.Value]:
    for graph in graphs:
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs


def _is_plain(value: ir.Value) -> bool:
    """Tell whether a value is known to be a tensor: a sequence is not cast, of another nothing is known."""
    return isinstance(value.type, ir.TensorType) or value.const_value is not None


def _is_light(node: ir.Node) -> bool:
    return node.op_type not in HEAVY and node.domain in {"", "ai.onnx"}


def _has_large_weight(node: ir.Node) -> bool:
    return any(
        value is not None
        and value.const_value is not None
        and value.const_value.size > SMALL
        and is_tensor(value, FLOAT)
        for value in node.inputs
    )
