"""Translations of operators under the TorchScript exporter: recorded, then added to its graph node by node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import onnxscript
import torch
from onnxscript import evaluator
from torch.onnx._internal.exporter._building import OpRecorder
from torch.onnx._internal.exporter._tensors import SymbolicTensor
from torch.onnx._internal.torchscript_exporter import symbolic_helper

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder
from onnxbuild.steps.export.automatic import registering, usual_symbolic
from onnxbuild.steps.export.compiled import check_nodes, retarget
from onnxbuild.steps.export.operators import Translation, call

KINDS = {
    ir.AttributeType.INT: "i",
    ir.AttributeType.INTS: "i",
    ir.AttributeType.FLOAT: "f",
    ir.AttributeType.FLOATS: "f",
    ir.AttributeType.STRING: "s",
    ir.AttributeType.STRINGS: "s",
    ir.AttributeType.TENSOR: "t",
}
"""What torch's graphs call the kinds of attributes."""


@contextmanager
def registered(translations: Sequence[Translation], opset: int) -> Iterator[None]:
    """Register the translations with TorchScript's exporter, and take them out again."""
    torch.onnx.utils  # noqa: B018 - which loads torch's own symbolics
    names = list(dict.fromkeys(translation.operator for translation in translations))
    symbolics = {}
    for name in names:
        own = [translation for translation in translations if translation.operator == name]
        symbolics[name] = _symbolic(own, usual_symbolic(name, opset), opset)
    with registering(symbolics, opset):
        yield


def _symbolic(
    translations: Sequence[Translation], usual: Callable[..., Any] | None, opset: int
) -> Callable[..., Any]:
    """Make the function that TorchScript calls for an operator."""

    def symbolic(g: Any, *inputs: Any, **attributes: Any) -> Any:
        schema = read_schema(g.original_node, len(inputs))
        overload = "default" if schema is None else schema.overload_name or "default"
        for translation in translations:
            if translation.overload not in {None, overload}:
                continue
            made = translate(translation, g, schema, inputs, opset)
            if made is not NotImplemented:
                return made
        if usual is None:
            name = translations[0].operator
            raise torch.onnx.errors.UnsupportedOperatorError(name, opset, None)
        return usual(g, *inputs, **attributes)

    return symbolic


def read_schema(node: Any, inputs: int) -> Any:
    """Give the schema of an operator in a trace; None where there is none that takes as many arguments."""
    text = node.schema()
    if not text.startswith("(no schema)"):
        return torch._C.parse_schema(text)
    # Operators that Python has registered: the node has lost which overload it was.
    known = torch._C._jit_get_schemas_for_operator(node.kind().removesuffix("_"))
    return next((schema for schema in known if len(schema.arguments) == inputs), None)


def translate(
    translation: Translation, g: Any, schema: Any, inputs: Sequence[Any], opset: int
) -> Any:
    """Record what a translation writes, and add it to TorchScript's graph; NotImplemented where it leaves the call."""
    opset_values = onnxscript.values.Opset("", opset)
    recorder = OpRecorder(opset_values, {})
    known: dict[int, Any] = {}
    values = [
        _read(value, None if schema is None else schema.arguments[index], opset_values, known)
        for index, value in enumerate(inputs)
    ]
    builder = Builder(opset, "torchscript")
    keywords = {}
    if schema is not None:
        # In the graph all arguments stand in one row.
        pairs = list(zip(schema.arguments, values, strict=False))
        keywords = {argument.name: value for argument, value in pairs if argument.kwarg_only}
        values = [value for argument, value in pairs if not argument.kwarg_only]
    with evaluator.default_as(recorder):
        found = call(translation, builder, schema, values, keywords)
    if found is NotImplemented:
        return found
    check_nodes(recorder.nodes, opset, translation.rule)
    translation.places.append(_scope(g.original_node))
    for node in recorder.nodes:
        _add(g, node, known, recorder, translation)
    several = isinstance(found, list | tuple)
    results = [_give(g, value, known) for value in (found if several else [found])]
    for value, wanted in zip(results, g.original_node.outputs(), strict=False):
        _complete_type(value, wanted)
    return tuple(results) if several else results[0]


