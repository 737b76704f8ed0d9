"""Look at weights one at a time, wherever they lie."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxbuild.core.digest import Content, digest_bytes
from onnxbuild.graph.load import model_graphs

BLOB = "blobs/"


def weights(model: ir.Model) -> Iterator[ir.Value]:
    """Give every initializer that has a value, in order; those of subgraphs too."""
    for graph in model_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value


def settle(model: ir.Model) -> None:
    """Take the weights out of a model's inputs, where callers may give others: of these something else is made."""
    for value in [value for value in model.graph.inputs if value.is_initializer()]:
        model.graph.inputs.remove(value)


def arrays(model: ir.Model) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Give name and values of every weight that is not text; each is let go before the next.

    A mapped file keeps a descriptor, so that a model of a thousand weights would use them all up.
    """
    for value in weights(model):
        tensor = value.const_value
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            continue
        yield value.name or "", tensor.numpy()
        release(tensor)


def content(tensor: ir.TensorProtocol) -> Content:
    """Give the bytes of a tensor as ONNX stores them, without a copy where that is possible."""
    if tensor.dtype.bitwidth < 8 or sys.byteorder != "little":  # noqa: PLR2004 - bits of a byte
        return bytes(tensor.tobytes())
    array = np.ascontiguousarray(tensor.numpy())
    if array.dtype.byteorder == ">":
        return bytes(tensor.tobytes())
    return array.reshape(-1).view(np.uint8).data


def reuse(before: ir.Model, after: ir.Model) -> None:
    """Point the weights of `after` that did not change at the blobs that `before` has for them.

    A library that takes a model whole gives all its weights back: comparing them is cheaper than
    keeping them anew.
    """
    blobs = {
        value.name: value.const_value
        for value in weights(before)
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    for value in weights(after):
        new, old = value.const_value, blobs.get(value.name)
        if new is None or old is None or isinstance(new, ir.ExternalTensor):
            continue
        if new.dtype != old.dtype or new.shape.numpy() != old.shape.numpy():
            continue
        if memoryview(content(new)) == memoryview(content(old)):
            value.const_value = old
        release(old)


def blob_digest(tensor: ir.TensorProtocol) -> str | None:
    """Give the digest of a weight that is a whole blob of a store, from where it says it lies."""
    if not isinstance(tensor, ir.ExternalTensor) or tensor.offset:
        return None
    folder, _, name = str(tensor.location).removeprefix(BLOB).partition("/")
    if not str(tensor.location).startswith(BLOB) or name[:2] != folder or len(name) != 64:  # noqa: PLR2004
        return None
    return f"b3:{name}"


def digest(tensor: ir.TensorProtocol) -> str:
    """Give the digest of a tensor's content; that of a blob without reading it."""
    known = blob_digest(tensor)
    if known is not None:
        return known
    if tensor.dtype == ir.DataType.STRING:
        return digest_bytes(b"\0".join(np.asarray(tensor.numpy()).reshape(-1).tolist()))
    found = digest_bytes(content(tensor))
    release(tensor)
    return found


def release(tensor: ir.TensorProtocol) -> None:
    """Unmap an external tensor."""
    if isinstance(tensor, ir.ExternalTensor):
        try:
            tensor.release()
        except BufferError:
            # Someone still holds a view; the mapping goes with that.
            tensor.raw = None
