"""Replace names of dimensions by sizes, in the interface and throughout the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import model_graphs, read, scratch_copy
from onnxbuild.graph.names import check_names
from onnxbuild.graph.summary import own_inputs
from onnxbuild.recipe import dimensions
from onnxbuild.stages.fix_dims.spec import FixDims


def fix(work: Work) -> dict[str, Artifact]:
    """Fix the dimensions, and infer the shapes that follow from them."""
    options = build(FixDims, work.options)
    before = read(work.input("model"))
    known = {name for value in own_inputs(before) for name in _names(value)}
    check_names(options.dims, known, option="dims", what="dynamic dimension")
    _fix(before, options.dims)
    with scratch_copy(work) as path:
        onnx.save(ir.to_proto(before), path)
        target = path.removesuffix(".onnx") + "-inferred.onnx"
        onnx.shape_inference.infer_shapes_path(path, target, data_prop=True)
        after = read(target)
        return {"model": finish(work, before, after, library="fix_dims")}


def _fix(model: ir.Model, dims: Mapping[str, int]) -> None:
    for graph in model_graphs(model):
        for value in _values(graph):
            if value.shape is not None:
                value.shape = ir.Shape(
                    _fixed(size.value, dims)
                    if isinstance(size, ir.SymbolicDim) and size.value
                    else size
                    for size in value.shape
                )


def _fixed(dim: str, dims: Mapping[str, int]) -> int | str:
    """Give the size of a dimension; where it follows from others too, what is left of the expression."""
    names = dimensions.names([dim])
    if all(name in dims for name in names):
        return dimensions.size(dim, dims)
    return dimensions.substitute(dim, lambda name: str(dims.get(name, name)))


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.outputs
    for node in graph:
        yield from node.outputs


def _names(value: ir.Value) -> list[str]:
    return dimensions.names(
        str(size.value)
        for size in value.shape or ()
        if isinstance(size, ir.SymbolicDim) and size.value is not None
    )
