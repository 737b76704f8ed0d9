"""The action key: all that can change a step's result and is known before it runs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_value
from onnxbuild.core.facts import digest_variable, installed, normalize
from onnxbuild.core.machine import cpu_flags
from onnxbuild.core.step import Step
from onnxbuild.core.values import list_orders, plain
from onnxbuild.engine.code import digest_code, named_modules

KEY_VERSION = 3
"""Part of every key. Changing it empties every cache in the world.

Raised, too, when steps observe more than they did: what was kept before may rest on things unseen.
"""


def find_ingredients(step: Step, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """Collect what the key of a step is made of; `inputs` are the results that its inputs have.

    Labels, resources, settings and the names of stages are not in it.
    """
    options = plain(step.options)
    return {
        "version": KEY_VERSION,
        "run": step.run,
        "code": digest_code(step.run.partition(":")[0], *named_modules(options)),
        "options": options,
        "order": list_orders(options),
        "inputs": {name: [artifact.kind, artifact.digest] for name, artifact in inputs.items()},
        "outputs": list(step.outputs),
        "libraries": {name: installed().get(normalize(name), "") for name in step.libraries},
        "variables": {name: digest_variable(name) for name in step.variables},
        "threads": step.threads,
        "folder": step.folder,
        "platform": [sys.platform, platform.machine(), platform.python_version()],
        "machine": cpu_class() if step.machine else "",
    }


def make_key(ingredients: Mapping[str, Any]) -> str:
    """Digest the ingredients: the action key."""
    return digest_value(dict(ingredients))


@cache
def cpu_class() -> str:
    """Describe what of the processor can change a number: its kind and its vector instructions."""
    flags = cpu_flags()
    wanted = (
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "amx_int8",
        "amx_bf16",
        "asimddp",
        "i8mm",
        "sve",
    )
    return " ".join([platform.machine(), *(flag for flag in wanted if flag in flags)])
