"""What every exported graph gets at the end: file version, metadata, description, where its weights are."""

from __future__ import annotations

from collections.abc import Collection

import onnx
import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.spec import ExportOptions

INITIALIZERS_FREE = 4
"""The IR version from which on weights need not be inputs of the graph."""


def finish(model: ir.Model, options: ExportOptions) -> None:
    """Apply what the recipe's section ``export`` says of the file, and its description."""
    export = options.export
    if export.ir_version is not None:
        if export.ir_version > onnx.IR_VERSION:
            raise ExportError(
                f"there is no IR version {export.ir_version}: the onnx that is installed knows up to "
                f"{onnx.IR_VERSION}",
                where="export.ir_version",
                hint="leave it out to have the exporter's own",
            )
        if export.ir_version < INITIALIZERS_FREE and not export.keep_initializers_as_inputs:
            raise ExportError(
                f"IR version {export.ir_version} needs the weights as inputs of the graph",
                where="export.ir_version",
                hint=f"say `keep_initializers_as_inputs: true`, or {INITIALIZERS_FREE} and more",
            )
        model.ir_version = export.ir_version
    elif options.highest_ir is not None and model.ir_version > options.highest_ir:
        # What came with later ones are types and properties that an opset of its time does not use.
        model.ir_version = options.highest_ir
    for domain, version in export.custom_opsets.items():
        # The exporter names only those that a node is of.
        model.opset_imports.setdefault(domain, version)
    model.metadata_props.clear()
    for key in sorted(export.metadata):
        model.metadata_props[key] = export.metadata[key]
    model.doc_string = options.description or None
    model.graph.doc_string = options.description or None
    if export.keep_initializers_as_inputs:
        known = {value.name for value in model.graph.inputs}
        model.graph.inputs.extend(
            value for name, value in model.graph.initializers.items() if name not in known
        )


def drop_weights(model: ir.Model, state: Collection[str]) -> list[str]:
    """Make the weights inputs without values, for ``export_params: false``; give their names.

    Weights are the tensors that have the name of one of `state`, and all other floating constants with a
    dimension, which were made of some. Sizes, indices and scalars stay: they are the graph's own.
    """
    names = []
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None:
            continue
        made = tensor.dtype.is_floating_point() and tensor.shape.rank() > 0
        if name not in state and not made:
            continue
        names.append(name)
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.dims)
        value.const_value = None
        del model.graph.initializers[name]
        if not value.is_graph_input():
            model.graph.inputs.append(value)
    return names
