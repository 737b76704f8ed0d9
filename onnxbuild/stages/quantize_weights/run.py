"""Pack the weights of matrix products into blocks of integers, one tensor at a time."""

from __future__ import annotations

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.graph import quantization
from onnxbuild.graph.blockwise import Blocks, pack_products
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import read_inlined
from onnxbuild.graph.rows import quantize_rows
from onnxbuild.graph.select import select_names
from onnxbuild.graph.types import name_nodes
from onnxbuild.stages.quantize_weights.spec import QuantizeWeights

LIBRARY = "weight quantization"

OPERATORS = ("Gather", "Gemm", "MatMul", "Transpose")
"""Operators whose weights are eligible; a tied weight is transposed before it is multiplied with."""


def quantize(work: Work) -> dict[str, Artifact]:
    """Quantize; says in the notes which weights became integers and which did not."""
    options = build(QuantizeWeights, work.options)
    path = work.input("model")
    before, after = read_inlined(path), read_inlined(path)
    quantization.check_weights_fresh(before)
    name_nodes(after)
    excluded = set(select_names(after, options.nodes_to_exclude, option="nodes_to_exclude"))
    left: dict[str, str] = {}
    if options.tables:
        left |= quantize_rows(after, op_types=OPERATORS, excluded=excluded)
    blocks = Blocks(
        bits=options.bits,
        block_size=options.block_size,
        symmetric=options.symmetric,
        accuracy_level=options.accuracy_level,
    )
    left |= pack_products(after, blocks, lambda node: node.name in excluded)
    op_types = OPERATORS if options.tables else OPERATORS[1:]
    work.notes.update(quantization.account(before, after, op_types, left))
    return {"model": finish(work, before, after, library=LIBRARY)}
