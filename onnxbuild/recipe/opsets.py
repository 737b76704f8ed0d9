"""What a recipe may ask of opset, IR version and target, and what is said to who mixes up their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from onnxbuild.core.facts import installed
from onnxbuild.recipe.mistakes import KeyPath, Place
from onnxbuild.recipe.releases import (
    DYNAMO,
    RUNTIMES,
    TORCHSCRIPT,
    Runtime,
    runtime_of,
    tell_number,
)
from onnxbuild.recipe.schema import Export, TargetRuntime

DEFAULT_OPSET = 18
"""What a PyTorch model is exported to where the recipe asks for no opset."""

Found: TypeAlias = tuple[KeyPath, str, str]
"""Where a mistake is, what is wrong and what to do."""


def opset_words(value: Any, place: Place | None, what: str, hint: str) -> tuple[str, str]:
    """Tell an opset from a release of ONNX or of onnxruntime, which people write in its place."""
    # As it is written: YAML makes 1.2 of 1.20.
    text = str(value)
    if place is not None and place.source and isinstance(value, float):
        text = place.text[place.column - 1 : place.column - 1 + place.width] or text
    told = tell_number(text)
    if told:
        number = told.rpartition(" ")[2]
        advice = f"say `opset: {number}`"
        if "onnxruntime" in told:
            advice += f'; or `opset: auto` and `target: {{onnxruntime: "{text}"}}`'
        return f"`export.opset` cannot be {text}: {told}", advice
    if isinstance(value, str) and value.isdigit():
        return what.replace("cannot be the text", "must be a whole number or auto, not the text"), (
            "leave the quotes out"
        )
    if isinstance(value, str):
        what = f"`export.opset` must be a whole number or auto, not the text {value!r}"
        return what, "`onnxbuild opsets` lists them"
    return what.replace("or text", "or auto"), hint


def opset_mistakes(export: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Found]:
    """Give what is wrong with the opset and the target of a recipe that are right by themselves."""
    path = ("export", "opset")
    exporter = export.get("exporter", "auto")
    opset = export.get("opset") if isinstance(export.get("opset"), int) else None
    number = DEFAULT_OPSET if opset is None else opset
    runtime = None
    release = target.get("onnxruntime")
    if isinstance(release, str):
        runtime = runtime_of(release)
        if runtime is None:
            yield (
                ("target", "onnxruntime"),
                f"{release!r} is no release of onnxruntime that is known",
                f'write it as "{RUNTIMES[-1].release}"; the oldest known is {RUNTIMES[0].release}',
            )
    if export.get("opset") == "auto":
        number = _highest(exporter, runtime)
    if exporter == "dynamo" and number < DYNAMO.start:
        yield (
            path,
            f"the dynamo exporter writes opset {DYNAMO.start} and up, not {number}",
            "take `exporter: auto` or `exporter: torchscript`",
        )
    elif exporter == "torchscript" and number not in TORCHSCRIPT:
        yield (
            path,
            f"the TorchScript exporter writes opset {TORCHSCRIPT[0]} to {TORCHSCRIPT[-1]}, not {number}",
            "take another opset" if number < TORCHSCRIPT[0] else "take `exporter: dynamo`",
        )
    elif exporter == "auto" and number < TORCHSCRIPT[0]:
        yield path, f"no exporter writes opset {number}; the oldest is {TORCHSCRIPT[0]}", ""
    if runtime is not None:
        yield from _target_mistakes(export, number, opset, str(release), runtime)


def _target_mistakes(
    export: Mapping[str, Any], number: int, opset: int | None, release: str, runtime: Runtime
) -> Iterator[Found]:
    ir = export.get("ir_version")
    if number > runtime.opset:
        what = f"onnxruntime {release} runs opsets up to {runtime.opset}, not {number}"
        if opset is None:
            what += ", which is what a recipe that says nothing gets"
        yield (
            ("export", "opset") if opset is not None else ("target", "onnxruntime"),
            what,
            f"say `export: {{opset: {runtime.opset}}}`, or `opset: auto`",
        )
    if isinstance(ir, int) and ir > runtime.ir:
        yield (
            ("export", "ir_version"),
            f"onnxruntime {release} reads IR versions up to {runtime.ir}, not {ir}",
            f"leave it out, or say `ir_version: {runtime.ir}`",
        )


def find_opset(export: Export, target: TargetRuntime) -> int | None:
    """Give the opset of an export as a number; None where the recipe says nothing."""
    if export.opset != "auto":
        return export.opset
    runtime = None if target.onnxruntime is None else runtime_of(target.onnxruntime)
    return _highest(export.exporter, runtime)


def find_ir(target: TargetRuntime) -> int | None:
    """Give the highest IR version that the target reads; None where the recipe names none."""
    runtime = None if target.onnxruntime is None else runtime_of(target.onnxruntime)
    return None if runtime is None else runtime.ir


def _highest(exporter: str, runtime: Runtime | None) -> int:
    runtime = runtime or runtime_of(installed().get("onnxruntime", "")) or RUNTIMES[-1]
    last = TORCHSCRIPT[-1] if exporter == "torchscript" else DYNAMO[-1]
    return min(last, runtime.opset)
