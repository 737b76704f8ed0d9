"""Puts every hook in place, once in a process. They do nothing until a record is set."""

from __future__ import annotations

import os

from onnxbuild.observe import (
    audit,
    imports,
    loader,
    native,
    packages,
    scope,
    switch,
    variables,
    wrapped,
)

_installed = False


def install() -> None:
    """Install all hooks.

    A server calls this before it forks and before it imports libraries, so that what they take from each
    other (``from safetensors import safe_open``) is the observed one.
    """
    global _installed  # noqa: PLW0603  hooks stay for the life of the process
    if _installed:
        native.wrap_loaded()
        return
    _installed = True
    wrapped.install()
    imports.install()
    loader.install()
    audit.install()
    variables.install()
    os.register_at_fork(after_in_child=_after_fork)
    native.wrap_loaded()


def warm() -> None:
    """Install the hooks, and read what every observer of this process needs: for a server, before it forks."""
    install()
    packages.warm()
    scope.Scope(root="/", roots={}, ignored=())


def refresh() -> None:
    """Take over what was there before a record was set, and let go of what was made for it."""
    native.wrap_loaded()
    switch.libraries.clear()
    loader.forget_finders()


def _after_fork() -> None:
    switch.state.busy = False
    if switch.current is not None:
        switch.current.after_fork()
