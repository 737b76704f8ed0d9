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
    "float16": "onnxbuild.stages.float16.spec:Float16",
    "onnxoptimizer": "onnxbuild.stages.onnxoptimizer.spec:OnnxOptimizer",
    "onnxruntime": "onnxbuild.stages.onnxruntime.spec:OnnxRuntime",
    "quantize_dynamic": "onnxbuild.stages.quantize_dynamic.spec:QuantizeDynamic",
    "quantize_static": "onnxbuild.stages.quantize_static.spec:QuantizeStatic",
    "quantize_weights": "onnxbuild.stages.quantize_weights.spec:QuantizeWeights",
}

RULES = {
    "adaptive_pool": "onnxbuild.rules.adaptive_pool.spec:AdaptivePool",
    "conv_bn": "onnxbuild.rules.conv_bn.spec:ConvBatchNorm",
    "custom": "onnxbuild.rules.custom.spec:Custom",
    "custom_graph": "onnxbuild.rules.custom.spec:CustomGraph",
    "custom_operator": "onnxbuild.rules.custom.spec:CustomOperator",
    "dropout": "onnxbuild.rules.dropout.spec:Dropout",
    "frozen_batchnorm": "onnxbuild.rules.frozen_batchnorm.spec:FrozenBatchNorm",
    "interpolate": "onnxbuild.rules.interpolate.spec:Interpolate",
    "module": "onnxbuild.rules.module.spec:Module",
    "multihead_attention": "onnxbuild.rules.multihead_attention.spec:MultiheadAttention",
    "operator": "onnxbuild.rules.operator.spec:Operator",
    "parametrizations": "onnxbuild.rules.parametrizations.spec:Parametrizations",
    "pattern": "onnxbuild.rules.pattern.spec:Pattern",
    "plain_functions": "onnxbuild.rules.plain_functions.spec:PlainFunctions",
    "spectral_norm": "onnxbuild.rules.spectral_norm.spec:SpectralNorm",
    "sync_batchnorm": "onnxbuild.rules.sync_batchnorm.spec:SyncBatchNorm",
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
