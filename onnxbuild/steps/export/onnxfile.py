"""Start from an ONNX file: checked, converted where asked, with the recipe's names and dynamic axes."""

from __future__ import annotations

import os

import onnx
import onnx_ir as ir
from onnx import version_converter

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError, ModelError
from onnxbuild.graph.load import read, read_proto
from onnxbuild.graph.save import put
from onnxbuild.steps.export.finish import drop_weights, finish
from onnxbuild.steps.export.measure import judge, measure
from onnxbuild.steps.export.rules import Rules
from onnxbuild.steps.export.settle import check_opset, find_symbols, rename_symbols
from onnxbuild.steps.export.spec import ExportOptions
from onnxbuild.steps.export.target import Port, Target
from onnxbuild.steps.model.names import match_outputs
from onnxbuild.steps.model.onnxfile import match_inputs, touch_external_data
from onnxbuild.steps.model.user import describe, say


def export_onnx(work: Work, options: ExportOptions, target: Target) -> Artifact:
    """Give the file as a graph of the store, or raise `ExportError` where it cannot be what is asked."""
    path = str(options.model.onnx)
    if options.model.wrap or options.model.weights:
        raise ModelError("`wrap` and `weights` need a PyTorch model", where="model")
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}", where="model.onnx")
    touch_external_data(path)
    _check(path)
    opset = options.export.opset
    model = _convert(path, opset if isinstance(opset, int) else None)
    rules = Rules(options.replace)
    rules.replace_nodes(model, folded=False)
    work.notes |= rules.notes()
    description = model.doc_string
    metadata = dict(model.metadata_props)
    _rename(model, target, options)
    finish(model, options)
    model.doc_string = model.doc_string or description
    for key, value in metadata.items():
        model.metadata_props.setdefault(key, value)
    artifact = put(model, work.store)
    problems = measure(
        work.store.path(artifact),
        [port.name for port in target.inputs],
        work.input("samples"),
        work.input("reference"),
    )
    judge(problems, target.shapes, "the file", numbers=True)
    work.notes["exporter"] = {"name": "none", "reason": "the model is an ONNX file"}
    if options.export.export_params:
        return artifact
    graph = read(work.store.path(artifact))
    work.notes["weights_as_inputs"] = drop_weights(graph, ())
    return put(graph, work.store)


def _check(path: str) -> None:
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{path} is no valid ONNX model: {describe(error)}", where="model.onnx"
        ) from error


def _convert(path: str, opset: int | None) -> ir.Model:
    model = read(path)
    found = model.opset_imports.get("")
    if opset is None or found == opset:
        return model
    say(f"converting from opset {found} to {opset}")
    try:
        proto = version_converter.convert_version(read_proto(path), opset)
    except Exception as error:
        raise ExportError(
            f"the file has opset {found}, and onnx cannot convert it to {opset}: {describe(error)}",
            where="export.opset",
            hint="leave `opset` out to keep the file's own, or export the model again",
        ) from error
    model = ir.from_proto(proto)
    check_opset(model, opset)
    return model


def _rename(model: ir.Model, target: Target, options: ExportOptions) -> None:
    """Give inputs, outputs and dynamic axes the recipe's names."""
    weights = set(model.graph.initializers)
    inputs = {value.name or "": value for value in model.graph.inputs if value.name not in weights}
    mapping = match_inputs(list(inputs), [port.name for port in target.inputs])
    outputs = list(model.graph.outputs)
    names, order = match_outputs([value.name or "" for value in outputs], options.outputs)
    ordered = [inputs[mapping[port.name]] for port in target.inputs]
    rename_symbols(model, find_symbols(ordered, target.inputs))
    for port, value in zip(target.inputs, ordered, strict=True):
        _apply(value, port)
    model.graph.inputs.clear()
    model.graph.inputs.extend(ordered)
    ports = {port.name: port for port in target.outputs}
    chosen = [outputs[index] for index in order]
    for name, value in zip(names, chosen, strict=True):
        _apply(value, ports[name])
    model.graph.outputs.clear()
    model.graph.outputs.extend(chosen)


def _apply(value: ir.Value, port: Port) -> None:
    if value.dtype != port.dtype:
        raise ExportError(
            f"{port.name!r} is {value.dtype} in the file; the recipe says {port.dtype}",
            where=f"inputs.{port.name}",
        )
    value.name = port.name
    sizes = [None] * len(port.dims) if value.shape is None else list(value.shape.dims)
    # What the recipe does not name stays as the file has it.
    value.shape = ir.Shape(
        dim if isinstance(dim, str) else size for dim, size in zip(port.dims, sizes, strict=True)
    )
