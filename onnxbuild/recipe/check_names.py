"""Mistakes in what is written once for many names, in constants, and in names that lead into arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnxbuild.recipe.expanding import ExpandError, expand
from onnxbuild.recipe.mistakes import KeyPath, Mistake, dotted
from onnxbuild.recipe.sources import EXPANDED, Sources


def form_mistakes(data: Mapping[str, Any], sources: Sources) -> Iterator[Mistake]:
    """Check what could not be written out, and that no input stands inside of another."""
    for section in sorted(EXPANDED):
        for name, value in _mapping(data.get(section)).items():
            yield from _expand_mistakes((section, str(name)), _mapping(value), sources)
    inputs, constants = _mapping(data.get("inputs")), _mapping(data.get("constants"))
    for name, value in inputs.items():
        path = ("inputs", str(name))
        if "value" in _mapping(value):
            other = next((key for key in value if key != "value"), "value")
            yield Mistake(
                f"`{dotted(path)}` is a constant by its `value`, and has a `{other}` too",
                place=sources.place((*path, other), "key"),
                hint="a tensor has a `shape`, and its values from `range`, `fill`, `values` or `data`",
                path=(*path, other),
            )
    model = _mapping(data.get("model"))
    for name in constants if model.get("onnx") is not None else ():
        yield Mistake(
            f"{name!r} is a constant of Python's, and the model is an ONNX file, which takes tensors only",
            place=sources.place(("constants", name), "key"),
            hint="give it a `shape`, and `fill:`",
            path=("constants", name),
        )
    names = [*inputs, *constants]
    for name in names:
        parts = str(name).split(".")
        path = ("inputs" if name in inputs else "constants", str(name))
        if "" in parts:
            yield Mistake(
                f"the name {name!r} has an empty part",
                place=sources.place(path, "key"),
                hint="dots lead from an argument of forward() to a part of it: `batch.dense`",
                path=path,
            )
        outer = [".".join(parts[:end]) for end in range(1, len(parts))]
        clash = next((other for other in outer if other in names), None)
        if clash is not None or (name in inputs and name in constants):
            yield Mistake(
                f"{clash!r} is an input, and {name!r} a part of it"
                if clash is not None
                else f"{name!r} is an input and a constant",
                place=sources.place(path, "key"),
                hint="an argument is one tensor, or made of parts",
                path=path,
            )


def _expand_mistakes(
    path: KeyPath, value: Mapping[str, Any], sources: Sources
) -> Iterator[Mistake]:
    text = value.get("expand")
    if not isinstance(text, str):
        return
    try:
        expand(text)
    except ExpandError as error:
        yield Mistake(
            f"`{dotted((*path, 'expand'))}` cannot be {text!r}: {error}",
            place=sources.place((*path, "expand")),
            hint='numbers and words in braces, as in expand: "{0..3}.{key,value}"',
            path=(*path, "expand"),
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
