"""The functions of `os` that look at files without raising an audit event.

Each is replaced in `os` and in `posix`, which importlib uses, by an object that behaves as the built-in
does: it binds to no instance, pickles by name, and is in the sets (`os.supports_dir_fd` …) that the
original is in, which `shutil` and others ask.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from onnxbuild.observe import switch
from onnxbuild.observe.record import Record
from onnxbuild.observe.scope import resolve
from onnxbuild.observe.switch import state, tell


class Wrapped:
    """A function of `os` that says what it is asked before it answers."""

    def __init__(self, original: Callable[..., Any], see: Callable[..., None] | None) -> None:
        self.__wrapped__ = original
        self.__name__ = original.__name__
        self.__qualname__ = original.__name__
        self.__doc__ = original.__doc__
        self.__module__ = "os"
        self._original = original
        self._see = see

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        if switch.current is not None and not state.busy:
            tell(self._see, *args, **kwargs)  # type: ignore[arg-type]
        return self._original(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return repr(self._original)


class WrappedOpen(Wrapped):
    """`os.open`: its audit event does not say which folder a relative path is relative to."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        folder = kwargs.get("dir_fd")
        if folder is None:
            return self._original(*args, **kwargs)
        before, state.dir_fd = state.dir_fd, folder
        try:
            return self._original(*args, **kwargs)
        finally:
            state.dir_fd = before


class WrappedScandir(Wrapped):
    """`os.scandir`: raises an event itself, but its entries can be asked for sizes and times."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        entries = self._original(*args, **kwargs)
        return Entries(entries, *args) if switch.is_on() else entries


class Entries:
    """What `os.scandir` gives."""

    def __init__(self, entries: Any, path: Any = None) -> None:
        self._entries = entries
        self._by_descriptor = path if isinstance(path, int) else None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return Entry(next(self._entries), self._by_descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entries.close()

    def close(self) -> None:
        """Close what is behind it."""
        self._entries.close()


class Entry:
    """An `os.DirEntry` that says when it is asked for more than the listing of its folder tells."""

    __slots__ = ("_by_descriptor", "_entry", "name", "path")

    def __init__(self, entry: Any, by_descriptor: int | None) -> None:
        self._entry = entry
        self._by_descriptor = by_descriptor
        self.name = entry.name
        self.path = entry.path

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance(entry, os.DirEntry) holds
        return os.DirEntry

    def __fspath__(self) -> Any:
        return self._entry.__fspath__()

    def __repr__(self) -> str:
        return repr(self._entry)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As `os.DirEntry.stat`."""
        see = _look if follow_symlinks else _look_at_link
        tell(see, self.path, dir_fd=self._by_descriptor)
        return self._entry.stat(follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """As `os.DirEntry.is_file`."""
        return self._entry.is_file(follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """As `os.DirEntry.is_dir`."""
        return self._entry.is_dir(follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]

    def is_symlink(self) -> bool:
        """As `os.DirEntry.is_symlink`."""
        answer = self._entry.is_symlink()
        if answer:
            tell(_look_at_link, self.path, dir_fd=self._by_descriptor)
        return answer  # type: ignore[no-any-return]

    def is_junction(self) -> bool:
        """As `os.DirEntry.is_junction` of Python 3.12."""
        return False

    def inode(self) -> int:
        """As `os.DirEntry.inode`."""
        return self._entry.inode()  # type: ignore[no-any-return]


def _look(record: Record, path: Any, *, dir_fd: int | None = None, **_: Any) -> None:
    if not isinstance(path, int):
        record.look(resolve(path, dir_fd))


def _look_at_link(record: Record, path: Any, *, dir_fd: int | None = None, **_: Any) -> None:
    if not isinstance(path, int):
        record.look_at_link(resolve(path, dir_fd))


def _see_stat(
    record: Record, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    (_look if follow_symlinks else _look_at_link)(record, path, dir_fd=dir_fd)


def _see_access(record: Record, path: Any, *_: Any, dir_fd: int | None = None, **__: Any) -> None:
    _look(record, path, dir_fd=dir_fd)


def install() -> None:
    """Replace the functions, once in a process."""
    _replace("stat", Wrapped, _see_stat)
    _replace("lstat", Wrapped, _look_at_link)
    _replace("readlink", Wrapped, _look_at_link)
    _replace("access", Wrapped, _see_access)
    _replace("open", WrappedOpen, None)
    _replace("scandir", WrappedScandir, None)


def _replace(name: str, kind: type[Wrapped], see: Callable[..., None] | None) -> None:
    original = getattr(os, name)
    if isinstance(original, Wrapped):
        return
    wrapper = kind(original, see)
    supports = (
        os.supports_dir_fd,
        os.supports_fd,
        os.supports_follow_symlinks,
        os.supports_effective_ids,
    )
    for functions in supports:
        if original in functions:
            functions.add(wrapper)
    for module in ("os", "posix"):
        if module in sys.modules:
            setattr(sys.modules[module], name, wrapper)
