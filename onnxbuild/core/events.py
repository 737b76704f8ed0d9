"""What a build tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from onnxbuild.core.ports import Failure
from onnxbuild.core.step import Step


@dataclass(frozen=True, slots=True)
class Planned:
    """The build knows of so many steps; more may come from steps that grow."""

    steps: int


@dataclass(frozen=True, slots=True)
class StepCached:
    """A step's results were found."""

    step: Step


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step was given to a worker; `reason` says why it runs."""

    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class StepRan:
    """A step ran, in so many seconds."""

    step: Step
    seconds: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed."""

    step: Step
    failure: Failure


@dataclass(frozen=True, slots=True)
class StepWaits:
    """Another build runs this step now; its result will be taken from there."""

    step: Step
    holder: str


@dataclass(frozen=True, slots=True)
class Said:
    """Something that the user should know: damage found and mended, a result that is not kept."""

    what: str


@dataclass(frozen=True, slots=True)
class Repeats:
    """All is up to date, and is built a second time in a copy of what the steps read."""


Event: TypeAlias = (
    Planned | StepCached | StepStarted | StepRan | StepFailed | StepWaits | Said | Repeats
)
Listener: TypeAlias = Callable[[Event], None]
