"""Arguments that are made of several tensors: tuples, lists, dicts, dataclasses, caches of keys and values.

Their tensors are named by the way to them: ``batch.dense``, ``extras.0``, ``past.0.key``. What is made of
them follows the annotation of the parameter; without one, numbers make a tuple and names a dict.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias, Union, get_args, get_origin

import torch
from torch import nn

from onnxbuild.errors import ModelError
from onnxbuild.steps.model import caches
from onnxbuild.steps.model.user import describe, say

Values: TypeAlias = Sequence[torch.Tensor]
Make: TypeAlias = Callable[[Values], Any]

Parameter = inspect.Parameter


@dataclass(slots=True)
class Node:
    """A part of an argument: a tensor, a constant, or what has parts of its own."""

    path: str
    index: int | None = None
    """Which of the inputs it is."""
    constant: Any = None
    is_constant: bool = False
    parts: dict[str, Node] = field(default_factory=dict)

    @property
    def is_leaf(self) -> bool:
        """True for a tensor or a constant."""
        return self.index is not None or self.is_constant

    @property
    def told(self) -> str:
        """Its name, for the log; of a constant its value too."""
        return f"{self.path}={self.constant!r}" if self.is_constant else self.path

    def leaves(self) -> Iterator[Node]:
        """Give the tensors and constants in it, in order."""
        if self.is_leaf:
            yield self
        for part in self.parts.values():
            yield from part.leaves()


def grow(inputs: Sequence[str], constants: Mapping[str, Any]) -> dict[str, Node]:
    """Sort inputs and constants by argument. Raises `ModelError` for one that stands inside of another."""
    root = Node(path="")
    for index, name in enumerate(inputs):
        _place(root, name).index = index
    for name, value in constants.items():
        leaf = _place(root, name)
        leaf.constant, leaf.is_constant = value, True
    return root.parts


def _place(root: Node, name: str) -> Node:
    node = root
    parts = name.split(".")
    for depth, part in enumerate(parts):
        if node.is_leaf:
            raise _clash(node.path, name)
        node = node.parts.setdefault(part, Node(path=".".join(parts[: depth + 1])))
    if node.is_leaf or node.parts:
        raise _clash(name, name)
    return node


def _clash(path: str, name: str) -> ModelError:
    return ModelError(
        f"the input {path!r} is a tensor, or a constant, and cannot have parts too",
        where=f"inputs.{name}",
        hint="name all its parts, or none",
    )


def assemble(node: Node, annotation: Any, model: nn.Module) -> Make:
    """Give a function that makes an argument of all inputs' tensors.

    Raises `ModelError` where its parts are not those that the annotation has.
    """
    if node.index is not None:
        index = node.index
        return lambda values: values[index]
    if node.is_constant:
        constant = node.constant
        return lambda _: constant
    hint = _container(annotation, node)
    if caches.is_cache(hint) or (
        node.path == caches.PARAMETER and hint is None and caches.is_transformer(model)
    ):
        return _cache(node, hint)
    origin = get_origin(hint) or hint
    if not isinstance(origin, type):
        return _by_names(node, hint, model)
    if issubclass(origin, tuple):
        return (
            _named(node, origin, model) if hasattr(origin, "_fields") else _row(node, hint, model)
        )
    if dataclasses.is_dataclass(origin):
        return _named(node, origin, model)
    if typing.is_typeddict(origin) or issubclass(origin, Mapping):
        return _mapping(node, hint, model)
    if issubclass(origin, list) or origin in {Sequence, MutableSequence}:
        return _row(node, hint, model)
    return _named(node, origin, model)


def _container(annotation: Any, node: Node) -> Any:
    """Give the type in an annotation that has parts; None where it says none."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _container(get_args(annotation)[0], node)
    if origin in {Union, types.UnionType}:
        options = [_container(option, node) for option in get_args(annotation)]
        options = [option for option in options if option is not None]
        numbered = _is_numbered(node)
        fitting = [option for option in options if _is_row(option) == numbered]
        # A cache has numbered layers, and is no row.
        cached = [option for option in options if caches.is_cache(option)]
        return next(iter([*cached, *fitting, *options]), None)
    if annotation in {Any, Parameter.empty, None, type(None), torch.Tensor, object}:
        return None
    if isinstance(annotation, str | typing.TypeVar | typing.ForwardRef):
        return None
    return annotation


