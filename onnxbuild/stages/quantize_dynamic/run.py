"""Quantize the weights of a model with onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.registry import IntegerOpsRegistry

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.machine import saturates
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import quantization, sessions
from onnxbuild.graph.architecture import LOOKED_UP, chosen, dynamic_operators, find_kind
from onnxbuild.graph.blockwise import Blocks, pack_products
from onnxbuild.graph.finish import finish
from onnxbuild.graph.leaving import find_scoring
from onnxbuild.graph.load import read, scratch_copy
from onnxbuild.graph.rows import quantize_rows
from onnxbuild.graph.select import select_names
from onnxbuild.graph.stacks import scale_stacks
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.quantize_dynamic.spec import EXTRA_OPTIONS, QuantizeDynamic

TURNED = ("Gemm",)
"""What the library turns into the operators that it quantizes."""

LIBRARY = "onnxruntime's quantize_dynamic"


WEIGHT_ONLY = Blocks(bits=8, block_size=128, symmetric=True, accuracy_level=4)
"""How weights are stored whose activations are too wide for one scale.

At level 4 onnxruntime gives each row of the activations a scale for each block as well, and multiplies integers.
Measured on MiniLM with all products like that: cosine 0.995 at least, 1.0 to 1.4 times as fast as floats. At level 0,
where it makes floats of the weights in each run, a short text took twice the time that floats take.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """Names of the nodes that the recipe chooses, or that what they are for does."""

    quantized: frozenset[str]
    excluded: frozenset[str]
    weight_only: frozenset[str]
    left: Mapping[str, str]
    """Weights of those that are excluded for what is chosen by their results, each with why."""

    @classmethod
    def chosen(cls, model: ir.Model, options: QuantizeDynamic) -> _Names:
        def select(option: str) -> frozenset[str]:
            return frozenset(select_names(model, getattr(options, option), option=option))

        quantized, weight_only = select("nodes_to_quantize"), select("nodes_to_weight_only")
        left = find_scoring(model, quantized | weight_only)
        return cls(
            quantized=quantized,
            excluded=select("nodes_to_exclude") | left.names,
            weight_only=weight_only,
            left=left.weights,
        )


def quantize(work: Work) -> dict[str, Artifact]:
    """Quantize; says in the notes which weights became integers and which did not."""
    options = build(QuantizeDynamic, work.options)
    before = read(work.input("model"))
    quantization.check_model(before, [options.weight_type])
    quantization.check_operators(options.op_types_to_quantize, IntegerOpsRegistry)
    names = _Names.chosen(before, options)
    kind = find_kind(before)
    usual = dynamic_operators(kind, IntegerOpsRegistry)
    op_types = chosen(options.op_types_to_quantize, usual, IntegerOpsRegistry)
    # onnxruntime gives a table one scale, whatever `per_channel` says.
    by_row = options.per_channel and LOOKED_UP in op_types
    # onnxruntime takes an empty list of operators for all.
    library = [name for name in op_types if name != LOOKED_UP or not by_row]
    with scratch_copy(work) as path:
        target = _quantize(path, work.folder, options, library, names, before) if library else path
        after = read(target)
    if options.per_channel:
        symmetric = options.extra_options.get("WeightSymmetric")
        scale_stacks(before, after, reduce_range=_reduces(options), symmetric=symmetric)
    reuse(before, after)
    left = dict(names.left)
    if names.weight_only:
        only = set(_turned(names.weight_only))
        left |= pack_products(after, WEIGHT_ONLY, lambda node: node.name not in only)
    if by_row:
        left |= quantize_rows(
            after,
            op_types=(*op_types, *TURNED),
            only=names.quantized,
            excluded=names.excluded | names.weight_only,
        )
    work.notes["architecture"] = kind
    work.notes["op_types_to_quantize"] = op_types
    work.notes["reduce_range"] = _reduces(options)
    work.notes.update(quantization.account(before, after, (*op_types, *TURNED), left))
    hint = "leave out the operator that it names: `op_types_to_quantize: [MatMul]`"
    return {"model": finish(work, before, after, library=LIBRARY, hint=hint)}


def _quantize(
    path: str,
    folder: str,
    options: QuantizeDynamic,
    op_types: list[str],
    names: _Names,
    before: ir.Model,
) -> str:
    """Have the library quantize a file; give the path of what it wrote."""
    target = os.path.join(folder, "quantized.onnx")
    extra = quantization.read_extra(options.extra_options, EXTRA_OPTIONS)
    tries = [extra]
    if "EnableSubgraph" not in extra and any(before.graph.subgraphs()):
        # Left out by the library unless asked, since it fails on some.
        tries.insert(0, {**extra, "EnableSubgraph": True})
    for number, each in enumerate(tries, 1):
        try:
            quantize_dynamic(
                path,
                target,
                op_types_to_quantize=op_types,
                per_channel=options.per_channel,
                reduce_range=_reduces(options),
                weight_type=quantization.quant_type(options.weight_type),
                nodes_to_quantize=_turned(names.quantized),
                nodes_to_exclude=_turned(names.excluded | names.weight_only),
                use_external_data_format=quantization.weight_bytes(before) > quantization.LARGE,
                extra_options=each,
            )
            if number < len(tries):
                sessions.load(target, made_by=LIBRARY)
        except Exception as error:
            if number < len(tries):
                print(f"loops and branches are left as they are: {sessions.readable(error)}")  # noqa: T201
                continue
            if isinstance(error, StageError):
                raise
            raise StageError(
                f"{LIBRARY} fails on this model: {sessions.readable(error)}",
                hint=quantization.hint_for(before),
            ) from error
        break
    return target


def _turned(names: Collection[str]) -> list[str]:
    """Give names with those that the library gives to what it makes of a Gemm, before it looks at names."""
    return sorted({*names, *(f"{name}_MatMul" for name in names)})


def _reduces(options: QuantizeDynamic) -> bool:
    return saturates() if options.reduce_range is None else options.reduce_range