def _read(value: Any, argument: Any, opset: Any, known: dict[int, Any]) -> Any:
    """Give an argument of an operator as a translation gets it."""
    if not isinstance(value, torch._C.Value):
        return value
    node = value.node()
    if node.mustBeNone():
        return None
    if node.kind() == "prim::ListConstruct":
        return [_read(item, None, opset, known) for item in node.inputs()]
    is_tensor = argument is not None and _wants_tensor(argument.type)
    if not is_tensor and node.kind() in {"prim::Constant", "onnx::Constant"}:
        constant = symbolic_helper._node_get(node, "value")
        if not isinstance(constant, torch.Tensor):
            return constant
        if constant.ndim == 0 or argument is not None:
            return constant.tolist()
    dtype = _dtype(value)
    symbol = SymbolicTensor(
        opset,
        name=value.debugName(),
        shape=_shape(value),
        type=None if dtype is None else ir.TensorType(dtype),
    )
    if node.kind() == "onnx::Constant":
        constant = symbolic_helper._node_get(node, "value")
        if isinstance(constant, torch.Tensor):
            symbol.const_value = ir.tensor(constant.numpy(), name=symbol.name)
    known[id(symbol)] = value
    known[id(value)] = symbol  # Keeps the symbol, whose id is a key, alive.
    return symbol


def _wants_tensor(kind: Any) -> bool:
    return "Tensor" in str(kind)


def _dtype(value: Any) -> ir.DataType | None:
    if not symbolic_helper._is_tensor(value):
        return None
    scalar = value.type().dtype()
    return None if scalar is None else ir.tensor(torch.empty(0, dtype=scalar)).dtype


def _shape(value: Any) -> ir.Shape | None:
    sizes = symbolic_helper._get_tensor_sizes(value)
    if sizes is None:
        rank = symbolic_helper._get_tensor_rank(value)
        return None if rank is None else ir.Shape([None] * rank)
    return ir.Shape(sizes)


def _add(
    g: Any, node: ir.Node, known: dict[int, Any], recorder: Any, translation: Translation
) -> None:
    """Add a recorded node to TorchScript's graph."""
    inputs = [_none(g) if value is None else known[id(value)] for value in node.inputs]
    function = recorder.functions.get((node.domain, node.op_type, ""))
    if function is not None:
        made = _add_function(g, function, node, inputs, translation)
    elif node.op_type == "Constant" and node.domain == "":
        made = g.op("Constant", value_t=_constant(node))
    else:
        attributes = dict(
            _attribute(attribute, translation) for attribute in node.attributes.values()
        )
        name = node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}::{node.op_type}"
        made = g.op(name, *inputs, outputs=len(node.outputs), **attributes)
    for value, result in zip(
        node.outputs, made if isinstance(made, tuple) else (made,), strict=True
    ):
        known[id(value)] = result


def _add_function(
    g: Any, function: Any, node: ir.Node, inputs: Sequence[Any], translation: Translation
) -> Any:
    retarget(function, g.opset, translation.rule)
    attributes = dict(_attribute(attribute, translation) for attribute in node.attributes.values())
    return g.onnxscript_op(function, *inputs, outputs=len(node.outputs), **attributes)


def _none(g: Any) -> Any:
    value = g.op("prim::Constant")
    value.setType(torch._C.OptionalType.ofTensor())
    return value


def _constant(node: ir.Node) -> torch.Tensor:
    tensor = node.outputs[0].const_value or ir.convenience.get_const_tensor(node.outputs[0])
    if tensor is None:
        (attribute,) = node.attributes.values()
        return torch.tensor(attribute.value)
    return torch.from_numpy(tensor.numpy().copy())


def _attribute(attribute: ir.Attr, translation: Translation) -> tuple[str, Any]:
    kind = KINDS.get(attribute.type)
    if kind is None:
        raise ExportError(
            f"the rule {translation.rule!r} writes a node with an inner graph, which TorchScript does not take",
            where=f"replace.{translation.rule}",
            hint="choose values with Where in place of If; or say `exporter: dynamo`",
        )
    value = attribute.value
    if kind == "t":
        value = torch.from_numpy(value.numpy().copy())
    return f"{attribute.name}_{kind}", list(value) if isinstance(value, tuple) else value


def _give(g: Any, value: Any, known: dict[int, Any]) -> Any:
    if value is None:
        return _none(g)
    if isinstance(value, ir.Value):
        return known[id(value)]
    return g.op("Constant", value_t=torch.tensor(value))


def _complete_type(value: Any, wanted: Any) -> None:
    """Give a result the type that torch has for it, where the nodes tell none; not the sizes, which were traced."""
    if _dtype(value) is None and symbolic_helper._is_tensor(wanted) and _dtype(wanted) is not None:
        kind = wanted.type()
        rank = kind.dim()
        value.setType(kind if rank is None else kind.with_sizes([None] * rank))


def _scope(node: Any) -> str:
    """Name the module that a node of a trace is of."""
    parts = [part.partition("::")[2] for part in node.scopeName().split("/")]
    return next((part for part in reversed(parts) if part), "(the model)")
