"""What the rows of the action cache say: values as text behind its own digest, so that a changed bit shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.trace import Trace
from onnxbuild.core.values import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVariant:
    """What a published folder holds, and the traces that it rests on."""

    contents: Mapping[str, str]
    """By name, the digest of each file."""

    traces: tuple[tuple[str, str], ...]
    """Key and fingerprint of each trace of the build."""

    before: Mapping[str, str] = field(default_factory=dict)
    """What it held before, while it is being replaced: whoever looks finds one or the other."""


def seal(value: Any) -> str:
    """Write a plain value as text, with the digest of that text before it."""
    text = json.dumps(value)
    return digest_bytes(text.encode()) + text


def unseal(row: str) -> Any:
    """Read what `seal` wrote; None where the text is not what was written."""
    start = min((found for mark in "{[" if (found := row.find(mark)) >= 0), default=-1)
    if start < 0 or row[:start] != digest_bytes(row[start:].encode("utf-8", "surrogatepass")):
        return None
    return json.loads(row[start:])


def fingerprint(trace: Trace) -> str:
    """Tell the traces of one key apart: by what was observed and what came of it."""
    told = [plain(trace.observations), plain(trace.results), plain(trace.grown)]
    return digest_bytes(json.dumps(told, sort_keys=True).encode())


def read_variant(row: str) -> PublishedVariant | None:
    """Read what is remembered of a published folder; None where it is not what was written."""
    said = unseal(row)
    if said is None:
        return None
    return PublishedVariant(
        contents=said["contents"],
        traces=tuple((key, mark) for key, mark in said["traces"]),
        before=said["before"],
    )


def read_whole(key: str, body: str) -> Trace | None:
    """Read a trace; None where its text is not what was written, or it is another key's."""
    said = unseal(body)
    trace = None if said is None else read_trace(said)
    return trace if trace is not None and trace.key == key else None


def read_trace(data: dict[str, Any]) -> Trace:
    """Read a trace from plain values."""
    return Trace(
        key=data["key"],
        ingredients=data["ingredients"],
        observations=tuple((kind, name, value) for kind, name, value in data["observations"]),
        results={name: read_artifact(value) for name, value in data["results"].items()},
        grown=data["grown"],
        log=data["log"],
        seconds=data["seconds"],
        memory=data["memory"],
        stored=data.get("stored", 0),
        made=data["made"],
        build=data["build"],
        notes=data["notes"],
    )


def read_artifact(data: dict[str, Any]) -> Artifact:
    """Read an artifact from plain values."""
    return Artifact(
        kind=data["kind"],
        digest=data["digest"],
        size=data["size"],
        parts=tuple(data["parts"]),
        inline=data["inline"],
    )
