"""What the action cache keeps for a step that ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from onnxbuild.core.artifact import Artifact

Fact: TypeAlias = tuple[str, str, str]
"""Kind, name and value of one observation; see `onnxbuild.core.facts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Action key + observations -> results."""

    key: str
    """The action key."""

    ingredients: Mapping[str, Any]
    """What the key was made of, so that two keys can be told apart in words."""

    observations: tuple[Fact, ...]
    """What the step was seen to depend on, sorted."""

    results: Mapping[str, Artifact]
    """By output name. Empty when the step answered with more steps."""

    grown: Mapping[str, Any] | None = None
    """The steps that it answered with, as plain values; see `onnxbuild.engine.growth`."""

    log: str = ""
    """Digest of what the step printed; empty when it printed nothing."""

    seconds: float = 0.0
    """Wall time of the run."""

    memory: int = 0
    """Peak resident bytes of the worker."""

    stored: int = 0
    """Bytes of content that it has beyond its inputs."""

    made: float = 0.0
    """When it ran, as seconds since the epoch."""

    build: str = ""
    """Which build ran it."""

    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the step says about its work: rules fired, exporter used, reasons."""
