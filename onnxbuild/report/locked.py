"""Holding what a build is about to publish against what is locked."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.facts import name_path
from onnxbuild.core.trace import Fact
from onnxbuild.errors import LockError, UsageError
from onnxbuild.project import lock_path
from onnxbuild.report.lock import lasting, renewal, this_platform
from onnxbuild.report.result import LockedVariant

if TYPE_CHECKING:
    from onnxbuild.report.lock_reading import ReadLock

SHOWN = len("b3:") + 12
"""Characters of a digest that tell it from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A recipe's lock, to which a build must keep."""

    read: ReadLock
    recipe: str
    """The recipe's file."""

    overrides: tuple[str, ...]
    """Those of this call that can change a model."""

    fact: Fact
    """The lock file, as it must stay for what is said with it to stay true."""

    def check(self, name: str, found: LockedVariant) -> None:
        """Raise `LockError` when a variant is about to be published that is not the one that is locked."""
        lock = self.read.lock
        expected = lock.variants.get(name)
        if expected is None:
            raise LockError(
                "it is not in the lock",
                where=self.read.where("variants"),
                hint=f"`{self.renew}` takes it in",
            )
        difference = next(_differences(expected, found), "")
        if difference:
            causes = [*self._causes(expected, found)]
            raise LockError(
                difference,
                where=self.read.where("variants", name, "files"),
                hint="; ".join([*(causes or [self._no_cause()]), self.advice]),
            )

    def missing(self, published: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Name what is locked and not published any more, and where it stands in the lock."""
        for name in self.read.lock.variants:
            if name not in published:
                yield name, self.read.where("variants", name)

    @property
    def renew(self) -> str:
        """The command that renews the lock."""
        return renewal(self.recipe, self.overrides)

    @property
    def advice(self) -> str:
        """What to do when the difference is meant."""
        return f"if that is meant, `{self.renew}` renews the lock"

    def _causes(self, expected: LockedVariant, found: LockedVariant) -> Iterator[str]:
        """Name what differs from what was locked, the likeliest cause first."""
        lock = self.read.lock
        if self.overrides != lock.overrides:
            yield f"overrides: {_list(self.overrides)} here, {_list(lock.overrides)} in the lock"
        yield from _pairs(found.libraries, expected.libraries)
        yield from _pairs(this_platform(), lock.platform)
        if found.processor != expected.processor:
            yield f"processor: {found.processor or 'any'} here, {expected.processor or 'any'} in the lock"

    def _no_cause(self) -> str:
        check = shlex.join(["onnxbuild", "run", self.recipe, "--check-reproducible"])
        return (
            "overrides, libraries and platform are as locked: the recipe, its code or its data changed, or a"
            f" step is not reproducible (`{check}` finds out)"
        )


def read_locks(
    recipes: Sequence[str], names: Sequence[str], overrides: Sequence[str], root: str
) -> dict[str, Locked]:
    """Read the lock of each recipe, given by path and name. Raises `UsageError` where one has none."""
    # Imported here: nothing else of a build whose recipes are remembered needs to read YAML.
    from onnxbuild.report.lock_reading import ReadLock

    locks = {}
    for recipe, name in zip(recipes, names, strict=True):
        path, renew = lock_path(recipe), renewal(recipe, lasting(overrides))
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError as error:
            raise UsageError(
                f"{recipe} has no lock", where=path, hint=f"`{renew}` writes it"
            ) from error
        except OSError as error:
            raise UsageError(f"the lock cannot be read: {error.strerror}", where=path) from error
        read = ReadLock(content, path, renew)
        if read.lock.recipe != name:
            raise UsageError(
                f"the lock is of the recipe {read.lock.recipe!r}, and this one is {name!r}",
                where=read.where("recipe"),
                hint=f"`{renew}` writes it anew",
            )
        place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        locks[name] = Locked(
            read=read,
            overrides=lasting(overrides),
            recipe=recipe,
            fact=("file", name_path(place, root, {}), digest_bytes(content)),
        )
    return locks


def _differences(expected: LockedVariant, found: LockedVariant) -> Iterator[str]:
    for name, file in found.files.items():
        locked = expected.files.get(name)
        if locked is None:
            yield f"{name} is not in the lock"
        elif locked.digest != file.digest:
            yield (
                f"{name} would be {_short(file.digest)} ({file.bytes} bytes), and"
                f" {_short(locked.digest)} ({locked.bytes} bytes) is locked"
            )
        elif locked.bytes != file.bytes:
            yield f"{name} has {file.bytes} bytes, and {locked.bytes} are locked for the same digest"
    for name in expected.files:
        if name not in found.files:
            yield f"{name} is locked, and would not be there"
    if expected.opset != found.opset:
        yield f"the opset would be {found.opset}, and {expected.opset} is locked for the same files"


def _pairs(found: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*found, *expected}):
        here, there = found.get(name), expected.get(name)
        if here != there:
            yield f"{name}: {here or 'none'} here, {there or 'none'} in the lock"


def _short(digest: str) -> str:
    return digest[:SHOWN] + "…"


def _list(words: Sequence[str]) -> str:
    return " ".join(words) or "none"