def _is_row(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and (
        (issubclass(origin, tuple) and not hasattr(origin, "_fields"))
        or issubclass(origin, list)
        or origin in {Sequence, MutableSequence}
    )


def _is_numbered(node: Node) -> bool:
    return all(part.isdigit() for part in node.parts)


def _by_names(node: Node, hint: Any, model: nn.Module) -> Make:
    return _row(node, hint, model) if _is_numbered(node) else _mapping(node, hint, model)


def _row(node: Node, hint: Any, model: nn.Module) -> Make:
    """Make a tuple or a list. A position that is left out is None where the annotation allows it."""
    if not _is_numbered(node):
        name = next(part for part in node.parts if not part.isdigit())
        raise ModelError(
            f"{node.path!r} is a {_name(hint)}, whose parts are numbers, and {name!r} is none",
            where=f"inputs.{node.parts[name].path}",
            hint=f"call them {node.path}.0, {node.path}.1 and so on",
        )
    parts = {int(part): inner for part, inner in node.parts.items()}
    arguments = [item for item in get_args(hint) if item is not Ellipsis]
    is_fixed = _kind(hint) is tuple and Ellipsis not in get_args(hint) and bool(arguments)
    length = max(max(parts) + 1, len(arguments) if is_fixed else 0)
    makes: list[Make] = []
    for position in range(length):
        item = None
        if arguments:
            item = arguments[min(position, len(arguments) - 1)]
        if is_fixed and position >= len(arguments):
            raise ModelError(
                f"{node.path!r} has {len(arguments)} parts, and no {position}",
                where=f"inputs.{parts[position].path}" if position in parts else "inputs",
            )
        if position in parts:
            makes.append(assemble(parts[position], item, model))
        elif item is None or not _accepts_none(item):
            raise ModelError(
                f"{node.path!r} is a {_name(hint)}, and its part {position} is missing",
                where="inputs",
                hint=f"add {node.path}.{position}, or annotate it as one that may be None",
            )
        else:
            makes.append(lambda _: None)
    make = list if _kind(hint) is list else tuple
    return lambda values: make(item(values) for item in makes)


def _mapping(node: Node, hint: Any, model: nn.Module) -> Make:
    origin = get_origin(hint) or hint
    keys: dict[str, Any]
    if origin is not None and typing.is_typeddict(origin):
        fields = typing.get_type_hints(origin)
        _check_fields(node, list(fields), origin.__required_keys__, _name(hint))
        makes = {part: assemble(n, fields[part], model) for part, n in node.parts.items()}
        return lambda values: {key: make(values) for key, make in makes.items()}
    arguments = get_args(hint)
    value = arguments[1] if len(arguments) == 2 else None  # noqa: PLR2004 - keys and values
    is_number = bool(arguments) and arguments[0] is int
    if is_number and not _is_numbered(node):
        raise ModelError(
            f"the keys of {node.path!r} are numbers, and {', '.join(node.parts)} are not all",
            where=f"inputs.{node.path}",
        )
    makes = {part: assemble(inner, value, model) for part, inner in node.parts.items()}
    keys = {part: int(part) if is_number else part for part in makes}

    def make_dict(values: Values) -> Any:
        made = {keys[part]: make(values) for part, make in makes.items()}
        plain = origin is None or origin is dict or inspect.isabstract(origin)
        return made if plain or not isinstance(origin, type) else _of(origin, made)

    return make_dict


def _of(kind: type, made: dict[Any, Any]) -> Any:
    """Make a mapping of another class than dict."""
    empty = kind()
    empty.update(made)
    return empty


def _named(node: Node, kind: type, model: nn.Module) -> Make:
    """Make an object of a class whose constructor takes the parts by name."""
    try:
        parameters = dict(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return _by_names(node, None, model)
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
    }
    parts = dict(node.parts)
    if hasattr(kind, "_fields") and _is_numbered(node):
        # A named tuple is a tuple too.
        order = list(named)
        parts = {
            order[int(part)] if int(part) < len(order) else part: inner
            for part, inner in parts.items()
        }
    is_open = any(item.kind is Parameter.VAR_KEYWORD for item in parameters.values())
    required = [name for name, item in named.items() if item.default is Parameter.empty]
    known = [*named, *(parts if is_open else ())]
    _check_fields(node, known, required, kind.__name__, parts)
    hints = hints_of(kind) or hints_of(vars(kind).get("__init__"))
    makes = {name: assemble(inner, hints.get(name), model) for name, inner in parts.items()}
    return lambda values: kind(**{name: make(values) for name, make in makes.items()})


def _check_fields(
    node: Node,
    known: Sequence[str],
    required: Collection[str],
    kind: str,
    parts: Mapping[str, Node] | None = None,
) -> None:
    parts = node.parts if parts is None else parts
    for name in parts:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ModelError(
                f"{node.path!r} is a {kind}, which has no {name!r}",
                where=f"inputs.{node.path}.{name}",
                hint=f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}",
            )
    missing = [name for name in known if name in required and name not in parts]
    if missing:
        raise ModelError(
            f"{node.path!r} is a {kind}, which needs {', '.join(missing)}",
            where="inputs",
            hint=f"add {node.path}.{missing[0]}; only what has a default can be left out",
        )


