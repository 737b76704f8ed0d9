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
}

RULES = {
    "affine_grid": "onnxbuild.rules.affine_grid.spec:AffineGrid",
    "cdist": "onnxbuild.rules.cdist.spec:Cdist",
    "cumulative": "onnxbuild.rules.cumulative.spec:Cumulative",
    "custom": "onnxbuild.rules.custom.spec:Custom",
    "custom_graph": "onnxbuild.rules.custom.spec:CustomGraph",
    "custom_operator": "onnxbuild.rules.custom.spec:CustomOperator",
    "einsum": "onnxbuild.rules.einsum.spec:Einsum",
    "grid_sample": "onnxbuild.rules.grid_sample.spec:GridSample",
    "masked_select": "onnxbuild.rules.masked_select.spec:MaskedSelect",
    "module": "onnxbuild.rules.module.spec:Module",
    "nan_to_num": "onnxbuild.rules.nan_to_num.spec:NanToNum",
    "operator": "onnxbuild.rules.operator.spec:Operator",
    "order": "onnxbuild.rules.order.spec:Order",
    "pattern": "onnxbuild.rules.pattern.spec:Pattern",
    "plain_attention": "onnxbuild.rules.plain_attention.spec:PlainAttention",
    "rms_norm": "onnxbuild.rules.rms_norm.spec:RmsNorm",
    "roll": "onnxbuild.rules.roll.spec:Roll",
    "searchsorted": "onnxbuild.rules.searchsorted.spec:SearchSorted",
    "sync_batchnorm": "onnxbuild.rules.sync_batchnorm.spec:SyncBatchNorm",
    "triangle": "onnxbuild.rules.triangle.spec:Triangle",
    "unfold": "onnxbuild.rules.unfold.spec:Unfold",
    "unique": "onnxbuild.rules.unique.spec:Unique",
}

EXECUTORS = {
    "inline": "onnxbuild.executors.inline:InlineExecutor",
    "process": "onnxbuild.executors.process:ProcessExecutor",
}

STORES = {
    "local": "onnxbuild.stores.local:LocalStore",
}

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
            hint=f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names(table))}",
        )
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


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
