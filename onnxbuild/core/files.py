"""The file layer: every write, flush and rename of a store or a publish goes through here.

The order of a write is: temporary file, flush, rename, flush of the folder. Whoever crashes at any
point leaves either nothing or the whole content under its name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from onnxbuild.core.digest import Content
from onnxbuild.errors import StoreError

READ_ONLY = 0o444


def write(target: str, content: Content, temporary: str) -> None:
    """Put `content` at `target`, atomically and durably, by way of a file in the folder `temporary`."""
    handle, path = tempfile.mkstemp(dir=temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), READ_ONLY)
            os.fsync(file.fileno())
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
            os.fsync(handle)
        finally:
            os.close(handle)
        rename(source, target)
    except OSError as error:
        raise explain(error, target) from error


def copy(source: str, temporary: str) -> str:
    """Copy a file into the folder `temporary` and give the copy's path."""
    handle, path = tempfile.mkstemp(dir=temporary)
    os.close(handle)
    try:
        shutil.copyfile(source, path)
    except OSError as error:
        os.unlink(path)
        raise explain(error, path) from error
    return path


def rename(source: str, target: str) -> None:
    """Rename and flush the folder, which is made if need be."""
    folder = os.path.dirname(target)
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        os.rename(source, target)
        flush_folder(os.path.dirname(folder))
    flush_folder(folder)


def flush_folder(path: str) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def explain(error: OSError, path: str) -> StoreError:
    """Say in words what the file system refused."""
    import errno

    hints = {
        errno.ENOSPC: "the disk is full: free space, or set settings.store to another disk",
        errno.EDQUOT: "the quota is used up: free space, or set settings.store to another disk",
        errno.EROFS: "the file system is read-only: set settings.store or $ONNXBUILD_STORE to a folder that is not",
        errno.EACCES: "no permission: set settings.store or $ONNXBUILD_STORE to a folder of yours",
    }
    return StoreError(
        f"cannot write the store: {error.strerror or error}",
        where=path,
        hint=hints.get(error.errno or 0, ""),
    )
