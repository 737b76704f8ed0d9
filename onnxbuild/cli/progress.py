"""What is shown while a build runs: one live line for each running step and a bar, or plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from onnxbuild.cli import console
from onnxbuild.core.events import (
    Event,
    Listener,
    Planned,
    Repeats,
    Said,
    StepCached,
    StepFailed,
    StepRan,
    StepStarted,
    StepWaits,
)
from onnxbuild.core.step import Step

AGAIN = "once more, in a copy of what the steps read"

BAR = 16
BESIDE = 1 + BAR + 7 + 3 + 4
"""Columns of a live line that are not the step's: spinner, bar, time, gaps, and the room at the right."""


@contextmanager
def watch(name: Callable[[Step], str], *, quiet: bool = False) -> Iterator[Listener]:
    """Give a listener that shows events as they come; `name` says what to call a step."""
    if quiet:
        yield lambda _: None
        return
    if not console.is_terminal():
        yield partial(_say_plainly, name)
        return
    live = _Live(name)
    try:
        yield live.hear
    finally:
        live.stop()


def _say_plainly(name: Callable[[Step], str], event: Event) -> None:
    match event:
        case StepRan(step, seconds):
            console.talk(f"ran     {name(step)}  {seconds:.2f} s")
        case StepFailed(step, _):
            console.talk(f"failed  {name(step)}")
        case StepWaits(step, holder):
            console.talk(f"waits   {name(step)}: {holder} runs it now")
        case Said(what):
            console.talk(f"warning: {what}")
        case Repeats():
            console.talk(AGAIN)
        case _:
            pass


class _Live:
    """The display of a terminal. It appears with the first step that runs."""

    def __init__(self, name: Callable[[Step], str]) -> None:
        self._name = name
        self._progress: Any = None
        self._total = 0
        self._done = 0
        self._bar: Any = None
        self._lines: dict[int, Any] = {}

    def hear(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Planned(steps):
                self._total = self._done + steps
            case StepCached():
                self._advance()
            case StepStarted(step, reason):
                self._begin(step, reason)
            case StepWaits(step, holder):
                self._begin(step, f"waits for {holder}")
            case StepRan(step, seconds):
                self._end(id(step))
                name = _escape(self._name(step))
                self._print(f"[green]ran[/green]     {name}  [dim]{seconds:.2f} s[/dim]")
            case StepFailed(step, _):
                self._end(id(step))
                self._print(f"[red]failed[/red]  {_escape(self._name(step))}")
            case Said(what):
                self._print(f"[yellow]warning[/yellow] {_escape(what)}")
            case Repeats():
                self._print(AGAIN)

    def stop(self) -> None:
        """Take the display away."""
        if self._progress is not None:
            self._progress.stop()

    def _start(self) -> Any:
        if self._progress is None:
            self._progress = _make_progress()
            self._progress.start()
            self._bar = self._progress.add_task("steps", total=self._total, completed=self._done)
        return self._progress

    def _begin(self, step: Step, why: str) -> None:
        progress, number = self._start(), id(step)
        name, why = _cut(self._name(step), why, max(20, progress.console.width - BESIDE))
        text = f"{_escape(name)}  [dim]{_escape(why)}[/dim]"
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
            self._progress.update(
                self._bar, completed=self._done, total=max(self._total, self._done)
            )

    def _print(self, text: str) -> None:
        self._start().console.print(text)


def _make_progress() -> Any:
    """Make the display: a bar for the whole, and for each step one line that is cut where it is too long."""
    from rich.console import Console, RenderableType
    from rich.padding import Padding
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )

    class WholeBar(BarColumn):
        """A bar only for what has a known end."""

        def render(self, task: Task) -> Any:
            return "" if task.total is None else super().render(task)

    class Lines(Progress):
        """Leaves room at the right: a ``^C`` that the terminal shows must not begin a line of its own."""

        def get_renderable(self) -> RenderableType:
            return Padding(super().get_renderable(), (0, 4, 0, 0), expand=False)

    return Lines(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        WholeBar(bar_width=BAR),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )


def _cut(name: str, why: str, room: int) -> tuple[str, str]:
    """Shorten the reason first, then the name, so that both and the gap between them take `room` columns."""
    if len(name) > room:
        return name[: room - 1] + "…", ""
    left = room - len(name) - 2
    if len(why) > left:
        why = why[: left - 1] + "…" if left > 1 else ""
    return name, why


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
