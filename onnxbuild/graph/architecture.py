"""What kind of network a graph is, and which of its operators are worth quantizing.

Told by its operators and by where its weights are, never by names: exporters and fusions change those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

import onnx_ir as ir

from onnxbuild.graph.load import model_nodes

Kind: TypeAlias = Literal["transformer", "convolutional", "recurrent", "dense"]

ALL = "all"
"""What `op_types_to_quantize` says for every operator that the library can quantize."""

ATTENTION = frozenset(
    {
        "Attention", "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "GroupQueryAttention",
        "LinearAttention", "MultiHeadAttention", "PackedAttention", "PackedMultiHeadAttention", "QAttention",
        "SparseAttention",
    }
)  # fmt: skip
"""Operators that are an attention each."""

NORMALIZATIONS = frozenset(
    {
        "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
        "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    }
)  # fmt: skip
"""Normalizations over features: what stands between has outliers in a few of them."""

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "FusedConv"})
PRODUCTS = frozenset({"Gemm", "MatMul", *ATTENTION})
RECURRENT = frozenset({"GRU", "LSTM", "RNN"})

BETWEEN = frozenset(
    {
        "Add", "Cast", "Clip", "Div", "Expand", "Max", "Min", "Mul", "Reshape", "Squeeze", "Sub", "Transpose",
        "Unsqueeze", "Where",
    }
)  # fmt: skip
"""What may stand between the scores of an attention and their softmax: scales, masks, biases."""

DEEPEST = 8
"""How many nodes of those are looked through."""

PRODUCTS_ONLY = ("Gemm", "MatMul")

LOOKED_UP = "Gather"
"""The operator of tables, which `onnxbuild.graph.rows` quantizes."""

STATIC_CONVOLUTIONAL = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gather", "Gemm",
    "GlobalAveragePool", "LeakyRelu", "MatMul", "MaxPool", "Pad", "Relu", "Reshape", "Resize", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""What keeps a convolutional network in integers from one convolution to the next. Not what narrows a range to a
few levels: gates (``Sigmoid``, ``Mul``), ``Softmax``, normalizations."""


def find_kind(model: ir.Model) -> Kind:
    """Say what kind of network a model is.

    One with attention, or with normalizations over features and most of its weights in matrix products, is a
    transformer, unless convolutions hold most of the weights; so are mixers and state-space models.
    """
    sizes = _weights_by_operator(model)
    convolutions = sum(sizes[name] for name in CONVOLUTIONS)
    products = sum(sizes[name] for name in PRODUCTS)
    recurrent = sum(sizes[name] for name in RECURRENT)
    if recurrent > max(convolutions, products):
        return "recurrent"
    nodes = list(model_nodes(model))
    has_features = any(node.op_type in NORMALIZATIONS or _is_root_mean(node) for node in nodes)
    if (has_features or has_attention(nodes)) and products >= convolutions:
        return "transformer"
    return "convolutional" if convolutions else "dense"


def has_attention(nodes: Iterable[ir.Node]) -> bool:
    """True where a softmax weighs what a product of two activations gave, or an operator is an attention."""
    return any(
        node.op_type in ATTENTION or (node.op_type == "Softmax" and _weighs_scores(node))
        for node in nodes
    )


def dynamic_operators(kind: Kind, known: Collection[str]) -> list[str]:
    """List the operators to quantize, with ranges found at run time, in a network of a kind."""
    if kind == "transformer":
        # Not convolutions: an integer one at the front costs more than it saves, in time and in numbers.
        return sorted(set(known) - CONVOLUTIONS)
    return sorted(known)


def static_operators(kind: Kind, known: Collection[str]) -> list[str]:
    """List the operators to quantize, with ranges seen in data, in a network of a kind.

    Measured on MiniLM: matrix products alone keep a cosine of 0.95 and more, all operators of 0.26 to 0.53.
    """
    if kind == "transformer":
        return sorted({*PRODUCTS_ONLY, LOOKED_UP, "Conv"} & set(known))
    return sorted(set(STATIC_CONVOLUTIONAL) & set(known))


def _weights_by_operator(model: ir.Model) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for node in model_nodes(model):
        for value in node.inputs:
            tensor = value.const_value if value is not None else None
            if tensor is not None and len(tensor.shape) > 1:
                sizes[node.op_type] += tensor.size
    return sizes


def _weighs_scores(softmax: ir.Node) -> bool:
    pending = [(value, 0) for value in softmax.inputs]
    while pending:
        value, depth = pending.pop()
        node = value.producer() if value is not None else None
        if node is None:
            continue
        if node.op_type in {"MatMul", "Einsum"} and not any(map(_is_constant, node.inputs)):
            return True
        if node.op_type in BETWEEN and depth < DEEPEST:
            pending += [(source, depth + 1) for source in node.inputs]
    return False


def _is_root_mean(node: ir.Node) -> bool:
    """True for the mean over features in a normalization that is written out: of squares, over the last axis."""
    if node.op_type != "ReduceMean" or not node.inputs or node.inputs[0] is None:
        return False
    square = node.inputs[0].producer()
    if square is None or not (
        square.op_type == "Pow"
        or (square.op_type == "Mul" and len({id(value) for value in square.inputs}) == 1)
    ):
        return False
    axes = node.attributes.get_ints("axes") if "axes" in node.attributes else None
    if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        constant = ir.convenience.get_const_tensor(node.inputs[1])
        axes = None if constant is None else constant.numpy().reshape(-1).tolist()
    shape = node.inputs[0].shape
    last = {-1} if shape is None else {-1, len(shape) - 1}
    return axes is not None and len(axes) == 1 and set(axes) <= last


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def chosen(asked: Collection[str], usual: Collection[str], known: Collection[str]) -> list[str]:
    """Give the operators to quantize: those that a recipe asks for, else the `usual` ones."""
    if ALL in asked:
        return sorted(known)
    return sorted(asked or usual)
