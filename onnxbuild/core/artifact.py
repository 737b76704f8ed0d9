"""Results of steps: content by digest, with what it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["model", "arrays", "json", "file"]

INLINE_LIMIT = 1 << 16
"""Bytes of JSON up to which a ``json`` artifact travels inside its trace instead of in a blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A named, digested result of a step."""

    kind: Kind
    """``model``: an ONNX graph whose weights are blobs; ``arrays``: an .npz file; ``json``; ``file``."""

    digest: str
    """Digest of the graph, of the file, or of the JSON text."""

    size: int
    """Bytes of the content itself; for a model, with its weights."""

    parts: tuple[str, ...] = ()
    """Digests of the weight blobs that a model's graph points at, in order, each once."""

    inline: str | None = None
    """The text of a small ``json`` artifact; no blob holds it."""
