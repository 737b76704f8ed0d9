"""Reading a lock file, and saying where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from onnxbuild.errors import RecipeError, UsageError
from onnxbuild.recipe.mistakes import KeyPath, dotted
from onnxbuild.recipe.reader import Document, read
from onnxbuild.report.lock import FORMAT, Lock
from onnxbuild.report.result import LockedFile, LockedVariant

T = TypeVar("T")

TOP = ("format", "recipe", "overrides", "platform", "variants")
VARIANT = ("opset", "files", "fidelity", "libraries", "processor")
FILE = ("digest", "bytes")

KINDS = {dict: "a mapping", list: "a list", str: "text", int: "a whole number"}

DIGEST_LENGTH = len("b3:") + 64


class ReadLock:
    """A lock, and where in its file each variant stands."""

    def __init__(self, content: bytes, name: str, renew: str) -> None:
        """Read the lock file called `name`. Raises `UsageError`, which says that the command `renew` mends it."""
        self._renew = renew
        try:
            self._document: Document = read(content, name)
        except RecipeError as error:
            first = error.mistakes[0]
            raise UsageError(
                f"the lock is damaged: {first.what}", where=first.where, hint=self._hint()
            ) from error
        self.lock = self._read()

    def where(self, *path: str) -> str:
        """Say where the value at `path` stands, or the nearest thing around it."""
        for end in range(len(path), 0, -1):
            span = self._document.keys.get(path[:end])
            if span is not None:
                return self._document.place(span).where
        return self._document.name

    def _read(self) -> Lock:
        data = self._document.data
        version = self._take((), data, "format", int)
        if version != FORMAT:
            self._fail(f"the lock has format {version}, this onnxbuild reads {FORMAT}", ("format",))
        self._refuse_others((), data, TOP)
        variants = self._take((), data, "variants", dict)
        overrides = self._take((), data, "overrides", list) if "overrides" in data else []
        return Lock(
            recipe=self._take((), data, "recipe", str),
            overrides=tuple(
                self._check(("overrides", str(index)), word, str)
                for index, word in enumerate(overrides)
            ),
            platform=self._texts((), data, "platform"),
            variants={name: self._variant(("variants", name), variants) for name in variants},
        )

    def _variant(self, path: KeyPath, variants: Mapping[str, Any]) -> LockedVariant:
        data = self._take(path[:-1], variants, path[-1], dict)
        self._refuse_others(path, data, VARIANT)
        files = self._take(path, data, "files", dict)
        return LockedVariant(
            opset=self._take(path, data, "opset", int) if "opset" in data else None,
            files={name: self._file((*path, "files", name), files) for name in files},
            # Not compared: what it says is for people.
            fidelity=self._take(path, data, "fidelity", dict) if "fidelity" in data else {},
            libraries=self._texts(path, data, "libraries"),
            processor=self._take(path, data, "processor", str) if "processor" in data else "",
        )

    def _file(self, path: KeyPath, files: Mapping[str, Any]) -> LockedFile:
        data = self._take(path[:-1], files, path[-1], dict)
        self._refuse_others(path, data, FILE)
        digest = self._take(path, data, "digest", str)
        if not digest.startswith("b3:") or len(digest) != DIGEST_LENGTH:
            self._fail(f"{digest!r} is no digest", (*path, "digest"))
        return LockedFile(digest=digest, bytes=self._take(path, data, "bytes", int))

    def _texts(self, path: KeyPath, data: Mapping[str, Any], key: str) -> dict[str, str]:
        found = self._take(path, data, key, dict) if key in data else {}
        return {name: self._take((*path, key), found, name, str) for name in found}

    def _take(self, path: KeyPath, data: Mapping[str, Any], key: str, kind: type[T]) -> T:
        if key not in data:
            self._fail(f"{dotted((*path, key))} is missing", path)
        return self._check((*path, key), data[key], kind)

    def _check(self, path: KeyPath, value: object, kind: type[T]) -> T:
        if not isinstance(value, kind) or isinstance(value, bool):
            self._fail(f"{dotted(path)} must be {KINDS[kind]}", path)
        return value

    def _refuse_others(
        self, path: KeyPath, data: Mapping[str, Any], known: tuple[str, ...]
    ) -> None:
        for key in data:
            if key not in known:
                self._fail(f"{dotted((*path, key))} has no place in a lock", (*path, key))

    def _fail(self, what: str, path: KeyPath) -> NoReturn:
        raise UsageError(f"the lock is damaged: {what}", where=self.where(*path), hint=self._hint())

    def _hint(self) -> str:
        return (
            f"`{self._renew}` writes it anew; take the last good one from git to compare with that"
        )
