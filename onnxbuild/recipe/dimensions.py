"""Dimensions that follow from others: ``past + sequence``, ``2*k``, ``k // 2``.

The grammar: whole numbers, names, ``+``, ``-``, ``*``, ``//`` and parentheses, with Python's precedence and
Python's division, which rounds down. A name alone is an expression too. Light: planning reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

TOKEN = re.compile(r"\s*(?:(\d+)|([^\W\d]\w*)|(//|[-+*()]))")

DEEPEST = 20
"""Parentheses inside of one another."""


class DimensionError(ValueError):
    """What is wrong with the text of a dimension, and at which character, counted from 0."""

    def __init__(self, what: str, column: int) -> None:
        super().__init__(what)
        self.what = what
        self.column = column


@dataclass(frozen=True, slots=True)
class Expression:
    """A dimension as an expression of others."""

    text: str
    """As it was written, with one space around ``+`` and ``-``."""

    names: tuple[str, ...]
    """The dimensions in it, each once, in order."""

    evaluate: Callable[[Mapping[str, int]], int]
    """Gives its size for sizes of these. Raises `KeyError`, or `ZeroDivisionError`."""

    places: tuple[tuple[str, int], ...] = ()
    """Each name with the character at which it stands."""

    @property
    def is_name(self) -> bool:
        """True for a dimension that follows from no other."""
        return self.names == (self.text,)

    def names_are_in(self, sizes: Mapping[str, int]) -> bool:
        """Tell whether it can be evaluated."""
        return all(name in sizes for name in self.names)


@cache
def parse(text: str) -> Expression:
    """Read the text of a dimension. Raises `DimensionError`."""
    parser = _Parser(text)
    evaluate = parser.sum(0)
    if parser.sign:
        raise parser.wrong(f"{parser.sign!r} does not belong here")
    return Expression(
        text=write(text),
        names=tuple(dict.fromkeys(name for name, _ in parser.names)),
        evaluate=evaluate,
        places=tuple(parser.names),
    )


def write(text: str) -> str:
    """Write an expression in the one way in which it stands in graphs: ``past + 2*k``."""
    tokens = [match[0].strip() for match in TOKEN.finditer(text)]
    out = ""
    for before, sign in zip(["(", *tokens], tokens, strict=False):
        # A sign has no space after it.
        is_sum = sign in {"+", "-"} and before not in {"+", "-", "*", "//", "("}
        out += f" {sign} " if is_sum or sign == "//" else sign
    return out


@cache
def read(text: str) -> Expression:
    """Read a dimension, maybe of a graph that was made elsewhere: what is no expression is a name, whatever it is.

    So is what is not written as `write` does: ``seq-len`` is one name in such a graph.
    """
    try:
        expression = parse(text)
    except DimensionError:
        expression = None
    if expression is None or not expression.names or expression.text != text:
        return Expression(text=text, names=(text,), evaluate=lambda sizes: sizes[text])
    return expression


def size(text: str, sizes: Mapping[str, int]) -> int:
    """Give the size of a dimension for sizes of others. Raises `KeyError` for one that is not there."""
    if text in sizes:
        return sizes[text]
    return read(text).evaluate(sizes)


def names(texts: Iterable[str]) -> list[str]:
    """Name all dimensions that these speak of, each once, in order."""
    return list(dict.fromkeys(name for text in texts for name in read(text).names))


def substitute(text: str, words: Callable[[str], str]) -> str:
    """Write an expression with other words in the place of its names."""
    expression = read(text)
    if not expression.places:
        return words(text)
    out, at = "", 0
    written = parse(expression.text)
    for name, column in written.places:
        out += written.text[at:column] + words(name)
        at = column + len(name)
    return out + written.text[at:]


class _Parser:
    """Reads sign by sign, and builds the function that evaluates."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: list[tuple[str, int]] = []
        self.sign = ""
        self.column = 0
        self._tokens = self._split(text)
        self.next()

    def _split(self, text: str) -> Iterator[tuple[str, int]]:
        at = 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if match is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise DimensionError(f"{text[start]!r} has no place in a dimension", start)
            at = match.end()
            yield match[0].strip(), match.end() - len(match[0].strip())
        yield "", len(text)

    def next(self) -> str:
        """Go to the next sign, and give the one that was."""
        before = self.sign
        self.sign, self.column = next(self._tokens, ("", len(self.text)))
        return before

    def wrong(self, what: str) -> DimensionError:
        return DimensionError(what, min(self.column, max(0, len(self.text) - 1)))

    def sum(self, depth: int) -> Callable[[Mapping[str, int]], int]:
        value = self.product(depth)
        while self.sign in {"+", "-"}:
            value = _combine(self.next(), value, self.product(depth))
        return value

    def product(self, depth: int) -> Callable[[Mapping[str, int]], int]:
        value = self.factor(depth)
        while self.sign in {"*", "//"}:
            value = _combine(self.next(), value, self.factor(depth))
        return value

    def factor(self, depth: int) -> Callable[[Mapping[str, int]], int]:
        column, sign = self.column, self.sign
        if depth > DEEPEST:
            raise self.wrong("nested too deep")
        if not sign:
            raise self.wrong("something is missing at the end" if self.text.strip() else "empty")
        self.next()
        if sign == "-":
            value = self.factor(depth + 1)
            return lambda sizes: -value(sizes)
        if sign == "(":
            inner = self.sum(depth + 1)
            if self.next() != ")":
                raise DimensionError("this parenthesis is not closed", column)
            return inner
        if sign.isdigit():
            number = int(sign)
            return lambda _: number
        if not sign.isidentifier():
            raise DimensionError(f"{sign!r} does not belong here", column)
        self.names.append((sign, column))
        return lambda sizes: sizes[sign]


def _combine(
    sign: str, one: Callable[[Mapping[str, int]], int], other: Callable[[Mapping[str, int]], int]
) -> Callable[[Mapping[str, int]], int]:
    match sign:
        case "+":
            return lambda sizes: one(sizes) + other(sizes)
        case "-":
            return lambda sizes: one(sizes) - other(sizes)
        case "*":
            return lambda sizes: one(sizes) * other(sizes)
        case _:
            return lambda sizes: one(sizes) // other(sizes)
