"""What a plan is made of: steps, and the outputs of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a step needs to run. Changes no result, so it is in no key."""

    exclusive: bool = False
    """Nothing else may run beside it: it measures time."""

    timeout: float | None = None
    """Seconds after which the step is stopped and fails."""

    isolate: bool = False
    """It calls native code that may crash: always in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One node of a plan. Steps compare by identity, their results by action key."""

    run: str
    """``package.module:function``. Only workers import it."""

    label: str
    """What people read. In no key."""

    options: Any = field(default_factory=dict)
    """A dataclass or mapping of plain values: all that the function may depend on besides inputs."""

    inputs: Mapping[str, Output] = field(default_factory=dict)
    """By name, the outputs of other steps."""

    outputs: tuple[str, ...] = ("model",)
    """Names of the results."""

    libraries: tuple[str, ...] = ()
    """Distributions whose version can change the result, beside those that the worker sees imported."""

    threads: int = 1
    """Threads that the numeric libraries get: a constant of the step, since it can change sums."""

    folder: str | None = None
    """The recipe's folder, relative to the project root: where user code runs. None: runs none."""

    variables: tuple[str, ...] = ()
    """Names of the environment variables that reach the step."""

    machine: bool = False
    """The result depends on the class of CPU (int8 numbers, onnxruntime's level ``all``, timings)."""

    timed: bool = False
    """It measures time: its result differs from run to run, and that is no fault of it."""

    may_grow: bool = False
    """It may answer with more steps."""

    resources: Resources = Resources()


@dataclass(frozen=True, slots=True)
class Output:
    """One named result of a step, before it exists."""

    step: Step
    name: str = "model"


OWN = Step(run="", label="own inputs", outputs=())
"""Stands, in an `Output`, for the growing step itself: ``Output(OWN, "model")`` is its input ``model``."""
