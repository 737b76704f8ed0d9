"""A published folder: what it must hold, and whether one is what a build has published."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TypeAlias

from onnxbuild.core.digest import digest_bytes
from onnxbuild.engine.publish import BUILD_JSON
from onnxbuild.report.result import LockedFile

Files: TypeAlias = Mapping[str, tuple[str, int]]
"""By name, digest and bytes."""


def is_of(folder: str, recipe: str, variant: str) -> bool:
    """Tell whether a folder is what a build published as this variant."""
    try:
        with open(os.path.join(folder, BUILD_JSON), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and (found.get("recipe"), found.get("variant")) == (
        recipe,
        variant,
    )


def contents_of(made: Files, text: str) -> dict[str, str]:
    """Give the digests of all that a published folder must hold."""
    contents = {name: digest for name, (digest, _) in made.items()}
    contents[BUILD_JSON] = digest_bytes(text.encode())
    return contents


def lockable(files: Files) -> dict[str, LockedFile]:
    """Give files as a lock has them."""
    return {name: LockedFile(digest=digest, bytes=size) for name, (digest, size) in files.items()}
