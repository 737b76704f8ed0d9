"""What lies in a store: every file with its kind, size and time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from onnxbuild.core.files import SCRATCH

Kind: TypeAlias = Literal[
    "weights and data", "graphs", "traces", "answers", "temporary", "quarantine", "not ours"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

CONTENT: frozenset[Kind] = frozenset({"weights and data", "graphs"})
"""Kinds that are named by their digest."""

DIGITS = 64
"""Characters of a BLAKE3-256 digest."""

_FOLDERS: dict[str, Kind] = {
    "answers": "answers",
    "quarantine": "quarantine",
    "tmp": "temporary",
    "claims": "temporary",
    "leases": "temporary",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a store."""

    path: str
    kind: Kind
    size: int
    changed_ns: int
    """When it was last written, or touched by who put the same again."""

    @property
    def name(self) -> str:
        """The digits of its digest, for content."""
        return os.path.basename(self.path).removesuffix(".onnx")


def list_items(root: str) -> Iterator[Item]:
    """Give every file below the store's folder; what vanishes meanwhile is left out."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        top = os.path.relpath(folder, root).split(os.sep, maxsplit=1)[0]
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                # A build at work removes its temporary files meanwhile.
                continue
            yield Item(path, _kind(top, name), status.st_size, status.st_mtime_ns)


def is_digest(name: str) -> bool:
    """Tell whether a name is the digits of a digest."""
    return len(name) == DIGITS and not set(name) - set("0123456789abcdef")


def _kind(top: str, name: str) -> Kind:
    if top == "blobs":
        return "weights and data" if is_digest(name) else "not ours"
    if top != ".":
        return _FOLDERS.get(top, "not ours")
    if name.startswith(SCRATCH):
        return "temporary"
    if name.startswith("actions.sqlite") or name == ".gitignore":
        return "traces"
    is_graph = name.endswith(".onnx") and is_digest(name.removesuffix(".onnx"))
    return "graphs" if is_graph else "not ours"
