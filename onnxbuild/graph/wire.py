"""Write a model file piece by piece, so that no weight need be in memory.

A protobuf message is its fields one after the other, in any order: the graph is written without its
weights, then each weight with its bytes copied from the blob. See
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import onnx
from blake3 import blake3
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor

from onnxbuild.core import files, points
from onnxbuild.errors import StoreError

PAGE = 4096
ALIGNED = 1 << 20
"""Bytes from which external data begin on a page, so that they can be mapped."""

MODEL_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
GRAPH_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
TENSOR_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER


def whole_size(proto: onnx.ModelProto) -> int:
    """Give the bytes of the model in one file, a little too many rather than too few."""
    return int(proto.ByteSize()) + sum(_length(tensor) + 32 for tensor in _external(proto.graph))


def write_whole(proto: onnx.ModelProto, blobs: str, target: str) -> None:
    """Write the model into one file; external data are read below the folder `blobs`."""
    for tensor in _external(proto.graph, nested=True):
        load_external_data_for_tensor(tensor, blobs)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    heads = [_head(tensor) for tensor in proto.graph.initializer]
    lengths = [
        len(head) + (_length(tensor) if _is_external(tensor) else 0)
        for head, tensor in zip(heads, proto.graph.initializer, strict=True)
    ]
    graph = onnx.GraphProto()
    graph.CopyFrom(proto.graph)
    graph.ClearField("initializer")
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    rest.ClearField("graph")
    nodes = graph.SerializeToString(deterministic=True)
    prefixes = [_tag(GRAPH_INITIALIZER) + _varint(length) for length in lengths]
    whole = len(nodes) + sum(map(len, prefixes)) + sum(lengths)
    points.at("write", target)
    with open(target, "wb") as file:
        file.write(rest.SerializeToString(deterministic=True))
        file.write(_tag(MODEL_GRAPH) + _varint(whole) + nodes)
        for prefix, head, tensor in zip(prefixes, heads, proto.graph.initializer, strict=True):
            file.write(prefix + head)
            if _is_external(tensor):
                files.append(_blob(tensor, blobs), file)
        file.flush()
        files.flush(file.fileno(), file.name)


def write_data(proto: onnx.ModelProto, blobs: str, folder: str, name: str) -> list[str]:
    """Write external data into one file named by its digest, and point the graph's weights at it.

    Weights of the same content share their place. Gives the file's name, or nothing if there are none.
    """
    places: dict[str, int] = {}
    tensors = [*_external(proto.graph), *_external(proto.graph, nested=True)]
    if not tensors:
        return []
    draft = os.path.join(folder, f".{name}.onnx.data")
    digest = blake3()
    points.at("write", draft)
    with open(draft, "wb") as file:
        for tensor in tensors:
            path = _blob(tensor, blobs)
            if path in places:
                continue
            gap = -file.tell() % PAGE if _length(tensor) >= ALIGNED else 0
            file.write(bytes(gap))
            digest.update(bytes(gap))
            places[path] = file.tell()
            digest.update_mmap(path)
            files.append(path, file)
        file.flush()
        files.flush(file.fileno(), file.name)
    location = f"{name}-{digest.hexdigest()[:16]}.onnx.data"
    points.at("rename", draft)
    os.rename(draft, os.path.join(folder, location))
    for tensor in tensors:
        place, length = places[_blob(tensor, blobs)], _length(tensor)
        del tensor.external_data[:]
        for key, value in (("location", location), ("offset", place), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
    return [location]


def write_bytes(target: str, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    points.at("write", target)
    with open(target, "wb") as file:
        file.write(content)
        file.flush()
        files.flush(file.fileno(), file.name)


def _external(graph: onnx.GraphProto, *, nested: bool = False) -> Iterator[onnx.TensorProto]:
    """Give the external weights of a graph, or only those of the graphs inside its nodes."""
    pending = [graph]
    while pending:
        current = pending.pop()
        if (current is graph) != nested:
            yield from filter(_is_external, current.initializer)
        if not nested:
            return
        for node in current.node:
            for attribute in node.attribute:
                pending.extend(attribute.graphs)
                if attribute.HasField("g"):
                    pending.append(attribute.g)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _length(tensor: onnx.TensorProto) -> int:
    return int(ExternalDataInfo(tensor).length or 0)


def _blob(tensor: onnx.TensorProto, blobs: str) -> str:
    path = os.path.join(blobs, ExternalDataInfo(tensor).location)
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise StoreError(
            f"the weight {tensor.name!r} is not in the store: {error.strerror}", where=path
        ) from error
    if size != _length(tensor):
        raise StoreError(
            f"the weight {tensor.name!r} has {size} bytes in the store, not {_length(tensor)}",
            where=path,
            hint="run `onnxbuild cache verify`",
        )
    return path


def _head(tensor: onnx.TensorProto) -> bytes:
    """Serialize a weight up to the first of its external bytes."""
    if not _is_external(tensor):
        return bytes(tensor.SerializeToString(deterministic=True))
    inline = onnx.TensorProto()
    inline.CopyFrom(tensor)
    inline.ClearField("external_data")
    inline.ClearField("data_location")
    fields = bytes(inline.SerializeToString(deterministic=True))
    return fields + _tag(TENSOR_RAW_DATA) + _varint(_length(tensor))


def _tag(number: int) -> bytes:
    return _varint(number << 3 | 2)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
