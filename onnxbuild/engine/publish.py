"""Replacing a published folder as one: whoever looks sees all of the old or all of the new."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from onnxbuild.core import files, points
from onnxbuild.errors import StoreError

EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
HERE = -100
"""AT_FDCWD."""

STAGING = re.compile(r"\..+-[a-z0-9_]{8}")
"""Names of folders that are being filled: `tempfile` adds eight characters."""
YOUNG = 60.0
"""Seconds for which a folder is left alone whose maker may not have locked it yet."""

BUILD_JSON = "build.json"


def replace(target: str, fill: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Make the folder `target` hold what `fill` writes into a new folder, and nothing else.

    The external data of the version before stays beside the new files until the next publish, so that
    a reader who has just opened the old graph still finds it. Raises `StoreError` when the disk refuses.
    """
    parent = os.path.dirname(target)
    if os.path.lexists(target) and not os.path.isdir(target):
        raise StoreError(
            "cannot publish: what is there is no folder",
            where=target,
            hint="move it away, or set settings.artifacts to another folder",
        )
    try:
        os.makedirs(parent, exist_ok=True)
        with _staging(parent, os.path.basename(target)) as staging:
            fill(staging)
            _keep_previous_data(target, staging)
            for name in os.listdir(staging):
                files.flush_file(os.path.join(staging, name))
            files.flush_folder(staging)
            _swap(staging, target, say)
            files.flush_folder(parent)
    except OSError as error:
        raise files.explain(error, target, doing="cannot publish", setting="artifacts") from error


def is_intact(target: str, contents: Mapping[str, str], digest_of: Callable[[str], str]) -> bool:
    """Tell whether a published folder holds exactly these files, by name and digest."""
    try:
        names = set(os.listdir(target))
    except OSError:
        return False
    if not set(contents) <= names:
        return False
    return all(digest_of(os.path.join(target, name)) == digest for name, digest in contents.items())


@contextmanager
def _staging(parent: str, name: str) -> Iterator[str]:
    sweep(parent, f".{name}-", time.time() - YOUNG)
    points.at("create", parent)
    path = tempfile.mkdtemp(prefix=f".{name}-", dir=parent)
    # Tells others, until our end, that we are at work in it.
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(handle, fcntl.LOCK_EX)
    # mkdtemp makes a private folder; what is published is for everyone to read.
    os.chmod(path, 0o755)  # noqa: S103
    try:
        yield path
    finally:
        os.close(handle)
        # After an exchange this is the old version.
        files.remove_tree(path)


def sweep(parent: str, prefix: str, before: float) -> int:
    """Remove what publishes that were killed have left, if made `before` (seconds); give how many folders."""
    removed = 0
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not (name.startswith(prefix) and STAGING.fullmatch(name)):
            continue
        try:
            if os.stat(path).st_mtime >= before:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # Gone meanwhile, or no folder: not ours.
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.remove_tree(path)
            removed += 1
        except BlockingIOError:
            # A publish is at work in it.
            continue
        finally:
            os.close(handle)
    return removed


def _keep_previous_data(target: str, staging: str) -> None:
    """Link the external data that the published graph uses into the new folder: it, and no older one."""
    for name in _published_data(target):
        new = os.path.join(staging, name)
        if os.path.exists(new):
            continue
        points.at("link", new)
        try:
            os.link(os.path.join(target, name), new)
        except FileNotFoundError:
            continue
        except OSError:
            shutil.copyfile(os.path.join(target, name), new)


def _published_data(target: str) -> list[str]:
    try:
        with open(os.path.join(target, BUILD_JSON), encoding="utf-8") as file:
            names = list(json.load(file)["files"])
    except (OSError, ValueError, KeyError, TypeError):
        # Nothing published, or not by us: nothing to keep.
        return []
    return [name for name in names if name.endswith(".onnx.data") and os.sep not in name]


def _swap(staging: str, target: str, say: Callable[[str], None]) -> None:
    points.at("rename", target)
    try:
        # The first time. Not asked beforehand whether it is: another build may publish the same just now.
        os.rename(staging, target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    else:
        return
    refusal = _exchange(staging, target)
    if refusal == 0:
        return
    say(
        f"{target}: this file system cannot exchange folders ({os.strerror(refusal)}); "
        "its files are replaced one by one, build.json last"
    )
    names = sorted(
        os.listdir(staging), key=lambda name: (name == BUILD_JSON, not name.endswith(".data"))
    )
    for name in names:
        files.rename(os.path.join(staging, name), os.path.join(target, name))
    for name in set(os.listdir(target)) - set(names):
        files.remove(os.path.join(target, name))


def _exchange(one: str, other: str) -> int:
    """Exchange two folders in one step; give 0, or the error number of a system that cannot."""
    if not sys.platform.startswith("linux"):
        return errno.ENOSYS
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return errno.ENOSYS
    done = library.renameat2(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE)
    return 0 if done == 0 else ctypes.get_errno()
