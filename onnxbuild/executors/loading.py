"""Importing a run module once, in the process that workers are forked from."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Any

from onnxbuild.executors.messages import Json, ended


def load(module: str) -> Json | None:
    """Import a run module and call its `warm`; give the outcome of its jobs if that cannot be done."""
    try:
        found = import_module(module)
        warm = getattr(found, "warm", None)
        if warm is not None:
            warm()
    except Exception as error:  # noqa: BLE001 - reported as the outcome of every job that needs the module
        traceback.print_exc()
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"{sys.executable} -m pip install {error.name.partition('.')[0]}"
        return ended(
            "failed",
            f"cannot import {module}: {type(error).__name__}: {error}",
            hint=hint,
            kind="ExecutorError",
        )
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        # Measured: a forked child hangs in its first matmul if its parent has used torch's threads.
        torch.set_num_threads(1)
    return None
