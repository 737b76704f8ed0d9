"""Where two results of one step differ, in words that say what to look for."""

from __future__ import annotations

import json
import os
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.excerpts import cut_around
from onnxbuild.core.ports import ContentStore

CHUNK = 1 << 20


def tell_difference(
    first: Artifact, second: Artifact, store: ContentStore, other: ContentStore
) -> str:
    """Say where the results `first` in `store` and `second` in `other` differ first."""
    if first.kind != second.kind:
        return f"a result of the kind {first.kind} the first time, {second.kind} the second"
    if first.kind == "json":
        one, another = _read(first, store), _read(second, other)
        if one is None or another is None:
            return _lost(first, second)
        return differ_as_json(one, another)
    paths = store.path(first), other.path(second)
    if not all(map(os.path.exists, paths)):
        return _lost(first, second)
    found = ""
    # Imported here: the common case, that nothing differs, needs no library.
    if first.kind == "model":
        from onnxbuild.graph.difference import find_difference

        found = find_difference(*paths)
    elif first.kind == "arrays":
        from onnxbuild import arrays

        found = arrays.find_difference(*paths)
    return found or differ_as_files(*paths)


def differ_as_json(one: str, other: str) -> str:
    """Say where two JSON texts differ first: the path, and both values."""
    return differ_as_values("", json.loads(one), json.loads(other)) or "written in another way"


def differ_as_values(place: str, one: Any, other: Any) -> str:
    """Say where two plain values differ first; empty if nowhere."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            inside = f"{place}.{key}".lstrip(".")
            if key not in one or key not in other:
                return f"{inside} is there only the {'second' if key in other else 'first'} time"
            found = differ_as_values(inside, one[key], other[key])
            if found:
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list):
        for index, (item, another) in enumerate(zip(one, other, strict=False)):
            found = differ_as_values(f"{place}[{index}]", item, another)
            if found:
                return found
        if len(one) != len(other):
            return f"{place or 'the list'} has {len(one)} items the first time, {len(other)} the second"
        return ""
    texts = (json.dumps(one, ensure_ascii=False), json.dumps(other, ensure_ascii=False))
    if texts[0] == texts[1]:
        return ""
    told = cut_around(*texts)
    return f"{place or 'the value'} is {told[0]} the first time, {told[1]} the second"


def differ_as_files(one: str, other: str) -> str:
    """Say at which byte two files differ first; empty if nowhere."""
    offset = 0
    with open(one, "rb") as first, open(other, "rb") as second:
        while True:
            left, right = first.read(CHUNK), second.read(CHUNK)
            if left != right:
                pairs = enumerate(zip(left, right, strict=False))
                shared = min(len(left), len(right))
                inside = next((index for index, (a, b) in pairs if a != b), shared)
                sizes = os.path.getsize(one), os.path.getsize(other)
                return (
                    f"byte {offset + inside} of {sizes[0]} the first time, of {sizes[1]} the second"
                )
            if not left:
                return ""
            offset += len(left)


def _read(artifact: Artifact, store: ContentStore) -> str | None:
    if artifact.inline is not None:
        return artifact.inline
    try:
        with open(store.path(artifact), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        # Of a hit the store need not have the content any more.
        return None


def _lost(first: Artifact, second: Artifact) -> str:
    return (
        f"{first.digest[:15]}… the first time, {second.digest[:15]}… the second; the content of the first is"
        " not in the store any more: `--no-cache` makes it anew"
    )
