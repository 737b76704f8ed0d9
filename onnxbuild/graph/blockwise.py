"""Weights of matrix products as integers of 4 or 8 bits with a scale for each block; activations stay floats.

For onnxruntime's operator ``MatMulNBits``, whose layout this packs: for each output column the blocks along the
summed dimension, low nibble first, the zero point 2^(bits - 1) where none is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.weights import release, settle

DOMAIN = "com.microsoft"
SUFFIX = "_blocks"
"""What is appended to the name of a weight that became blocks of integers, and the number of bits after it."""

SUFFIXES = tuple(f"{SUFFIX}{bits}{stored}" for bits in (4, 8) for stored in ("", "T"))
"""All of them: a weight that was stored by row of what is summed has a T after that."""

LEAST_BLOCK = 16

PADDED = 1.125
"""How much longer than what is summed the blocks may be together."""

SHARES = (0.9, 0.8)
"""Shares of its range that a block of 4 bits is tried with, besides all of it. Measured on MiniLM: a cosine of 0.951
instead of 0.941 on a text of 250 tokens, 0.963 instead of 0.956 on one of 128, none gained (0.932) on one of two."""

CHUNK = 1 << 18
"""Weights that are rounded at a time."""

FLOATS = {ir.DataType.FLOAT: np.float32, ir.DataType.FLOAT16: np.float16}

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """How weights are packed."""

    bits: int = 4
    block_size: int = 32
    """At most: a weight that sums fewer products has smaller ones."""
    symmetric: bool = False
    accuracy_level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix product with a constant weight."""

    node: ir.Node
    weight: ir.Value
    transposed: bool
    """The weight is stored with the output columns first."""


def find_product(node: ir.Node) -> Product | None:
    """Give the matrix product that a node is, if it is one that can take blocks."""
    if node.domain or node.op_type not in {"Gemm", "MatMul"}:
        return None
    if node.op_type == "Gemm" and not _is_plain_gemm(node):
        return None
    value = node.inputs[1]
    transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
    maker = value.producer() if value is not None else None
    if maker is not None and maker.op_type == "Transpose" and maker.inputs[0] is not None:
        # What a tied weight comes through: the table is looked up by row, and multiplied with by column.
        if list(maker.attributes.get_ints("perm", [1, 0])) != [1, 0]:
            return None
        value, transposed = maker.inputs[0], not transposed
    tensor = value.const_value if value is not None and value.is_initializer() else None
    if value is None or tensor is None or tensor.dtype not in FLOATS or len(tensor.shape) != 2:  # noqa: PLR2004
        return None
    return Product(node=node, weight=value, transposed=transposed)


