"""Builds that are forked from a process with all libraries loaded, and what they have published.

For harnesses that build hundreds of times: each is a process of its own that may end in any way, and takes half
a second.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable

from onnxbuild import api
from onnxbuild.cli.main import main
from onnxbuild.core.digest import digest_file
from onnxbuild.project import store_folder
from onnxbuild.stores.local import LocalStore

WARM = (
    "onnxbuild.compose.composing", "onnxbuild.graph.save", "onnxbuild.steps.export.run",
    "onnxbuild.steps.export.onnxfile", "onnxbuild.steps.reference.run", "onnxbuild.steps.samples.run",
    "onnxbuild.steps.verify.run", "onnxbuild.stages.onnxoptimizer.run",
)  # fmt: skip
CALL = ["run", "net.yaml", "settings.executor=inline"]
VARYING = frozenset({"made", "seconds", "peak_memory", "latency", "measured", "gates", "libraries"})
"""What builds of the same differ in: times; and libraries that the first of a process alone is seen to import."""


def warm_up(project: str, scratch: str) -> None:
    """Build a copy in this very process, so that what a process finds out once is known to all that are forked."""
    for name in WARM:
        importlib.import_module(name)
    copy = os.path.join(scratch, "warm")
    shutil.copytree(project, copy, symlinks=True)
    api.run(os.path.join(copy, "net.yaml"), CALL[2:])


def fork(folder: str, act: Callable[[], int]) -> tuple[int, str]:
    """Do something in a child, in `folder`; give its exit status and all that it printed."""
    with tempfile.TemporaryFile() as printed:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.dup2(printed.fileno(), 1)
                os.dup2(printed.fileno(), 2)
                os.chdir(folder)
                code = act()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(status), printed.read().decode()


def call(folder: str, *arguments: str) -> tuple[int, str]:
    """Call the command."""
    return fork(folder, lambda: main(list(arguments) or CALL))


def published(folder: str) -> dict[str, dict[str, str]]:
    """Give what is published: variant -> name -> digest, of build.json all that does not vary."""
    found: dict[str, dict[str, str]] = {}
    parent = os.path.join(folder, "artifacts", "net")
    for variant in sorted(os.listdir(parent)) if os.path.isdir(parent) else []:
        if variant.startswith("."):
            continue
        place = os.path.join(parent, variant)
        with open(os.path.join(place, "build.json"), encoding="utf-8") as file:
            said = json.load(file)
        told = {name: item["digest"] for name, item in said["files"].items()}
        # The data of the version before stays for whoever has just opened its graph.
        rest = {name for name in os.listdir(place) if not name.endswith(".onnx.data")} - {
            "build.json"
        }
        found[variant] = {
            name: digest_file(os.path.join(place, name)) for name in sorted({*told, *rest})
        }
        if found[variant] != told:
            found[variant]["build.json"] = "speaks of other files"
        found[variant]["provenance"] = json.dumps(_plain(said["provenance"]), sort_keys=True)
    return found


def _plain(value: object) -> object:
    """Leave out what no two builds have in common."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in VARYING}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def traces(folder: str) -> dict[tuple[str, str], str]:
    """Give which build has made each trace that is kept."""
    if not os.path.exists(os.path.join(store_folder(folder), "actions.sqlite")):
        return {}
    store = LocalStore(store_folder(folder))
    found = {
        (trace.key, str(trace.observations)): trace.build for trace in store.actions.all_traces()
    }
    store.close()
    return found
