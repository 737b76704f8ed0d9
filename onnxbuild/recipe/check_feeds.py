"""Mistakes in what outputs feed, and in asking for tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnxbuild.recipe.mistakes import KeyPath, Mistake, did_you_mean
from onnxbuild.recipe.sources import Sources

HINT = "as in outputs: {logits: {feeds: input_ids}}"


def feed_mistakes(data: Mapping[str, Any], sources: Sources) -> Iterator[Mistake]:
    """Check that outputs feed inputs that there are, each once, and that tokens can be decoded where asked."""
    checks = _Feeds(data, sources)
    yield from checks.link_mistakes()
    yield from checks.token_mistakes()


class _Feeds:
    def __init__(self, data: Mapping[str, Any], sources: Sources) -> None:
        self.sources = sources
        self.inputs = _mapping(data.get("inputs"))
        self.constants = _mapping(data.get("constants"))
        self.feeds = _mapping(data.get("feeds"))
        self.verify = _mapping(data.get("verify"))
        outputs = data.get("outputs")
        self.outputs = [str(name) for name in outputs] if isinstance(outputs, list) else None

    def mistake(self, path: KeyPath, what: str, hint: str = "", part: Any = "value") -> Mistake:
        return Mistake(what, place=self.sources.place(path, part), hint=hint, path=path)

    def dtype(self, name: str) -> str:
        dtype = _mapping(self.inputs.get(name)).get("dtype", "float32")
        return dtype if isinstance(dtype, str) else ""

    def link_mistakes(self) -> Iterator[Mistake]:
        fed: dict[str, str] = {}
        for output, name in self.feeds.items():
            path = ("feeds", str(output))
            if self.outputs is not None and output not in self.outputs:
                hint = did_you_mean(str(output), self.outputs)
                yield self.mistake(path, f"the model has no output {output!r}", hint, "key")
            if not isinstance(name, str):
                continue
            if name in self.constants:
                yield self.mistake(path, f"{name!r} is a constant, and nothing can feed it")
            elif self.inputs and name not in self.inputs:
                inner = [known for known in self.inputs if known.startswith(f"{name}.")]
                hint = (
                    f'it has parts: say `expand: "…"` for the output too, as in {inner[0]}'
                    if inner
                    else did_you_mean(name, self.inputs)
                )
                yield self.mistake(path, f"the model has no input {name!r}", hint)
            if name in fed:
                yield self.mistake(path, f"{name!r} is fed by {fed[name]!r} already")
            fed.setdefault(name, str(output))

    def token_mistakes(self) -> Iterator[Mistake]:
        whole = [
            name
            for name in self.feeds.values()
            if isinstance(name, str) and self.dtype(name).startswith(("int", "uint"))
        ]
        for variant, given in self.verify.items():
            gates = _mapping(given)
            if gates.get("min_agreement") is not None and gates.get("generate") is None:
                yield self.mistake(
                    ("verify", variant, "min_agreement"),
                    "`min_agreement` is about tokens, and none are asked for",
                    "add `generate: 32`",
                    "key",
                )
            if gates.get("generate") is None:
                continue
            path = ("verify", variant, "generate")
            if not self.feeds:
                yield self.mistake(
                    path,
                    "to generate tokens, it must be known which output feeds which input",
                    HINT,
                )
            elif not whole and self.inputs:
                yield self.mistake(
                    path,
                    "to generate tokens, an output must feed them: no integer input is fed",
                    HINT,
                )
            elif not self.inputs:
                yield self.mistake(
                    path, "to generate tokens, the inputs must be declared: add `inputs:`"
                )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
