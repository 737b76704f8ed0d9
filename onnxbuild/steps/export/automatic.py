"""Built-in translations that step in by themselves: where an exporter has none for an operator, or its own fails.

An exporter that translates an operator rightly is left to it, but for a few operators of which it is known that
what it gives is wrong. What such a rule needs is loaded when the exporter first meets its operator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch.onnx._internal.torchscript_exporter import registration

from onnxbuild.steps.export.translations import Entry, added, keep_translations
from onnxbuild.steps.model.user import describe, say

if TYPE_CHECKING:
    from onnxbuild.steps.export.operators import Translation


@dataclass(frozen=True, slots=True)
class Automatic:
    """One rule, and the operators for which it steps in."""

    rule: str
    run: str
    operators: tuple[str, ...]
    """By name, with an overload where it is for that one alone."""
    always: tuple[str, ...] = ()
    """Exporters whose own translation is passed over: measured with torch 2.13, it is wrong, or fails too late.
    A call that the rule does not translate then is left to it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the rule is told."""


OWN = "onnxbuild::"
"""The namespace of the operators that module rules put into models."""

LEAST, MOST = 9, 20
"""The opsets that torch has translations of their own for, under TorchScript."""

RULES = (
    Automatic(
        "affine_grid",
        "onnxbuild.rules.affine_grid.run:apply",
        ("aten::affine_grid_generator",),
    ),
    # TorchScript gives NaN for other norms than the second.
    Automatic(
        "cdist",
        "onnxbuild.rules.cdist.run:apply",
        ("aten::cdist", "aten::_cdist_forward"),
        ("torchscript",),
    ),
    # dynamo takes it apart into a product that it cannot translate.
    Automatic(
        "cumulative", "onnxbuild.rules.cumulative.run:apply", ("aten::cumprod",), ("dynamo",)
    ),
    Automatic(
        "cumulative",
        "onnxbuild.rules.cumulative.run:apply",
        ("aten::cumsum", "aten::logcumsumexp", "aten::cummax", "aten::cummin"),
    ),
    # torchvision registers translations of its own, which lose `aligned` in old opsets, and write operators of newer ones.
    Automatic(
        "deform_conv",
        "onnxbuild.rules.deform_conv.run:apply",
        ("torchvision::deform_conv2d",),
        ("torchscript", "dynamo"),
    ),
    # dynamo writes layers that take the time first for one size, RNN step by step, and projections wrongly.
    Automatic(
        "recurrent",
        "onnxbuild.rules.recurrent.translating:apply",
        ("aten::lstm.input", "aten::gru.input", "aten::rnn_tanh.input", "aten::rnn_relu.input"),
        ("dynamo",),
    ),
    # What the rule itself puts in their place.
    Automatic(
        "recurrent",
        "onnxbuild.rules.recurrent.translating:apply",
        ("onnxbuild::lstm", "onnxbuild::gru", "onnxbuild::rnn_tanh", "onnxbuild::rnn_relu"),
        ("torchscript", "dynamo"),
    ),
    Automatic(
        "regions",
        "onnxbuild.rules.regions.run:apply",
        ("torchvision::nms", "torchvision::roi_align", "torchvision::roi_pool"),
        ("torchscript", "dynamo"),
    ),
    Automatic(
        "diagonal",
        "onnxbuild.rules.diagonal.run:apply",
        ("aten::diagonal", "aten::trace", "aten::diag_embed", "aten::kron"),
    ),
    Automatic("einsum", "onnxbuild.rules.einsum.run:apply", ("aten::einsum",)),
    Automatic(
        "grid_sample",
        "onnxbuild.rules.grid_sample.run:apply",
        ("aten::grid_sampler", "aten::grid_sampler_3d"),
    ),
    Automatic("masked_select", "onnxbuild.rules.masked_select.run:apply", ("aten::masked_select",)),
    Automatic("nan_to_num", "onnxbuild.rules.nan_to_num.run:apply", ("aten::nan_to_num",)),
    Automatic(
        "order",
        "onnxbuild.rules.order.run:apply",
        ("aten::median.default", "aten::median.dim", "aten::kthvalue.default"),
    ),
    # A row that a mask hides whole is zeros in torch.
    Automatic(
        "plain_attention",
        "onnxbuild.rules.plain_attention.run:apply",
        ("aten::scaled_dot_product_attention",),
        ("torchscript", "dynamo"),
        {"only_wrong": True},
    ),
    # TorchScript repeats what is to be repeated no times.
    Automatic(
        "repeat_interleave",
        "onnxbuild.rules.repeat_interleave.run:apply",
        ("aten::repeat_interleave.self_int", "aten::repeat_interleave.self_Tensor"),
        ("torchscript",),
    ),
    Automatic("rms_norm", "onnxbuild.rules.rms_norm.run:apply", ("aten::rms_norm",)),
    # TorchScript cuts at the shift, which may be larger than a size that varies.
    Automatic("roll", "onnxbuild.rules.roll.run:apply", ("aten::roll",), ("torchscript",)),
    # TorchScript keeps one of the values that meet in a place, and puts no row in many; dynamo adds where the mean is asked for.
    Automatic(
        "scatter",
        "onnxbuild.rules.scatter.run:apply",
        ("aten::scatter_add", "aten::index_add", "aten::index_put"),
        ("torchscript",),
    ),
    Automatic(
        "scatter",
        "onnxbuild.rules.scatter.run:apply",
        ("aten::scatter_reduce.two",),
        ("torchscript", "dynamo"),
    ),
    Automatic("scatter", "onnxbuild.rules.scatter.run:apply", ("aten::masked_scatter",)),
    Automatic(
        "searchsorted", "onnxbuild.rules.searchsorted.run:apply", ("aten::searchsorted.Tensor",)
    ),
    Automatic(
        "size_numbers",
        "onnxbuild.rules.size_numbers.run:apply",
        (
            "aten::add.Scalar",
            "aten::mul.Scalar",
            "aten::pow.Tensor_Scalar",
            "aten::remainder.Scalar",
            "aten::sub.Scalar",
        ),
    ),
    Automatic("triangle", "onnxbuild.rules.triangle.run:apply", ("aten::triu", "aten::tril")),
    Automatic(
        "unfold",
        "onnxbuild.rules.unfold.run:apply",
        ("aten::im2col", "aten::col2im", "aten::unfold"),
    ),
    # TorchScript gives the inverse flat.
    Automatic("unique", "onnxbuild.rules.unique.run:apply", ("aten::_unique2",), ("torchscript",)),
)


@contextmanager
def completed(
    exporter: str, opset: int, own: Collection[str], *, asked: bool = False
) -> Iterator[dict[str, Translation]]:
    """Have an exporter fall back on built-in rules inside of the block; what it uses gets into what is given.

    `own` are operators that the recipe's rules translate. With `asked`, only what a module rule puts into
    a model is translated.
    """
    used: dict[str, Translation] = {}
    rules = {
        name: rule
        for rule in RULES
        for name in rule.operators
        if name.partition(".")[0] not in own and (name.startswith(OWN) or not asked)
    }
    if exporter == "dynamo":
        keep_translations()
        with added(
            [entry for name, rule in rules.items() for entry in _entries(name, rule, used, opset)]
        ):
            yield used
    else:
        with _registered(rules, used, opset):
            yield used


def say_why(name: str, exporter: str, opset: int) -> str:
    """Say why a rule has stepped in for an operator, or one of its overloads."""
    if any(exporter in rule.always for rule in RULES if name in rule.operators):
        return f"{exporter}'s own translation of {name} is not right, or fails too late"
    return f"{exporter} cannot translate {name} in opset {opset}"


def _load(name: str, rule: Automatic, used: dict[str, Translation]) -> Translation:
    """Give the translation of an operator, loaded when it is first asked for."""
    if name not in used:
        from onnxbuild.steps.export.operators import load_translations

        asked = {"name": rule.rule, "run": rule.run, "options": rule.options}
        for translation in load_translations([asked]):
            spelled = translation.operator
            if translation.overload is not None:
                spelled += f".{translation.overload}"
            if spelled == name:
                used[name] = translation
    return used[name]


def _entries(
    name: str, rule: Automatic, used: dict[str, Translation], opset: int
) -> Iterator[Entry]:
    operator, _, overload = name.partition(".")
    namespace, _, base = operator.partition("::")
    packet = getattr(getattr(torch.ops, namespace), base, None)
    for found in () if packet is None else packet.overloads():
        target = getattr(packet, found)
        # Some are TorchScript's alone, and never met here.
        if overload in {"", found} and torch._C._dispatch_has_kernel(target.name()):
            yield Entry(target, _stub(name, rule, used, target, opset), "dynamo" not in rule.always)


def _stub(
    name: str, rule: Automatic, used: dict[str, Translation], overload: Any, opset: int
) -> Callable[..., Any]:
    def translate(*values: Any, **keywords: Any) -> Any:
        from onnxbuild.steps.export.operators import record

        return record(_load(name, rule, used), overload, opset)(*values, **keywords)

    translate.__name__ = f"translate_{overload.name().replace('::', '_').replace('.', '_')}"
    return translate


@contextmanager
def _registered(
    rules: dict[str, Automatic], used: dict[str, Translation], opset: int
) -> Iterator[None]:
    """Register fallbacks with TorchScript's exporter, and take them out again."""
    # Torch loads what it has for later opsets when it exports, which is too late to ask what it has.
    for number in range(LEAST, MOST + 1):
        import_module(f"torch.onnx._internal.torchscript_exporter.symbolic_opset{number}")
    names: dict[str, dict[str, Automatic]] = {}
    for name, rule in rules.items():
        names.setdefault(name.partition(".")[0], {})[name] = rule
    symbolics = {
        operator: _symbolic(operator, versions, usual_symbolic(operator, opset), used, opset)
        for operator, versions in names.items()
    }
    with registering(symbolics, opset):
        yield


