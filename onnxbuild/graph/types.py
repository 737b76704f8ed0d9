"""Types of the values of a graph, as onnxruntime infers them: it knows the operators that onnx does not.

What has no type is not quantized, and symbolic inference gives up on whole models.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnxruntime as ort

from onnxbuild.graph import sessions
from onnxbuild.graph.load import model_nodes

TYPES = {
    "tensor(bfloat16)": ir.DataType.BFLOAT16,
    "tensor(bool)": ir.DataType.BOOL,
    "tensor(double)": ir.DataType.DOUBLE,
    "tensor(float)": ir.DataType.FLOAT,
    "tensor(float16)": ir.DataType.FLOAT16,
    "tensor(int16)": ir.DataType.INT16,
    "tensor(int32)": ir.DataType.INT32,
    "tensor(int64)": ir.DataType.INT64,
    "tensor(int8)": ir.DataType.INT8,
    "tensor(uint16)": ir.DataType.UINT16,
    "tensor(uint32)": ir.DataType.UINT32,
    "tensor(uint64)": ir.DataType.UINT64,
    "tensor(uint8)": ir.DataType.UINT8,
}  # fmt: skip
"""Types of tensors by onnxruntime's names."""

UNKNOWN = "unk__"
"""How the names of dimensions begin that onnxruntime makes up."""


def complete(model: ir.Model, path: str) -> int:
    """Give the values of the main graph that have no type the one that onnxruntime infers; count them.

    `path` is a file that may be written, beside the model's weights. A model that onnxruntime does not load
    stays as it is.
    """
    missing = {
        value.name: value
        for node in model.graph
        for value in node.outputs
        if value.name and value.dtype is None
    }
    if not missing:
        return 0
    proto = ir.to_proto(model)
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in missing if name not in known
    )
    onnx.save(proto, path)
    settings = sessions.options()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime raises
        print(f"types of {len(missing)} values stay unknown: {sessions.readable(error)}")  # noqa: T201
        return 0
    found = 0
    for output in session.get_outputs():
        value, dtype = missing.get(output.name), TYPES.get(output.type)
        if value is None or dtype is None:
            continue
        value.dtype = dtype
        value.shape = ir.Shape(
            [
                size if isinstance(size, int) or not str(size).startswith(UNKNOWN) else None
                for size in output.shape
            ]
        )
        found += 1
    return found


def name_nodes(model: ir.Model) -> None:
    """Name the nodes that have no name, after what they make: what is left out is named."""
    taken = {node.name for node in model_nodes(model) if node.name}
    for node in model_nodes(model):
        if node.name:
            continue
        made = next((value.name for value in node.outputs if value.name), "")
        stem = name = f"{node.op_type}/{made}"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}/{number}"
        node.name = name
        taken.add(name)


def import_domains(model: ir.Model) -> None:
    """Import the operator sets that a graph uses and does not import, as tools that fuse leave it."""
    for node in model_nodes(model):
        if node.domain and node.domain not in model.opset_imports:
            model.opset_imports[node.domain] = 1
