"""Where a project begins, and where its store and locks lie. Light: the fast path goes through here."""

from __future__ import annotations

import os

MARKS = ("configs", "pyproject.toml", ".git")
"""What tells a project's root."""

LOCK = ".lock.yaml"
"""How the names of lock files end."""


def find_root(folder: str, home: str | None = None) -> str:
    """Give the project root of a recipe in `folder`: the nearest folder upwards that has a mark.

    Without one, or where only the home folder or what is above it has one, that is `folder` itself:
    a home folder with its dotfiles in git is no project.
    """
    folder = os.path.realpath(folder)
    home = os.path.realpath(os.path.expanduser("~") if home is None else home)
    current = folder
    while current != home:
        if any(os.path.exists(os.path.join(current, mark)) for mark in MARKS):
            return current
        above = os.path.dirname(current)
        if above == current:
            break
        current = above
    return folder


def store_folder(root: str, setting: str | None = None) -> str:
    """Give the absolute path of the store: ``$ONNXBUILD_STORE``, else the setting, else ``.onnxbuild``."""
    named = os.environ.get("ONNXBUILD_STORE")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    return os.path.abspath(os.path.join(root, os.path.expanduser(setting or ".onnxbuild")))


def lock_path(recipe: str) -> str:
    """Say where the lock of the recipe at this path lies: beside it."""
    return os.path.splitext(recipe)[0] + LOCK


def is_lock(path: str) -> bool:
    """Tell by its name whether a file is a lock."""
    return path.endswith(LOCK)
