"""The environment that workers get: the same on every machine, whatever the caller's was."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping

import onnxbuild

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Variables from which the numeric libraries take their number of threads when they are loaded."""

FIXED = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    # Some libraries ask for the user's name, which must not reach a model and need not exist at all.
    "USER": "onnxbuild",
    "LOGNAME": "onnxbuild",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


def make_environment(
    folder: str, threads: int = 1, declared: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Make the whole environment of a worker; `declared` are the variables that a step asked for.

    `folder` becomes home and the place of temporary files.
    """
    environment = {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
        "HOME": folder,
        "TMPDIR": folder,
        **FIXED,
        **dict.fromkeys(THREADS, str(threads)),
    }
    if site.ENABLE_USER_SITE:
        # Python looks for it below HOME otherwise.
        environment["PYTHONUSERBASE"] = site.getuserbase()
    return {**environment, **(declared or {})}


def own_path() -> list[str]:
    """Give the folder in which this very onnxbuild lies, where Python would not look by itself."""
    # site-packages must not come first on `sys.path`: it may hold modules named as the standard library's.
    folder = os.path.dirname(os.path.dirname(os.path.abspath(onnxbuild.__file__)))
    return [] if folder.endswith("-packages") else [folder]
