"""onnxbuild: a recipe in git; the right ONNX models out; nothing built twice; nothing wrong shipped.

``onnxbuild.run("recipe.yaml", ["env=ci"])`` gives what the command gives, as values.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

__all__ = [
    "BuildResult",
    "OnnxbuildError",
    "PlanView",
    "RecipeError",
    "UsageError",
    "VariantResult",
    "explain",
    "lock",
    "plan",
    "run",
    "validate",
]

_HOMES = {
    "BuildResult": "onnxbuild.report.result",
    "OnnxbuildError": "onnxbuild.errors",
    "PlanView": "onnxbuild.report.view",
    "RecipeError": "onnxbuild.errors",
    "UsageError": "onnxbuild.errors",
    "VariantResult": "onnxbuild.report.result",
    "explain": "onnxbuild.api",
    "lock": "onnxbuild.api",
    "plan": "onnxbuild.api",
    "run": "onnxbuild.api",
    "validate": "onnxbuild.api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and nothing before: the cached path of the command lives on it."""
    if name not in _HOMES:
        msg = f"module 'onnxbuild' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
