"""Keep graphs in a store, their weights as blobs, and write models out of it.

A graph in the store is small: each weight of 4 KiB and more is external data, one blob each, so
that variants of a model share them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from itertools import count
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import PREFIX
from onnxbuild.core.ports import ContentStore
from onnxbuild.errors import ModelError, StageError
from onnxbuild.graph import wire
from onnxbuild.graph.clean import clean
from onnxbuild.graph.load import from_proto, model_graphs, model_nodes, store_root
from onnxbuild.graph.weights import BLOB, blob_digest, content, release, weights

BLOB_MINIMUM = 4096
"""Bytes from which a weight is a blob of its own."""

FILE_LIMIT = 2**31 - 1
"""Bytes that a protobuf message, and so a model in one file, can have."""

ExternalData = Literal["auto", "always", "never"]


def put(model: ir.Model | onnx.ModelProto, store: ContentStore) -> Artifact:
    """Clean a model and keep it, tensor by tensor.

    The model is consumed: its weights point at the store's blobs afterwards, so that what they took
    of memory is free. Weights that are blobs of this store already are neither read nor copied;
    external data of a protobuf model are looked for in the store. The same model gives the same
    bytes in every process. Raises `ModelError` for a weight without a value.
    """
    root = store_root(store)
    if isinstance(model, onnx.ModelProto):
        model = from_proto(model, root)
    _part_names(model)
    parts: dict[str, None] = {}
    size = 0
    for value in weights(model):
        tensor = value.const_value
        if tensor is None:
            continue
        kept = _keep(tensor, value.name or "", root, store)
        value.const_value = kept
        if isinstance(kept, ir.ExternalTensor):
            parts[_blob_of(kept)] = None
            size += kept.nbytes
    _inline_attributes(model)
    # onnxruntime's quantizers append nodes behind those that use them, which the format forbids.
    for part in model_graphs(model):
        part.sort()
    clean(model)
    _check_values(model)
    graph = ir.to_proto(model).SerializeToString(deterministic=True)
    return store.put_graph(graph, tuple(parts), size)


def write_model(
    graph: str,
    folder: str,
    *,
    external_data: ExternalData = "auto",
    metadata: Mapping[str, str] | None = None,
    name: str = "model",
    limit: int = FILE_LIMIT,
) -> list[str]:
    """Write the store's graph at the path `graph` into `folder`, for anyone to load.

    One ``<name>.onnx``, or ``<name>.onnx`` and ``<name>-<digest>.onnx.data`` where `external_data` says
    so or one file could not hold it. `metadata` is added to the model's own. Weights are streamed. Gives
    the names of the files, the graph's first. Raises `StageError` when ``never`` asks for the impossible.
    """
    proto = onnx.load(graph, load_external_data=False)
    _add_metadata(proto, metadata or {})
    blobs = os.path.dirname(os.path.abspath(graph))
    total = wire.whole_size(proto)
    if external_data == "never" and total > limit:
        raise StageError(
            f"the model takes {total / 1e9:.2f} GB, and one ONNX file can hold {limit / 1e9:.2f} GB",
            hint="set export.external_data to auto",
        )
    target = os.path.join(folder, f"{name}.onnx")
    if external_data == "always" or total > limit:
        data = wire.write_data(proto, blobs, folder, name)
        wire.write_bytes(target, proto.SerializeToString(deterministic=True))
        return [os.path.basename(target), *data]
    wire.write_whole(proto, blobs, target)
    return [os.path.basename(target)]


def _keep(
    tensor: ir.TensorProtocol, name: str, root: str, store: ContentStore
) -> ir.TensorProtocol:
    """Make a large tensor a blob, and write a small one in one way, whichever it came in."""
    if tensor.dtype == ir.DataType.STRING:
        return tensor
    if tensor.nbytes < BLOB_MINIMUM:
        inline = ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)
        release(tensor)
        return inline
    digest = blob_digest(tensor)
    if digest is None or getattr(tensor, "base_dir", None) != root:
        digest = store.put_bytes(content(tensor))
        release(tensor)
    digits = digest.removeprefix(PREFIX)
    return ir.ExternalTensor(
        f"{BLOB}{digits[:2]}/{digits}",
        offset=0,
        length=tensor.nbytes,
        dtype=tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
        base_dir=root,
    )


def _part_names(model: ir.Model) -> None:
    """Give each value a name of its own across all graphs of a model.

    The format lets two branches call their weights alike, and tools that go by names take one for the other.
    """
    taken: set[str] = set()
    for graph in model_graphs(model):
        made = (value for node in graph for value in node.outputs)
        own = dict.fromkeys((*graph.inputs, *graph.initializers.values(), *made))
        for value in own:
            if not value.name:
                continue
            if graph is not model.graph and value.name in taken:
                value.name = _fresh(value.name, taken)
            taken.add(value.name)


def _fresh(name: str, taken: Collection[str]) -> str:
    return next(new for number in count(2) if (new := f"{name}_{number}") not in taken)


def _blob_of(tensor: ir.ExternalTensor) -> str:
    return PREFIX + str(tensor.location).rsplit("/", 1)[-1]


def _inline_attributes(model: ir.Model) -> None:
    """Take in the tensors of attributes: no library looks for their data elsewhere."""
    for node in model_nodes(model):
        for key, attribute in list(node.attributes.items()):
            if attribute.is_ref() or not isinstance(attribute.value, ir.ExternalTensor):
                continue
            tensor = attribute.value
            inline = ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=tensor.name)
            node.attributes[key] = ir.AttrTensor(key, inline)
            release(tensor)


def _check_values(model: ir.Model) -> None:
    inputs = {value.name for value in model.graph.inputs}
    for name, value in model.graph.initializers.items():
        if value.const_value is None and name not in inputs:
            raise ModelError(f"the weight {name!r} has no value", hint="was it exported from meta?")


def _add_metadata(proto: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    merged = {entry.key: entry.value for entry in proto.metadata_props} | dict(metadata)
    del proto.metadata_props[:]
    for key in sorted(merged):
        proto.metadata_props.add(key=key, value=merged[key])
