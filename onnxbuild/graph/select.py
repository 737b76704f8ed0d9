"""Nodes that a recipe chooses: by name, by glob, or by the path of the torch module that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import onnx_ir as ir

from onnxbuild.errors import StageError
from onnxbuild.graph.load import model_nodes

LISTED = 12
"""Names that a message lists."""


def module_of(name: str) -> str:
    """Give the path of the torch module in a node's name: ``encoder.0`` of ``encoder.0/MatMul``."""
    return name.rpartition("/")[0]


def matches(name: str, pattern: str) -> bool:
    """Say if `pattern` chooses the node `name`.

    It may be the name, a glob for it (``*lm_head*``), or the path of a module or a glob for one, which chooses
    all nodes of the module and of those in it (``encoder.layers.3``, ``encoder.layers.[0-3]``).
    """
    if name == pattern or fnmatchcase(name, pattern):
        return True
    path = module_of(name)
    while path:
        if path == pattern or fnmatchcase(path, pattern):
            return True
        path = path.rpartition(".")[0]
    return False


def select_nodes(model: ir.Model, patterns: Sequence[str], *, option: str) -> list[ir.Node]:
    """Give the nodes that any of `patterns` chooses, in the order of the graph.

    Raises `StageError` that names `option` and the nearest names for a pattern that chooses none.
    """
    nodes = list(model_nodes(model))
    names = {node.name for node in nodes if node.name}
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise StageError(
                f"{option}: {pattern!r} chooses no node", hint=_suggest(pattern, names)
            )
    return [node for node in nodes if any(matches(node.name or "", p) for p in patterns)]


def select_names(model: ir.Model, patterns: Sequence[str], *, option: str) -> list[str]:
    """Give the names of what `select_nodes` gives, each once."""
    found = (node.name for node in select_nodes(model, patterns, option=option))
    return list(dict.fromkeys(name for name in found if name))


def _suggest(pattern: str, names: Iterable[str]) -> str:
    known = sorted(names)
    modules = {path for name in known for path in _around(module_of(name))}
    near = get_close_matches(pattern, [*known, *sorted(modules)], n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    tops = sorted(modules, key=lambda path: (path.count("."), path)) or known
    more = " …" if len(tops) > LISTED else ""
    return (
        f"a node's name, a glob, or a module: {', '.join(tops[:LISTED]) or 'there are none'}{more}"
    )


def _around(path: str) -> list[str]:
    """Give a module's path and those of the modules around it."""
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)] if path else []
