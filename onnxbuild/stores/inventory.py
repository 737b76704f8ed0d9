"""What lies in a store: every file with its kind, size and time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from onnxbuild.core.files import SCRATCH

SCRATCHED = re.compile(re.escape(SCRATCH) + r"[0-9]+-[0-9a-f]{32}.*")
"""Copies of graphs at the root, and what libraries write beside them."""

Kind: TypeAlias = Literal[
    "weights and data", "graphs", "traces", "answers", "temporary", "quarantine", "not ours"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

CONTENT: frozenset[Kind] = frozenset({"weights and data", "graphs"})
"""Kinds that are named by their digest."""

DIGITS = 64
"""Characters of a BLAKE3-256 digest."""

OURS: dict[str, tuple[Kind, re.Pattern[str]]] = {
    "blobs": ("weights and data", re.compile("[0-9a-f]{2}")),
    "answers": ("answers", re.compile(r"[0-9a-f]{40}(\.[0-9]+\.[0-9a-f]+)?")),
    "quarantine": (
        "quarantine",
        re.compile(r"[0-9a-f]{64}(\.onnx)?|actions-[0-9]+\.sqlite(-wal|-shm)?"),
    ),
    "tmp": ("temporary", re.compile(r"([0-9]+-|tmp)[a-z0-9_]{8}")),
    "claims": ("temporary", re.compile("[0-9a-f]{64}|lock")),
    "leases": ("temporary", re.compile("[0-9]+-[0-9a-f]{8}|gate|opening")),
}
"""By folder at the root: what it holds, and what the names in it look like. Nothing else is ever removed."""


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
        within = os.path.relpath(folder, root)
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                # A build at work removes its temporary files meanwhile.
                continue
            kind = _kind(name if within == "." else f"{within}/{name}")
            yield Item(path, kind, status.st_size, status.st_mtime_ns)


def is_ours(folder: str, name: str) -> bool:
    """Tell whether a name in a folder at a store's root is one that onnxbuild makes."""
    return OURS[folder][1].fullmatch(name) is not None


def is_digest(name: str) -> bool:
    """Tell whether a name is the digits of a digest."""
    return len(name) == DIGITS and not set(name) - set("0123456789abcdef")


def _kind(path: str) -> Kind:
    """Say of what kind a file is, by its path within the store."""
    top, *rest = path.split("/")
    if rest:
        if top not in OURS or not is_ours(top, rest[0]):
            return "not ours"
        if top == "blobs":
            return "weights and data" if is_digest(rest[-1]) else "not ours"
        return OURS[top][0]
    if SCRATCHED.fullmatch(top):
        return "temporary"
    if top.startswith("actions.sqlite") or top == ".gitignore":
        return "traces"
    is_graph = top.endswith(".onnx") and is_digest(top.removesuffix(".onnx"))
    return "graphs" if is_graph else "not ours"
