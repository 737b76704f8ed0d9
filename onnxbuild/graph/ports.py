"""Which types an operator takes and gives, by its schema: the truth behind every change of precision.

Standard operators are looked up in `onnx.defs` for the model's opset, others among what onnxruntime knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
import onnx_ir as ir
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

TYPES = {
    ir.DataType.FLOAT: "tensor(float)",
    ir.DataType.FLOAT16: "tensor(float16)",
    ir.DataType.BFLOAT16: "tensor(bfloat16)",
    ir.DataType.DOUBLE: "tensor(double)",
}
"""What schemas call the types of floating numbers."""

STANDARD = ("", "ai.onnx")

RESULT_TYPES = ("dtype", "output_dtype", "output_datatype", "to")
"""Attributes that say the type of a node's result."""

ANY_INPUT = {("Cast", 0), ("CastLike", 0), ("Shape", 0), ("Size", 0)}
"""Inputs of any type: what the node gives does not depend on it."""

CONTROL = ("If", "Loop", "Scan")
"""Operators whose values pass into and out of graphs inside them."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of an operator."""

    variable: str
    """The type variable that it shares with others, or the one type that it has."""

    allowed: frozenset[str]
    """The types that it may have, in the words of schemas."""

    def takes(self, dtype: ir.DataType) -> bool:
        """Tell whether a tensor of that type may stand here."""
        return TYPES[dtype] in self.allowed


@dataclass(frozen=True, slots=True)
class Ports:
    """All inputs and outputs of an operator; the last of a kind repeats where it is variadic."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def input(self, index: int) -> Port | None:
        """Give the port of an input."""
        return _pick(self.inputs, index)

    def output(self, index: int) -> Port | None:
        """Give the port of an output."""
        return _pick(self.outputs, index)


def find_ports(node: ir.Node, opsets: Mapping[str, int]) -> Ports | None:
    """Give the ports of a node's operator in a model with these `opsets`; None where nothing knows it."""
    domain = "" if node.domain in STANDARD else node.domain
    version = opsets.get(domain) or opsets.get(domain or "ai.onnx") or 1
    return _find(domain, node.op_type, version)


def infer_types(model: ir.Model) -> None:
    """Give the results of nodes their types, where inference has not: those of other domains' operators."""
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in graph:
            _infer(node, model.opset_imports)


def is_tensor(value: ir.Value | None, dtype: ir.DataType) -> bool:
    """Tell whether a value is a tensor of that type; a sequence of such is none."""
    return value is not None and isinstance(value.type, ir.TensorType) and value.dtype == dtype


def control_bodies(node: ir.Node) -> list[ir.Graph]:
    """List the graphs inside a node."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.value)
        elif attribute.type == ir.AttributeType.GRAPHS:
            found.extend(attribute.value)
    return found


def body_inputs(node: ir.Node, body: ir.Graph) -> list[tuple[ir.Value, int]]:
    """Pair the inputs of a node's body with the indices of the node's inputs that they have the type of."""
    if node.op_type not in {"Loop", "Scan"}:
        return []
    return [(value, index) for index, value in enumerate(body.inputs) if index < len(node.inputs)]


def body_outputs(node: ir.Node, body: ir.Graph) -> list[tuple[int, int]]:
    """Pair the indices of a body's outputs with those of the node's outputs that they have the type of."""
    skipped = 1 if node.op_type == "Loop" else 0
    return [
        (index, index - skipped)
        for index in range(skipped, len(body.outputs))
        if index - skipped < len(node.outputs)
    ]


def _pick(ports: tuple[Port, ...], index: int) -> Port | None:
    if not ports:
        return None
    return ports[min(index, len(ports) - 1)]


@cache
def _find(domain: str, name: str, version: int) -> Ports | None:
    if not domain:
        try:
            return _read(onnx.defs.get_schema(name, version, ""), "type_str")
        except onnx.defs.SchemaError:
            # onnxruntime has operators of its own in the standard domain.
            pass
    known = [
        schema
        for schema in _others().get((domain, name), ())
        if schema.since_version <= version or domain
    ]
    if not known:
        return None
    return _read(max(known, key=lambda schema: schema.since_version), "typeStr")


@cache
def _others() -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    for schema in get_all_operator_schema():
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found


def _read(schema: Any, key: str) -> Ports:
    allowed = {
        constraint.type_param_str: frozenset(constraint.allowed_type_strs)
        for constraint in schema.type_constraints
    }

    def ports(formal: Any) -> tuple[Port, ...]:
        names = [getattr(item, key) for item in formal]
        return tuple(Port(name, allowed.get(name, frozenset({name}))) for name in names)

    return Ports(ports(schema.inputs), ports(schema.outputs))


def _infer(node: ir.Node, opsets: Mapping[str, int]) -> None:
    missing = [index for index, value in enumerate(node.outputs) if value.type is None]
    ports = find_ports(node, opsets) if missing else None
    if ports is None:
        return
    bound: dict[str, ir.TypeProtocol] = {}
    for index, value in enumerate(node.inputs):
        port = ports.input(index)
        if value is not None and value.type is not None and port is not None:
            bound.setdefault(port.variable, value.type)
    single = {text: dtype for dtype, text in TYPES.items()}
    for index in missing:
        port = ports.output(index)
        if port is None:
            continue
        if port.variable in bound:
            # A copy: changing the type of one value must not change that of another.
            node.outputs[index].type = copy(bound[port.variable])
        elif port.variable in single:
            node.outputs[index].type = ir.TensorType(single[port.variable])
