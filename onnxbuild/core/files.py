"""The file layer of stores and publishing: writing, moving and removing so that a crash leaves all or nothing.

The order of a write is: temporary file, flush, rename, flush of the folder. Whoever crashes at any
point leaves either nothing or the whole content under its name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from onnxbuild.core import points
from onnxbuild.core.digest import Content
from onnxbuild.errors import StoreError

READ_ONLY = 0o444

SCRATCH = "tmp-"
"""How the names of copies of graphs begin that must stand at a store's root; what a crash leaves is collected."""

CHUNK = 1 << 20

UNSHARED = frozenset(
    {
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EBADF,
        errno.ETXTBSY,
    }
)
"""What copy_file_range(2) says where it cannot; reading and writing can."""


def write(target: str, content: Content, temporary: str) -> None:
    """Put `content` at `target`, atomically and durably, by way of a file in the folder `temporary`."""
    try:
        points.at("create", target)
        handle, path = tempfile.mkstemp(dir=temporary)
    except OSError as error:
        raise explain(error, target) from error
    try:
        with os.fdopen(handle, "wb") as file:
            points.at("write", path)
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), READ_ONLY)
            flush(file.fileno(), path)
        rename(path, target)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise explain(error, target) from error


def adopt(source: str, target: str) -> None:
    """Move the file `source`, which lies in the store, to `target`, atomically and durably."""
    try:
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(handle, READ_ONLY)
            flush(handle, source)
        finally:
            os.close(handle)
        rename(source, target)
    except OSError as error:
        raise explain(error, target) from error


def copy(source: str, temporary: str) -> str:
    """Copy a file into the folder `temporary` and give the copy's path."""
    try:
        points.at("create", source)
        handle, path = tempfile.mkstemp(dir=temporary)
    except OSError as error:
        raise explain(error, temporary) from error
    os.close(handle)
    try:
        points.at("write", path)
        shutil.copyfile(source, path)
    except OSError as error:
        os.unlink(path)
        raise explain(error, path) from error
    return path


def append(source: str, target: BinaryIO) -> None:
    """Append a file to an open one. Where the file system can share blocks, and both begin on one, it does."""
    target.flush()
    start = target.tell()
    with open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        done = _share(file.fileno(), target.fileno(), size, start)
        file.seek(done)
        target.seek(start + done)
        shutil.copyfileobj(file, target, CHUNK)


def _share(source: int, target: int, size: int, start: int) -> int:
    """Have the kernel copy, and give how many bytes it did: it clones blocks rather than copy them if it can."""
    done = 0
    while hasattr(os, "copy_file_range") and done < size:
        try:
            count = os.copy_file_range(source, target, size - done, done, start + done)
        except OSError as error:
            if error.errno in UNSHARED:
                break
            raise
        if count == 0:
            break
        done += count
    return done


def rename(source: str, target: str) -> None:
    """Rename and flush the folder, which is made if need be."""
    folder = os.path.dirname(target)
    points.at("rename", target)
    try:
        os.rename(source, target)
    except FileNotFoundError:
        points.at("create", folder)
        os.makedirs(folder, exist_ok=True)
        os.rename(source, target)
        flush_folder(os.path.dirname(folder))
    flush_folder(folder)


def flush(handle: int, path: str) -> None:
    """Make the content of an open file durable."""
    points.at("flush", path)
    os.fsync(handle)


def flush_file(path: str) -> None:
    """Make the content of a file that others wrote durable."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush(handle, path)
    finally:
        os.close(handle)


def flush_folder(path: str) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush(handle, path)
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Remove a file that may have gone meanwhile."""
    points.at("remove", path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_any(path: str) -> None:
    """Remove a file, or a folder with all in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        remove(path)


def remove_tree(path: str) -> None:
    """Remove a folder with all in it; what others remove meanwhile is as well."""
    points.at("remove", path)
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def private_folder(parent: str, prefix: str) -> Iterator[str]:
    """Make a folder of one's own below `parent`, removed at the end. Raises `StoreError`."""
    try:
        points.at("create", parent)
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    except OSError as error:
        raise explain(error, parent) from error
    try:
        yield path
    finally:
        shutil.rmtree(path)


def explain(
    error: OSError, path: str, *, doing: str = "cannot write the store", setting: str = "store"
) -> StoreError:
    """Say in words what the file system refused; `setting` is the one that names another place."""
    elsewhere = f"settings.{setting}"
    variable = " or $ONNXBUILD_STORE" if setting == "store" else ""
    hints = {
        errno.ENOSPC: f"the disk is full: free space, or set {elsewhere} to another disk",
        errno.EDQUOT: f"the quota is used up: free space, or set {elsewhere} to another disk",
        errno.EROFS: f"the file system is read-only: set {elsewhere}{variable} to a folder that is not",
        errno.EACCES: f"no permission: set {elsewhere}{variable} to a folder of yours",
    }
    return StoreError(
        f"{doing}: {error.strerror or error}",
        where=path,
        hint=hints.get(error.errno or 0, ""),
    )