def fit(product: Product, blocks: Blocks) -> Blocks | None:
    """Give the blocks that fit a weight: None where it sums fewer products than the least block has."""
    shape = product.weight.shape
    assert shape is not None  # noqa: S101 - a constant has one
    summed = int(shape.numpy()[int(product.transposed)])
    if summed < LEAST_BLOCK:
        return None
    size = blocks.block_size
    while size > LEAST_BLOCK and -(-summed // size) * size > PADDED * summed:
        size //= 2
    return replace(blocks, block_size=size)


def pack_products(
    model: ir.Model, blocks: Blocks, is_left: Callable[[ir.Node], bool]
) -> dict[str, str]:
    """Pack the weights of all matrix products, in place; give for each that stays as it is the reason.

    `is_left` says which nodes the recipe leaves out.
    """
    settle(model)
    left: dict[str, str] = {}
    made: dict[tuple[str, bool], list[ir.Value | None]] = {}
    for graph in model_graphs(model):
        for node in list(graph):
            product = find_product(node)
            if product is None:
                continue
            name = product.weight.name or ""
            fitting = fit(product, blocks)
            if fitting is None or is_left(node):
                left[name] = "excluded" if fitting else f"sums fewer than {LEAST_BLOCK} products"
                continue
            key = (name, product.transposed)
            if key not in made:
                made[key] = _make(product, fitting, model.graph)
            _replace(graph, product, made[key], fitting)
    if made:
        model.opset_imports.setdefault(DOMAIN, 1)
    _drop_unused(model)
    return left


def quantize_blocks(weight: Array, blocks: Blocks) -> tuple[Array, Array, Array | None]:
    """Quantize a weight of shape (columns, summed): packed integers, scales, packed zero points.

    Asymmetric blocks reach from their least to their largest value, with zero among them. In symmetric ones the value
    that is largest in size is exact: the integers reach one further below zero than above. Of 4 bits less than the
    range may be covered, with another scale, where that leaves the lesser squares of errors.
    """
    columns, summed = weight.shape
    count = -(-summed // blocks.block_size)
    rows = max(1, CHUNK // (count * blocks.block_size))
    parts = []
    for start in range(0, columns, rows):
        part = weight[start : start + rows]
        padded = np.zeros((len(part), count * blocks.block_size), dtype=np.float32)
        padded[:, :summed] = part
        parts.append(_quantize(padded.reshape(len(part), count, blocks.block_size), blocks))
    integers, scales, zeros = (np.concatenate(made) for made in zip(*parts, strict=True))
    points = None if blocks.symmetric else _pack(zeros[..., 0], blocks.bits)
    return _pack(integers, blocks.bits), scales[..., 0], points


def _quantize(floats: Array, blocks: Blocks) -> tuple[Array, Array, Array]:
    """Give integers, scales and zero points of blocks, which lie along the last axis."""
    low = np.minimum(floats.min(axis=2, keepdims=True), 0)
    high = np.maximum(floats.max(axis=2, keepdims=True), 0)
    if blocks.bits != 4:  # noqa: PLR2004
        return _round(floats, low, high, blocks)
    best = _fit(floats, *_round(floats, low, high, blocks))
    for share in SHARES:
        tried = _fit(floats, *_round(floats, low * share, high * share, blocks))
        for kept, new in zip(best[:3], tried[:3], strict=True):
            np.copyto(kept, new, where=tried[3] < best[3])
        np.minimum(best[3], tried[3], out=best[3])
    return best[:3]


def _round(floats: Array, low: Array, high: Array, blocks: Blocks) -> tuple[Array, Array, Array]:
    """Round to the integers that cover a range; what is beyond it is cut off."""
    middle, most = 1 << (blocks.bits - 1), (1 << blocks.bits) - 1
    if blocks.symmetric:
        scales = np.where(-low >= high, low, high) / np.float32(-middle)
    else:
        scales = (high - low) / np.float32(most)
    scales[scales == 0] = 1
    zeros = np.full_like(scales, middle)
    if not blocks.symmetric:
        zeros = np.clip(np.rint(-low / scales), 0, most)
    integers = np.clip(np.rint(floats / scales) + zeros, 0, most)
    return integers.astype(np.uint8), scales, zeros.astype(np.uint8)


def _fit(
    floats: Array, integers: Array, scales: Array, zeros: Array
) -> tuple[Array, Array, Array, Array]:
    """Give the scales with which these integers are nearest, by least squares, and the squares that are left."""
    steps = integers.astype(np.float32) - zeros
    squares = np.square(steps).sum(axis=2, keepdims=True)
    fitted = (floats * steps).sum(axis=2, keepdims=True) / np.maximum(squares, 1)
    scales = np.where(fitted * scales > 0, fitted, scales)
    steps *= scales
    steps -= floats
    return integers, scales, zeros, np.square(steps, out=steps).sum(axis=2, keepdims=True)


def _pack(integers: Array, bits: int) -> Array:
    """Put two integers of 4 bits into a byte, the first one low."""
    if bits != 4:  # noqa: PLR2004
        return integers
    if integers.shape[-1] % 2:
        integers = np.concatenate([integers, np.zeros_like(integers[..., :1])], axis=-1)
    packed: Array = integers[..., ::2] | (integers[..., 1::2] << 4)
    return packed


def _make(product: Product, blocks: Blocks, owner: ir.Graph) -> list[ir.Value | None]:
    tensor = product.weight.const_value
    assert tensor is not None  # noqa: S101 - `find_product` has looked
    array = np.asarray(tensor.numpy())
    weight = array if product.transposed else array.T
    packed, scales, points = quantize_blocks(weight.astype(np.float32), blocks)
    dtype = FLOATS[tensor.dtype]
    del array, weight
    release(tensor)
    stem = f"{product.weight.name}{SUFFIX}{blocks.bits}{'' if product.transposed else 'T'}"
    values: list[ir.Value | None] = [
        _constant(stem, packed),
        _constant(f"{stem}_scales", scales.reshape(-1).astype(dtype)),
        None if points is None else _constant(f"{stem}_zeros", points.reshape(-1)),
    ]
    for value in values:
        if value is not None:
            owner.register_initializer(value)
    return values


def _replace(
    graph: ir.Graph, product: Product, packed: list[ir.Value | None], blocks: Blocks
) -> None:
    node = product.node
    shape = product.weight.shape
    assert shape is not None  # noqa: S101 - a constant has one
    columns, summed = shape.numpy() if product.transposed else shape.numpy()[::-1]
    made = ir.node(
        "MatMulNBits",
        [node.inputs[0], *(value for value in packed if value is not None)],
        domain=DOMAIN,
        attributes={
            "K": int(summed),
            "N": int(columns),
            "accuracy_level": blocks.accuracy_level,
            "bits": blocks.bits,
            "block_size": blocks.block_size,
        },
        name=node.name,
    )
    new = [made]
    bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None  # noqa: PLR2004
    if bias is not None:
        made.outputs[0].name = f"{node.outputs[0].name}_product"
        made.outputs[0].type = product.weight.type
        new.append(ir.node("Add", [made.outputs[0], bias], name=f"{node.name}/bias"))
    for one in new:
        one.metadata_props.update(node.metadata_props)
    old, result = node.outputs[0], new[-1].outputs[0]
    name, kind = old.name, product.weight.type
    result.shape = old.shape
    graph.insert_before(node, new)
    for user, index in list(old.uses()):
        user.replace_input_with(index, result)
    for index, value in enumerate(list(graph.outputs)):
        if value is old:
            graph.outputs[index] = result
    graph.remove(node, safe=True)
    old.name = f"{name}_float"
    result.name, result.type = name, kind


def _is_plain_gemm(node: ir.Node) -> bool:
    return (
        not node.attributes.get_int("transA", 0)
        and node.attributes.get_float("alpha", 1.0) == 1
        and (len(node.inputs) < 3 or node.attributes.get_float("beta", 1.0) == 1)  # noqa: PLR2004
    )


def _drop_unused(model: ir.Model) -> None:
    """Drop the floats, and the transpositions of them, that nothing uses any more."""
    for graph in model_graphs(model):
        for node in reversed(list(graph)):
            if node.op_type == "Transpose" and not any(
                value.uses() or value.is_graph_output() for value in node.outputs
            ):
                graph.remove(node, safe=True)
    for graph in model_graphs(model):
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                del graph.initializers[name]


def _constant(name: str, array: Array) -> ir.Value:
    tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
    return ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
