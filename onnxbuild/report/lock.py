"""Lock files: what the published models of a recipe are, written down for people to agree to.

Made of what is the same on every machine that builds the recipe alike, so that a lock changes where the
models do: no time, no path, and of measurements only how large they are.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnxbuild.core.values import plain
from onnxbuild.errors import LockError
from onnxbuild.project import lock_path
from onnxbuild.report.result import BuildResult, LockedVariant, RecipeResult

FORMAT = 1

NOISE = -6
"""Power of ten below which errors are not told apart."""

BARE = re.compile("[A-Za-z_][A-Za-z0-9_.-]*")
"""Texts that need no quotes, but for `WORDS`."""

WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Texts that some reader of YAML takes for something else."""

SETTINGS = frozenset({"executor", "settings", "store"})
"""First names of overrides that change no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What a lock file says."""

    recipe: str
    overrides: tuple[str, ...] = ()
    platform: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, LockedVariant]

    def to_json(self) -> dict[str, Any]:
        """Give what the file holds."""
        variants = {name: _variant(item) for name, item in sorted(self.variants.items())}
        return {
            "format": FORMAT,
            "recipe": self.recipe,
            **({"overrides": list(self.overrides)} if self.overrides else {}),
            "platform": dict(self.platform),
            "variants": variants,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """What `onnxbuild.lock` gives."""

    build: BuildResult
    """What came of bringing the models up to date. Nothing is locked unless all of it went well."""

    locks: Mapping[str, Lock]
    """By the path of its file, what each lock says."""

    written: tuple[str, ...]
    """The files that changed; the others said so before."""

    def to_json(self) -> dict[str, Any]:
        """Give what ``lock --json`` prints."""
        return {
            "status": self.build.status,
            "locks": [
                {"path": path, "written": path in self.written, **made.to_json()}
                for path, made in self.locks.items()
            ],
            "errors": self.build.to_json()["errors"],
        }


def make_lock(recipe: RecipeResult, overrides: Sequence[str]) -> Lock:
    """Write down what was published of a recipe."""
    return Lock(
        recipe=recipe.name,
        overrides=lasting(overrides),
        platform=this_platform(),
        variants={name: item.pin for name, item in recipe.variants.items() if item.pin},
    )


def lasting(overrides: Sequence[str]) -> tuple[str, ...]:
    """Give the overrides that can change a model, in their order."""
    return tuple(
        word
        for word in overrides
        if word.lstrip("+~").partition("=")[0].partition(".")[0] not in SETTINGS
    )


def renewal(recipe: str, overrides: Sequence[str] = ()) -> str:
    """Give the command that renews a lock."""
    return shlex.join(["onnxbuild", "lock", recipe, *overrides])


def this_platform() -> dict[str, str]:
    """Give what of the platform every key has, as far as it is worth agreeing to."""
    return {
        "system": sys.platform,
        "machine": platform.machine(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }


def shorten(scaled: float | None, metric: Mapping[str, float] | None) -> dict[str, float]:
    """Give of measurements what other machines measure too: a power of ten, metrics to the hundredth."""
    short = {}
    if scaled is not None and math.isfinite(scaled):
        # Errors below are the noise of float32, of which each machine has its own.
        exponent = max(NOISE, math.floor(math.log10(scaled)) + 1) if scaled else NOISE
        short["scaled_error_below"] = float(f"1e{exponent}")
    for name, value in sorted((metric or {}).items()):
        if math.isfinite(value):
            short[name] = round(value, 2)
    return short


def write_lock(recipe: str, lock: Lock) -> bool:
    """Write the lock of the recipe at this path; False where its file says just that, and was left alone."""
    return keep(lock_path(recipe), write_out(lock, os.path.basename(recipe)))


def write_out(lock: Lock, recipe: str) -> str:
    """Write the text of a lock; `recipe` is the name of the recipe's file."""
    command = renewal(recipe, lock.overrides)
    if not command.isprintable():
        # A line's end in an override would end the comment.
        command = f"{renewal(recipe)} (with the overrides below)"
    head = [
        f"# What `onnxbuild run --locked` holds {recipe} to. Not to be edited; to renew it:",
        f"#   {command}",
    ]
    return "\n".join([*head, *_lines(lock.to_json(), "")]) + "\n"


def keep(path: str, text: str) -> bool:
    """Make a file hold `text`, as one; False where it did already, and was left alone."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return False
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        # Whatever is there instead is no lock.
        pass
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, target)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)
    except OSError as error:
        raise LockError(
            f"the lock cannot be written: {error.strerror}",
            where=path,
            hint="nothing was locked; what was built is kept",
        ) from error
    return True


def _variant(item: LockedVariant) -> dict[str, Any]:
    written = plain(item)
    written["files"] = dict(sorted(written["files"].items()))
    written["libraries"] = dict(sorted(written["libraries"].items()))
    return {key: value for key, value in written.items() if value not in ({}, "", None)}


def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Write a mapping as YAML, an entry a line, so that a review shows what changed and no more."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{indent}{_scalar(key)}:"
            yield from _lines(item, indent + "  ")
        elif isinstance(item, list):
            yield f"{indent}{_scalar(key)}:"
            yield from (f"{indent}- {_scalar(entry)}" for entry in item)
        else:
            yield f"{indent}{_scalar(key)}: {_scalar(item) if item != {} else '{}'}"


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if BARE.fullmatch(value) and value.lower() not in WORDS:
        return value
    # JSON's escapes are YAML's as well, but for what YAML does not take bare.
    text = json.dumps(value, ensure_ascii=False)
    return "".join(
        character if character.isprintable() else f"\\U{ord(character):08x}" for character in text
    )
