"""Read ONNX graphs: lazily, whole, or as a copy beside which a library may write."""

from __future__ import annotations

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx.inliner
import onnx_ir as ir

from onnxbuild.core import files, points
from onnxbuild.core.ports import ContentStore, Work
from onnxbuild.errors import ModelError


def read(path: str) -> ir.Model:
    """Read a graph, its external weights left on disk: each is mapped when it is looked at.

    Raises `ModelError` for a file that is no ONNX model, or has what onnx_ir would drop.
    """
    return from_proto(
        _parse(path, load_external_data=False), os.path.dirname(os.path.abspath(path))
    )


def read_inlined(path: str) -> ir.Model:
    """Read it likewise, with the bodies of its local functions in place of their calls."""
    proto = inline_functions(_parse(path, load_external_data=False))
    return from_proto(proto, os.path.dirname(os.path.abspath(path)))


def read_proto(path: str) -> onnx.ModelProto:
    """Read a graph with all its weights into memory, for the libraries that need it whole."""
    return _parse(path, load_external_data=True)


def from_proto(proto: onnx.ModelProto, folder: str) -> ir.Model:
    """Wrap a protobuf model, whose external data lie below `folder`."""
    if any(graph.sparse_initializer for graph in proto_graphs(proto.graph)):
        raise ModelError(
            "the model has sparse weights, which would be lost",
            hint="store them as dense tensors before you hand the model over",
        )
    model = ir.from_proto(proto)
    for graph in model_graphs(model):
        ir.external_data.set_base_dir(graph, folder)
    for function in model.functions.values():
        ir.external_data.set_base_dir(function.graph, folder)
    return model


def inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Put the bodies of local functions in place of their calls, for libraries that lose them."""
    if not proto.functions:
        return proto
    return onnx.inliner.inline_local_functions(proto)


def model_graphs(model: ir.Model) -> list[ir.Graph]:
    """List the graphs that can hold weights: the main one, its subgraphs, those inside functions."""
    graphs = [model.graph, *model.graph.subgraphs()]
    for function in model.functions.values():
        graphs += function.subgraphs()
    return graphs


def model_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Give all nodes, those of subgraphs and functions included."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def store_root(store: ContentStore) -> str:
    """Say in which folder of a store the graphs stand, with ``blobs/`` beside them."""
    return os.path.dirname(os.path.dirname(os.path.dirname(store.blob_path("b3:" + "0" * 64))))


@contextmanager
def scratch_copy(work: Work, name: str = "model") -> Iterator[str]:
    """Copy the graph (not the weights) of an input to a name of its own at the store's root.

    For libraries that write beside what they read. At the end everything that begins with that name
    is removed.
    """
    stem = os.path.join(store_root(work.store), f"{files.SCRATCH}{os.getpid()}-{uuid.uuid4().hex}")
    path = stem + ".onnx"
    try:
        points.at("write", path)
        shutil.copyfile(work.input(name), path)
        yield path
    finally:
        for left in glob.glob(glob.escape(stem) + "*"):
            files.remove(left)


def _parse(path: str, *, load_external_data: bool) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load(path, load_external_data=load_external_data)
    except DecodeError as error:
        raise ModelError(
            "the file is not an ONNX model, or it is cut off",
            where=path,
            hint="onnx.load(path) must be able to read it",
        ) from error
    if not proto.HasField("graph"):
        raise ModelError("the file holds no ONNX graph", where=path)
    return proto


def proto_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Give a graph and those inside its nodes, at any depth."""
    pending = [graph]
    while pending:
        current = pending.pop()
        yield current
        for node in current.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    pending.append(attribute.g)
                elif attribute.type == onnx.AttributeProto.GRAPHS:
                    pending.extend(attribute.graphs)
