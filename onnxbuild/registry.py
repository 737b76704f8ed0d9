"""What is built in, by name, and what other packages add through entry points.

Each table maps a name to ``module:attribute``, resolved when asked for. A third party adds to
``STAGES`` with an entry point in the group ``onnxbuild.stages``, and so on; a name that is taken
is refused.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from onnxbuild.errors import UsageError

STAGES = {
    "custom": "onnxbuild.stages.custom.spec:Custom",
    "fix_dims": "onnxbuild.stages.fix_dims.spec:FixDims",
    "float16": "onnxbuild.stages.float16.spec:Float16",
    "onnxoptimizer": "onnxbuild.stages.onnxoptimizer.spec:OnnxOptimizer",
    "onnxruntime": "onnxbuild.stages.onnxruntime.spec:OnnxRuntime",
    "onnxscript": "onnxbuild.stages.onnxscript.spec:OnnxScript",
    "onnxslim": "onnxbuild.stages.onnxslim.spec:OnnxSlim",
    "ort_format": "onnxbuild.stages.ort_format.spec:OrtFormat",
    "quantize_dynamic": "onnxbuild.stages.quantize_dynamic.spec:QuantizeDynamic",
    "quantize_static": "onnxbuild.stages.quantize_static.spec:QuantizeStatic",
    "quantize_weights": "onnxbuild.stages.quantize_weights.spec:QuantizeWeights",
    "split": "onnxbuild.stages.split.spec:Split",
    "transformer_fusion": "onnxbuild.stages.transformer_fusion.spec:TransformerFusion",
}

RULES = {
    "adaptive_pool": "onnxbuild.rules.adaptive_pool.spec:AdaptivePool",
    "affine_grid": "onnxbuild.rules.affine_grid.spec:AffineGrid",
    "cdist": "onnxbuild.rules.cdist.spec:Cdist",
    "complex_pairs": "onnxbuild.rules.complex_pairs.spec:ComplexPairs",
    "conv_bn": "onnxbuild.rules.conv_bn.spec:ConvBatchNorm",
    "cumulative": "onnxbuild.rules.cumulative.spec:Cumulative",
    "custom": "onnxbuild.rules.custom.spec:Custom",
    "custom_graph": "onnxbuild.rules.custom.spec:CustomGraph",
    "custom_operator": "onnxbuild.rules.custom.spec:CustomOperator",
    "deform_conv": "onnxbuild.rules.deform_conv.spec:DeformConv",
    "dense_experts": "onnxbuild.rules.dense_experts.spec:DenseExperts",
    "diagonal": "onnxbuild.rules.diagonal.spec:Diagonal",
    "dropout": "onnxbuild.rules.dropout.spec:Dropout",
    "einsum": "onnxbuild.rules.einsum.spec:Einsum",
    "fake_quant": "onnxbuild.rules.fake_quant.spec:FakeQuant",
    "frozen_batchnorm": "onnxbuild.rules.frozen_batchnorm.spec:FrozenBatchNorm",
    "fuse_attention": "onnxbuild.rules.fuse_attention.spec:FuseAttention",
    "fuse_gelu": "onnxbuild.rules.fuse_gelu.spec:FuseGelu",
    "fuse_layer_norm": "onnxbuild.rules.fuse_layer_norm.spec:FuseLayerNorm",
    "fuse_rms_norm": "onnxbuild.rules.fuse_rms_norm.spec:FuseRmsNorm",
    "gemm_to_matmul": "onnxbuild.rules.gemm_to_matmul.spec:GemmToMatMul",
    "grid_sample": "onnxbuild.rules.grid_sample.spec:GridSample",
    "interpolate": "onnxbuild.rules.interpolate.spec:Interpolate",
    "masked_select": "onnxbuild.rules.masked_select.spec:MaskedSelect",
    "matmul_to_gemm": "onnxbuild.rules.matmul_to_gemm.spec:MatMulToGemm",
    "module": "onnxbuild.rules.module.spec:Module",
    "multihead_attention": "onnxbuild.rules.multihead_attention.spec:MultiheadAttention",
    "nan_to_num": "onnxbuild.rules.nan_to_num.spec:NanToNum",
    "operator": "onnxbuild.rules.operator.spec:Operator",
    "order": "onnxbuild.rules.order.spec:Order",
    "parametrizations": "onnxbuild.rules.parametrizations.spec:Parametrizations",
    "pattern": "onnxbuild.rules.pattern.spec:Pattern",
    "plain_attention": "onnxbuild.rules.plain_attention.spec:PlainAttention",
    "plain_functions": "onnxbuild.rules.plain_functions.spec:PlainFunctions",
    "recurrent": "onnxbuild.rules.recurrent.spec:Recurrent",
    "regions": "onnxbuild.rules.regions.spec:Regions",
    "remove_asserts": "onnxbuild.rules.remove_asserts.spec:RemoveAsserts",
    "remove_duplicates": "onnxbuild.rules.remove_duplicates.spec:RemoveDuplicates",
    "rename": "onnxbuild.rules.rename.spec:Rename",
    "repeat_interleave": "onnxbuild.rules.repeat_interleave.spec:RepeatInterleave",
    "rms_norm": "onnxbuild.rules.rms_norm.spec:RmsNorm",
    "roll": "onnxbuild.rules.roll.spec:Roll",
    "scan_loops": "onnxbuild.rules.scan_loops.spec:ScanLoops",
    "scatter": "onnxbuild.rules.scatter.spec:Scatter",
    "searchsorted": "onnxbuild.rules.searchsorted.spec:SearchSorted",
    "size_numbers": "onnxbuild.rules.size_numbers.spec:SizeNumbers",
    "spectral_norm": "onnxbuild.rules.spectral_norm.spec:SpectralNorm",
    "sync_batchnorm": "onnxbuild.rules.sync_batchnorm.spec:SyncBatchNorm",
    "tie_weights": "onnxbuild.rules.tie_weights.spec:TieWeights",
    "triangle": "onnxbuild.rules.triangle.spec:Triangle",
    "unfold": "onnxbuild.rules.unfold.spec:Unfold",
    "unique": "onnxbuild.rules.unique.spec:Unique",
    "unwrap": "onnxbuild.rules.unwrap.spec:Unwrap",
    "weight_norm": "onnxbuild.rules.weight_norm.spec:WeightNorm",
}

EXECUTORS = {
    "inline": "onnxbuild.executors.inline:InlineExecutor",
    "process": "onnxbuild.executors.process:ProcessExecutor",
}

STORES = {
    "local": "onnxbuild.stores.local:LocalStore",
}

LISTED = 12
"""Names that a message lists; of more it says where they are."""

TABLES = {"stages": STAGES, "rules": RULES, "executors": EXECUTORS, "stores": STORES}


def names(table: str) -> list[str]:
    """List the names in a table, those of other packages included."""
    return sorted({**TABLES[table], **_others(table)})


def resolve(table: str, name: str) -> Any:
    """Give what `name` stands for. Raises `UsageError` with the nearest names when there is none."""
    target = TABLES[table].get(name) or _others(table).get(name)
    if target is None:
        from difflib import get_close_matches

        near = get_close_matches(name, names(table), n=1)
        raise UsageError(
            f"there is no {table.removesuffix('s')} named {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else _all_are(table),
        )
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _all_are(table: str) -> str:
    known = names(table)
    if len(known) > LISTED:
        return f"`onnxbuild {table}` lists the {len(known)} that there are"
    return f"there are: {', '.join(known)}"


def _others(table: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    found: dict[str, str] = {}
    for point in entry_points(group=f"onnxbuild.{table}"):
        if point.name in TABLES[table] or point.name in found:
            raise UsageError(
                f"{point.value} wants to be the {table.removesuffix('s')} {point.name!r}, which is taken",
                hint="uninstall one of the two packages, or give its entry point another name",
            )
        found[point.name] = point.value
    return found
