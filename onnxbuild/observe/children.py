"""Processes that a step starts: forks share its record, other Pythons are told to keep one.

A subprocess finds `site/sitecustomize.py` through ``PYTHONPATH`` and what to observe in
``ONNXBUILD_OBSERVE``. What a program that is not Python reads, the net sees.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from onnxbuild.observe import hooks, switch
from onnxbuild.observe.audit import VARIABLE
from onnxbuild.observe.log import Log
from onnxbuild.observe.record import Record
from onnxbuild.observe.scope import Scope

SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def child_environment(
    scope: Scope, log: str, environment: MutableMapping[str, str]
) -> dict[str, str]:
    """Give the variables that make a Python started with them add what it sees to `log`."""
    value = {
        "root": scope.root,
        "roots": scope.roots,
        "ignored": scope.ignored,
        "log": log,
        "package": os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    }
    before = environment.get("PYTHONPATH")
    return {
        VARIABLE: json.dumps(value),
        "PYTHONPATH": SITE + (os.pathsep + before if before else ""),
    }


@contextmanager
def announced(scope: Scope, log: str) -> Iterator[None]:
    """Have what is started in between observed too."""
    added = child_environment(scope, log, os.environ)
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def observe_here() -> None:
    """Start to observe this process for the step that it was started by; called at interpreter start."""
    value = json.loads(os.environ[VARIABLE])
    scope = Scope(root=value["root"], roots=value["roots"], ignored=value["ignored"])
    hooks.install()
    switch.current = Record(scope, Log(value["log"]))
    hooks.refresh()