def _cache(node: Node, hint: Any) -> Make:
    if not _is_numbered(node):
        raise ModelError(
            f"{node.path!r} is a cache of keys and values, whose layers are numbers",
            where=f"inputs.{node.path}",
            hint=f"call them {node.path}.0.key, {node.path}.0.value and so on",
        )
    layers = [node.parts[part] for part in sorted(node.parts, key=int)]
    if [int(part) for part in sorted(node.parts, key=int)] != list(range(len(layers))):
        raise ModelError(
            f"{node.path!r} has the layers {', '.join(sorted(node.parts, key=int))}, and they count from 0",
            where="inputs",
        )
    flat = [_leaves(layer) for layer in layers]
    make = caches.maker(flat, hint, node.path)
    return lambda values: make([{name: values[i] for name, i in layer.items()} for layer in flat])


def _leaves(node: Node, prefix: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for part, inner in node.parts.items():
        if inner.index is not None:
            found[prefix + part] = inner.index
        else:
            found |= _leaves(inner, f"{prefix}{part}.")
    return found


def hints_of(function: Any) -> dict[str, Any]:
    """Give the types of a function's parameters, or of a class's fields; of those that cannot be resolved none."""
    with suppress(Exception):  # any code can stand in an annotation; then each is tried by itself
        return typing.get_type_hints(function)
    inner = inspect.unwrap(function) if callable(function) else function
    scope = getattr(inner, "__globals__", None) or vars(sys.modules.get(inner.__module__, sys))
    found = {}
    for name, hint in getattr(inner, "__annotations__", {}).items():
        try:
            found[name] = eval(hint, scope) if isinstance(hint, str) else hint  # noqa: S307 - as Python does it
        except Exception as error:  # noqa: BLE001 - said, and the argument is made as if it had none
            say(f"the annotation of {name!r} cannot be resolved: {describe(error)}")
    return found


def _accepts_none(annotation: Any) -> bool:
    if get_origin(annotation) is typing.Annotated:
        return _accepts_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return type(None) in get_args(annotation)
    return annotation in {None, type(None), Any}


def _kind(hint: Any) -> type:
    return list if (get_origin(hint) or hint) in {list, Sequence, MutableSequence} else tuple


def _name(hint: Any) -> str:
    return getattr(get_origin(hint) or hint, "__name__", "tuple")
