"""Have the exporters translate operators by the recipe's rules, and by built-in ones where they have none.

One translation serves both. torch's recorder turns a call of it into ONNX nodes. Under dynamo that is the exporter's
own way; under TorchScript the recorded nodes are added to its graph one by one.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import onnx_ir as ir
import onnxscript
import torch
from onnxscript import evaluator

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder, takes_builder
from onnxbuild.steps.export.compiled import check_nodes, check_outputs, retarget
from onnxbuild.steps.export.translations import Entry, added, keep_translations
from onnxbuild.steps.model.user import user_code


@dataclass(slots=True, kw_only=True)
class Translation:
    """One operator's translation, and where it was used."""

    rule: str
    """The name of the rule that it is of."""
    operator: str
    """``aten::roll``, without the overload."""
    overload: str | None
    """The overload; None for all of them."""
    function: Callable[..., Any]
    """What writes the nodes."""
    places: list[Any] = field(default_factory=list)
    """Where it was used: names, or recorded nodes that get their names later."""


def load_translations(rules: Sequence[Mapping[str, Any]]) -> list[Translation]:
    """Ask the operator rules among `rules` for what they translate, in order."""
    found = []
    for rule in rules:
        module, _, function = rule["run"].partition(":")
        with user_code(f"the rule {rule['name']!r} failed", kind=ExportError):
            table = getattr(import_module(module), function)(rule["options"])
        for name, translate in table.items():
            operator, overload = split_name(name)
            found.append(
                Translation(
                    rule=rule["name"],
                    operator=operator,
                    overload=overload,
                    function=translate,
                )
            )
    return found


def split_name(name: str) -> tuple[str, str | None]:
    """Take ``aten.roll.default`` or ``aten::roll`` apart: the operator, and the overload if there is one."""
    spelled = name if "::" in name else name.replace(".", "::", 1)
    operator, dot, overload = spelled.partition(".")
    return operator, overload if dot else None


@contextmanager
def translated(exporter: str, translations: Sequence[Translation], opset: int) -> Iterator[None]:
    """Have one exporter use the translations inside of the block; each notes where it was used."""
    for translation in translations:
        translation.places.clear()
    if not translations:
        yield
        return
    for translation in translations:
        find_overloads(translation)
    try:
        if exporter == "dynamo":
            keep_translations()
            with added(_dynamo_table(translations, opset)):
                yield
        else:
            from onnxbuild.steps.export.symbolics import registered

            with registered(translations, opset):
                yield
    except ExportError as error:
        # The exporter wraps what a translation says in words of its own.
        raise (_find_own(error) or error) from error.__cause__


def _find_own(error: BaseException) -> ExportError | None:
    """Give the error among an error's causes that is of a rule."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, ExportError):
            return cause
        cause = cause.__cause__
    return None


def describe_places(translation: Translation) -> list[str]:
    """Name the modules in which a translation was used, once for each use."""
    return [place if isinstance(place, str) else _find_scope(place) for place in translation.places]


def call(
    translation: Translation,
    builder: Builder,
    schema: torch.FunctionSchema | None,
    values: Sequence[Any],
    keywords: Mapping[str, Any],
) -> Any:
    """Call a translation with an operator's arguments. Raises `ExportError` for one that it does not take."""
    function = translation.function
    check_outputs(function, translation.rule)
    arguments, named = list(values), dict(keywords)
    if takes_builder(function):
        arguments.insert(0, builder)
        skipped = 1
    else:
        skipped = 0
    names = _parameters(function)
    if schema is not None and names is not None:
        arguments, named = _fit(translation, schema, arguments, named, names, skipped)
    with user_code(
        f"the rule {translation.rule!r} failed on {translation.operator}", kind=ExportError
    ):
        return function(*arguments, **named)


def _parameters(function: Any) -> list[str] | None:
    """Give the names that a function takes; None where it takes any, or they are not known."""
    try:
        parameters = inspect.signature(getattr(function, "function", function)).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind in {p.VAR_POSITIONAL, p.VAR_KEYWORD} for p in parameters):
        return None
    return [p.name for p in parameters]


def _fit(
    translation: Translation,
    schema: torch.FunctionSchema,
    arguments: list[Any],
    named: dict[str, Any],
    names: list[str],
    skipped: int,
) -> tuple[list[Any], dict[str, Any]]:
    """Leave out what a translation does not take where it is the operator's own default."""
    declared = list(schema.arguments)
    room = len(names) - skipped
    positional = arguments[skipped:]
    extra = list(zip(declared[room:], positional[room:], strict=False))
    dropped = {
        argument.name: named.pop(argument.name)
        for argument in declared
        if argument.name in named and argument.name not in names
    }
    unknown = [(argument.name, argument.default_value, value) for argument, value in extra]
    defaults = {argument.name: argument.default_value for argument in declared}
    unknown += [(name, defaults[name], value) for name, value in dropped.items()]
    for name, default, value in unknown:
        if value is not None and (isinstance(value, ir.Value) or not _same(value, default)):
            raise ExportError(
                f"{translation.operator} is called with `{name}={value!r}`, which the function behind the rule"
                f" {translation.rule!r} does not take",
                where=f"replace.{translation.rule}",
                hint=f"give it the parameter `{name}`; the operator is {schema}",
            )
    return arguments[: skipped + room], named


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def _dynamo_table(translations: Sequence[Translation], opset: int) -> list[Entry]:
    """Give torch's overloads and what translates each."""
    table: list[Entry] = []
    for translation in translations:
        table += [
            Entry(overload, record(translation, overload, opset), only_missing=False)
            for overload in find_overloads(translation)
        ]
    return table


def find_overloads(translation: Translation) -> list[Any]:
    """Give torch's overloads that a translation is for. Raises `ExportError` where torch has none."""
    namespace, _, name = translation.operator.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    if packet is None:
        raise ExportError(
            f"torch has no operator {translation.operator}",
            where=f"replace.{translation.rule}",
            hint="an operator of your own exists once the module that registers it has been imported, by the"
            " model's file for one",
        )
    names = packet.overloads() if translation.overload is None else [translation.overload]
    missing = [overload for overload in names if overload not in packet.overloads()]
    if missing:
        raise ExportError(
            f"{translation.operator} has no overload {missing[0]!r}",
            where=f"replace.{translation.rule}",
            hint=f"it has: {', '.join(packet.overloads())}",
        )
    return [getattr(packet, overload) for overload in names]


def record(translation: Translation, overload: Any, opset: int) -> Callable[..., Any]:
    """Give a function for dynamo's table that calls a translation under its recorder."""

    def translate(*values: Any, **keywords: Any) -> Any:
        recorder = evaluator.default()
        found = call(translation, Builder(opset, "dynamo"), overload._schema, values, keywords)
        if found is NotImplemented:
            return found
        translation.places.append(recorder.nodes)
        check_nodes(recorder.nodes, opset, translation.rule)
        for identifier, written in recorder.functions.items():
            if isinstance(written, onnxscript.OnnxFunction):
                recorder.functions[identifier] = retarget(written, opset, translation.rule)
        return found

    translate.__name__ = f"translate_{overload.name().replace('::', '_').replace('.', '_')}"
    return translate


def _find_scope(nodes: Sequence[ir.Node]) -> str:
    """Name the module that the nodes are of, by what dynamo has written into them since."""
    for node in nodes:
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes")
        if scopes:
            names = [name for name in ast.literal_eval(scopes)[:-1] if name]
            return names[-1] if names else "(the model)"
    return "(the model)"