def usual_symbolic(operator: str, opset: int) -> Callable[..., Any] | None:
    """Give what TorchScript's exporter translates an operator with now; None where it has nothing."""
    group = registration.registry.get_function_group(operator)
    return None if group is None else group.get(opset)


@contextmanager
def registering(symbolics: Mapping[str, Callable[..., Any]], opset: int) -> Iterator[None]:
    """Have TorchScript's exporter translate operators so inside of the block, and as before after it."""
    before = {name: _custom(name, opset) for name in symbolics}
    try:
        for name, symbolic in symbolics.items():
            torch.onnx.register_custom_op_symbolic(name, symbolic, opset)
        yield
    finally:
        for name, custom in before.items():
            if custom is not None:
                torch.onnx.register_custom_op_symbolic(name, custom, opset)
            elif _custom(name, opset) is not None:
                torch.onnx.unregister_custom_op_symbolic(name, opset)


def _custom(operator: str, opset: int) -> Callable[..., Any] | None:
    """Give what somebody has registered for an operator, a model's code for one."""
    group = registration.registry.get_function_group(operator)
    is_custom = group is not None and group._functions.overridden(opset)
    return group.get(opset) if is_custom else None


def _symbolic(
    operator: str,
    versions: dict[str, Automatic],
    usual: Callable[..., Any] | None,
    used: dict[str, Translation],
    opset: int,
) -> Callable[..., Any]:
    always = any("torchscript" in rule.always for rule in versions.values())

    def symbolic(g: Any, *inputs: Any, **attributes: Any) -> Any:
        if usual is not None and not always:
            try:
                return usual(g, *inputs, **attributes)
            except (RuntimeError, AssertionError, TypeError, ValueError) as error:
                # What it has added to the graph is unused, and goes away.
                say(f"torch's own translation of {operator} fails: {describe(error)}")
        from onnxbuild.steps.export import symbolics

        schema = symbolics.read_schema(g.original_node, len(inputs))
        overload = "default" if schema is None else schema.overload_name or "default"
        for name, rule in versions.items():
            if name in {operator, f"{operator}.{overload}"}:
                translation = _load(name, rule, used)
                made = symbolics.translate(translation, g, schema, inputs, opset)
                if made is not NotImplemented:
                    return made
        if usual is not None:
            return usual(g, *inputs, **attributes)
        raise torch.onnx.errors.UnsupportedOperatorError(operator, opset, None)

    return symbolic
