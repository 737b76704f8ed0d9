"""What a build gives back: values that the command line prints and Python code reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from onnxbuild.core.values import plain

Content: TypeAlias = bytes
"""The type itself: `VariantResult.bytes` is a number."""

Status: TypeAlias = Literal["ok", "failed", "gate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How far a variant is from PyTorch: the worst over its outputs and the shapes visited."""

    max_abs: float | None = None
    """Largest absolute error."""

    max_rel: float | None = None
    """Largest relative error."""

    scaled: float | None = None
    """Largest error over the largest value of the reference."""

    cosine: float | None = None
    """Least cosine with the reference."""

    metric: Mapping[str, float] | None = None
    """The recipe's metric, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """One file of a published model."""

    digest: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedVariant:
    """One published model, and what may be behind it when it comes out otherwise."""

    opset: int | None
    files: Mapping[str, LockedFile]
    fidelity: Mapping[str, float] = field(default_factory=dict)
    """For people to read, and not compared: it is measured, and a machine may measure a little more."""

    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that the model was made with."""

    processor: str = ""
    """Class of the processor, where a step's key has it; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """One variant of a recipe after a build."""

    recipe: str
    variant: str
    path: str
    """The published ``model.onnx``."""

    published: bool
    """The file at `path` is this build's. False when a gate or a step failed; an older file may lie there."""

    digest: str = ""
    """Digest of ``model.onnx``."""

    bytes: int = 0
    """Size of all published files of the model."""

    operators: int = 0
    """Nodes of the graph."""

    fidelity: Fidelity = field(default_factory=Fidelity)
    metric_name: str = ""
    """Name of the recipe's metric function."""

    reference_metric: Mapping[str, float] | None = None
    """PyTorch's own value of the metric."""

    exceptions: str = ""
    """Which weights its precision leaves out, and why; empty where none."""

    curve: tuple[Mapping[str, Any], ...] = ()
    """What each attempt of ``mode: auto`` gave: nodes left out, bytes, error, seconds of a run; empty without one."""

    rules: str = ""
    """How often each replacement rule fired in the export that it came from; empty where there is none."""

    pin: LockedVariant | None = None
    """What a lock file says of it; None where nothing was published."""

    findings: tuple[Any, ...] = ()
    """What was measured against what was asked, each an `onnxbuild.report.judge.Finding`."""

    def read_bytes(self) -> Content:
        """Read the published model. Raises `OSError` when it is not there."""
        with open(self.path, "rb") as file:
            return file.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How one step of a build ended."""

    label: str
    recipe: str
    status: Literal["ran", "cached", "failed", "skipped"]
    seconds: float
    """Wall time of the run that made the result: now, or earlier when cached."""

    reason: str
    """Why it ran; empty when it did not."""

    key: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that went wrong, in the user's words."""

    what: str
    where: str = ""
    hint: str = ""
    traceback: str = ""
    exit_code: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeResult:
    """The variants of one recipe."""

    name: str
    variants: Mapping[str, VariantResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A step that did not give the same twice."""

    step: str
    what: str
    """The first difference between its results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompared:
    """A step whose two results were not held against each other."""

    step: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """What came of building all steps a second time."""

    same: int
    """Steps that gave the same twice."""

    differing: tuple[Difference, ...]
    uncompared: tuple[Uncompared, ...]

    def problems(self) -> tuple[Problem, ...]:
        """Give what differs as problems of a build."""
        return tuple(
            Problem(
                what=f"{item.step} is not reproducible: {item.what}",
                hint="the second time was in a copy of what the steps read, in another folder, with sets in"
                " another order, a moment later",
            )
            for item in self.differing
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What `onnxbuild.run` gives."""

    status: Status
    recipes: Mapping[str, RecipeResult]
    steps: tuple[StepResult, ...]
    errors: tuple[Problem, ...] = ()
    said: tuple[str, ...] = ()
    """What came up while building: damage that was found and mended, results that were not kept."""

    kept: bool = True
    """All that ran is known to the store. What is not runs again the next time."""

    varied: tuple[str, ...] = ()
    """Steps of which several results are kept, each with a word on it."""

    leftover: tuple[str, ...] = ()
    """Folders of variants that an earlier state of a recipe published and this one does not."""

    withheld: tuple[str, ...] = ()
    """Environment variables that project code asked for, that are set here, and that no recipe passes on."""

    repeated: Repeated | None = None
    """What came of building all a second time, where that was asked."""

    seconds: float = 0.0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What came up, and what was measured that nobody asked for but should know."""
        measured = (
            f"{recipe.name}/{item.variant}: {finding.describe()}"
            for recipe in self.recipes.values()
            for item in recipe.variants.values()
            for finding in item.findings
            if finding.level == "warning" and not finding.passed
        )
        older = (
            f"{os.path.relpath(folder)} is from an earlier state of the recipe, which does not publish"
            " it any more: delete it, or add it to `publish`"
            for folder in self.leftover
        )
        withheld = (
            f"the recipe's code asks for the environment variable {name}, which is set and does not reach"
            f" it: pass_env: [{name}] passes it on"
            for name in self.withheld
        )
        return (*self.said, *self.varied, *measured, *older, *withheld)

    @property
    def variants(self) -> Mapping[str, VariantResult]:
        """The variants of the only recipe. Raises `ValueError` when several were built."""
        if len(self.recipes) != 1:
            msg = f"{len(self.recipes)} recipes were built: use .recipes[name].variants"
            raise ValueError(msg)
        return next(iter(self.recipes.values())).variants

    @property
    def exit_code(self) -> int:
        """What the command exits with: 0, 1 for a failed step, 3 for a missed gate."""
        return {"ok": 0, "failed": 1, "gate": 3}[self.status]

    def as_cached(self) -> BuildResult:
        """Give what the same build gives when nothing has changed: every step cached."""
        steps = tuple(replace(step, status="cached", reason="") for step in self.steps)
        return replace(self, steps=steps, said=(), seconds=0.0)

    def with_repeated(self, repeated: Repeated) -> BuildResult:
        """Give this result with what came of building all a second time: what differs fails the build."""
        return replace(
            self,
            status="failed" if repeated.differing else self.status,
            errors=(*self.errors, *repeated.problems()),
            repeated=repeated,
        )

    def to_json(self) -> dict[str, Any]:
        """Give what ``run --json`` prints."""
        repeated = {} if self.repeated is None else {"repeated": plain(self.repeated)}
        return {
            "status": self.status,
            "recipes": [
                {
                    "name": recipe.name,
                    "published": [
                        _variant(item) for item in recipe.variants.values() if item.published
                    ],
                }
                for recipe in self.recipes.values()
            ],
            "steps": [
                {
                    "label": step.label,
                    "recipe": step.recipe,
                    "status": step.status,
                    "seconds": round(step.seconds, 3),
                    "reason": step.reason,
                }
                for step in self.steps
            ],
            **repeated,
            "errors": [
                {"what": item.what, "where": item.where, "hint": item.hint} for item in self.errors
            ],
        }


def _variant(item: VariantResult) -> dict[str, Any]:
    fidelity = item.fidelity
    metric = fidelity.metric
    return {
        "variant": item.variant,
        # As people and scripts in the current folder would write it; it stays true when the project moves.
        "path": os.path.relpath(item.path),
        "digest": item.digest,
        "bytes": item.bytes,
        **({"curve": [dict(point) for point in item.curve]} if item.curve else {}),
        "fidelity": {
            "max_abs": fidelity.max_abs,
            "max_rel": fidelity.max_rel,
            "scaled": fidelity.scaled,
            "cosine": fidelity.cosine,
            # A single unnamed metric is a number, as its function returned it.
            "metric": metric.get("metric") if metric and set(metric) == {"metric"} else metric,
        },
    }
