"""Where a variant goes astray: the results inside it beside those of the exported model.

Results are matched by name, through the names that conversions and quantizers give. A variant in half precision
is run with each result rounded, as an accelerator would. Both models run for one group of results after the
other, so that memory is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxbuild.arrays import Array, read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import ModelError
from onnxbuild.graph.emulate import half_type
from onnxbuild.graph.load import read
from onnxbuild.steps.verify.choices import look_at_choices
from onnxbuild.steps.verify.sides import Side, compare, group
from onnxbuild.steps.verify.spec import LocateOptions

GIVEN = re.compile(
    r"(?:_(?:b?float16|float32)(?:_\d+)?| rounded|_DequantizeLinear(?:_Output)?|_DequantizeLinear_Output_\d+"
    r"|_dequantized|_output_quantized|_QuantizeInput|/duplicated)$"
)
"""What conversions and quantizers append to the name of a result whose numbers they hand on."""


def locate(work: Work) -> dict[str, Artifact]:
    """Give, in the variant's order, the error of each result that both models have.

    ``{"nodes": [{node, operator, result, scaled, came_in, low, high}], "end"}``: ``scaled`` as
    `onnxbuild.steps.verify.compare` has it, the largest error over the largest value; ``came_in`` that of the
    results that it was computed from, the largest; ``low`` and ``high`` the exported model's range; ``end`` the
    largest error of an output; ``choices`` what `onnxbuild.steps.verify.choices` finds. ``{"unknown": reason}`` where one cannot be looked into.
    """
    options = build(LocateOptions, work.options)
    names = [shape["name"] for shape in work.json("shapes")]
    item = read_item(work.input("samples"), names.index(options.sample))
    try:
        exported = Side.read(work.input("exported"), rounding=False)
        variant = Side.read(work.input("model"), rounding=True)
        kept = [name for name, value in variant.values.items() if not _is_quantized(value)]
        pairs = match(list(exported.values), kept)
        measured = _measure(exported, variant, pairs, item, options.threads)
    except ModelError as error:
        return {"errors": work.put_json({"unknown": error.what})}
    choices = _look_at_choices(work.input("model"), exported, variant, item, options.threads)
    came_in = _trace(variant, measured)
    makers = {name: value.producer() for name, value in exported.values.items()}
    ends = {value.name for value in variant.model.graph.outputs}
    nodes = [
        {
            **_describe(makers[pairs[name]], variant.values[name].producer(), name),
            "came_in": came_in[name],
            **numbers,
        }
        for name, numbers in measured.items()
    ]
    end = max((measured[name]["scaled"] for name in measured if name in ends), default=0.0)
    return {"errors": work.put_json({"nodes": nodes, "end": end, "choices": choices})}


def _look_at_choices(
    path: str, exported: Side, variant: Side, item: Mapping[str, Array], threads: int
) -> dict[str, Any] | None:
    """Look at choices as an accelerator makes them, and where those hold, as the processor that has verified does."""
    try:
        found = look_at_choices(exported, variant, item, threads)
        if found is None and half_type(read(path)) is not None:
            found = look_at_choices(exported, Side.read(path, rounding=False), item, threads)
    except ModelError as error:
        print(f"choices were not looked at: {error.what}")  # noqa: T201
        return None
    return found


def _is_quantized(value: ir.Value) -> bool:
    """Tell whether a result is only quantized: what comes of that is compared, which also cuts it off."""
    users = [user for user, _ in value.uses()]
    return bool(users) and all(user.op_type == "QuantizeLinear" for user in users)


def match(exported: Sequence[str], variant: Sequence[str]) -> dict[str, str]:
    """Give, by the name of a result of the variant, the name of the exported model's that it stands for."""
    known = set(exported)
    found = {}
    for name in variant:
        base = name
        while base not in known and (shorter := GIVEN.sub("", base)) != base:
            base = shorter
        if base in known:
            found[name] = base
    return found


def _measure(
    exported: Side,
    variant: Side,
    pairs: Mapping[str, str],
    item: Mapping[str, Array],
    threads: int,
) -> dict[str, dict[str, float]]:
    sizes = exported.sizes(item, threads)
    found: dict[str, dict[str, float]] = {}
    for names in group(pairs, {name: sizes[base] for name, base in pairs.items()}):
        wanted = list(dict.fromkeys(pairs[name] for name in names))
        expected = exported.run(wanted, item, threads)
        values = variant.run(names, item, threads)
        for name in names:
            numbers = compare(expected[pairs[name]], values[name])
            if numbers is not None:
                found[name] = numbers
    return found


def _trace(variant: Side, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Give the largest error of what each result was computed from: the nearest before it that were measured."""
    found = {}
    for name in measured:
        pending = [variant.values[name]]
        seen = set()
        worst = 0.0
        while pending:
            maker = pending.pop().producer()
            for value in () if maker is None else maker.inputs:
                if value is None or value in seen:
                    continue
                seen.add(value)
                if value.name in measured:
                    worst = max(worst, measured[value.name]["scaled"])
                else:
                    pending.append(value)
        found[name] = worst
    return found


def _describe(exported: ir.Node | None, made: ir.Node | None, result: str) -> dict[str, Any]:
    """Give what people need to find a node: its name in the exported model, the one that made it in the variant.

    For sums and differences also the nodes that it is ``of``: it cannot be nearer than they are, and may be
    far smaller.
    """
    name = exported.name if exported is not None else ""
    kind = exported.op_type if exported is not None else ""
    return {
        "node": name or result,
        "operator": kind,
        "made_by": made.name or made.op_type if made is not None else "",
        "result": result,
        "of": [
            maker.name or ""
            for value in exported.inputs
            if value is not None and (maker := value.producer()) is not None
        ]
        if exported is not None and kind in {"Add", "Sub"}
        else [],
    }
