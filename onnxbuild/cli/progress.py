"""What is shown while a build runs: one live line for each running step and a bar, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onnxbuild.cli import console
from onnxbuild.core.events import (
    Event,
    Listener,
    Planned,
    Said,
    StepCached,
    StepFailed,
    StepRan,
    StepStarted,
    StepWaits,
)


@contextmanager
def watch(*, quiet: bool = False) -> Iterator[Listener]:
    """Give a listener that shows events as they come."""
    if quiet:
        yield lambda _: None
        return
    if not console.is_terminal():
        yield _say_plainly
        return
    live = _Live()
    try:
        yield live.hear
    finally:
        live.stop()


def _say_plainly(event: Event) -> None:
    match event:
        case StepRan(step, seconds):
            console.talk(f"ran     {step.label}  {seconds:.2f} s")
        case StepFailed(step, _):
            console.talk(f"failed  {step.label}")
        case StepWaits(step, holder):
            console.talk(f"waits   {step.label}: {holder} runs it now")
        case Said(what):
            console.talk(f"warning: {what}")
        case _:
            pass


class _Live:
    """The display of a terminal. It appears with the first step that runs."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._total = 0
        self._done = 0
        self._bar: Any = None
        self._lines: dict[int, Any] = {}

    def hear(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Planned(steps):
                self._total = steps
            case StepCached():
                self._advance()
            case StepStarted(step, reason):
                self._begin(id(step), f"{step.label}  [dim]{_escape(reason)}[/dim]")
            case StepWaits(step, holder):
                self._begin(id(step), f"{step.label}  [dim]waits for {_escape(holder)}[/dim]")
            case StepRan(step, seconds):
                self._end(id(step))
                self._print(f"[green]ran[/green]     {step.label}  [dim]{seconds:.2f} s[/dim]")
            case StepFailed(step, _):
                self._end(id(step))
                self._print(f"[red]failed[/red]  {step.label}")
            case Said(what):
                self._print(f"[yellow]warning[/yellow] {_escape(what)}")

    def stop(self) -> None:
        """Take the display away."""
        if self._progress is not None:
            self._progress.stop()

    def _start(self) -> Any:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._progress.start()
            self._bar = self._progress.add_task("steps", total=self._total, completed=self._done)
        return self._progress

    def _begin(self, number: int, text: str) -> None:
        progress = self._start()
        if number in self._lines:
            progress.remove_task(self._lines.pop(number))
        self._lines[number] = progress.add_task(text, total=None)

    def _end(self, number: int) -> None:
        self._advance()
        if number in self._lines:
            self._progress.remove_task(self._lines.pop(number))

    def _advance(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress.update(self._bar, completed=self._done, total=max(self._total, self._done))

    def _print(self, text: str) -> None:
        self._start().console.print(text)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


def elapsed(began: float) -> str:
    """Say how long ago `began` (of ``time.monotonic``) was."""
    return f"{time.monotonic() - began:.1f} s"
