"""What a file of Python defines, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """The names that a module has at its top."""

    functions: dict[str, Function]
    classes: dict[str, ast.ClassDef]
    names: frozenset[str]
    """All names, those that are imported or assigned too."""
    open: bool
    """There may be more: a star import, a ``__getattr__``, or an assignment to ``globals()``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a function can be called with."""

    required: tuple[str, ...]
    """Parameters without a default, in order."""
    optional: tuple[str, ...]
    positional: int
    """How many of all can be given by position."""
    anything: bool
    """It takes any keyword."""


def definitions(source: bytes) -> Definitions:
    """Parse a module. Raises `SyntaxError` (with its line) or `ValueError`."""
    functions: dict[str, Function] = {}
    classes: dict[str, ast.ClassDef] = {}
    names: set[str] = set()
    is_open = False
    for node in _top_level(ast.parse(source).body):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                functions[node.name] = node
                names.add(node.name)
            case ast.ClassDef():
                classes[node.name] = node
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    is_open = is_open or alias.name == "*"
                    names.add((alias.asname or alias.name).partition(".")[0])
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.For() | ast.With():
                names.update(_bound(node))
            case _:
                pass
    is_open = is_open or "__getattr__" in functions or b"globals()" in source
    return Definitions(functions=functions, classes=classes, names=frozenset(names), open=is_open)


def signature(function: Function, *, bound: bool = False) -> Signature | None:
    """Give what a function can be called with; None where a decorator may have changed it.

    `bound` leaves out the first parameter, which is a method's own object.
    """
    if function.decorator_list:
        return None
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = len(arguments.defaults)
    required = [argument.arg for argument in positional[: len(positional) - defaults]]
    optional = [argument.arg for argument in positional[len(positional) - defaults :]]
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        (required if default is None else optional).append(argument.arg)
    count = len(positional)
    if bound:
        required, count = required[1:], count - 1
    return Signature(
        required=tuple(required),
        optional=tuple(optional),
        positional=count,
        anything=arguments.kwarg is not None,
    )


def callable_signature(found: Definitions, name: str) -> Signature | None:
    """Give the signature of a function, or of a class's ``__init__``; None where it is not certain."""
    if name in found.functions:
        return signature(found.functions[name])
    cls = found.classes.get(name)
    if cls is None or cls.decorator_list:
        return None
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return signature(node, bound=True)
    return None


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements that run when a module is imported, those inside of `if` and `try` too."""
    pending = list(reversed(body))
    while pending:
        node = pending.pop()
        yield node
        inner: list[ast.stmt] = []
        for attribute in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner += getattr(node, attribute, [])
        for attribute in ("handlers", "cases"):
            for part in getattr(node, attribute, []):
                inner += part.body
        pending += reversed(inner)


def _bound(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
