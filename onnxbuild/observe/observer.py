"""Observes one step: every file, missing file, folder and package that it was seen to depend on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from onnxbuild.core.facts import (
    SEPARATOR,
    installed,
    is_settled,
    list_folder,
    machine_id,
    name_path,
    now,
)
from onnxbuild.core.trace import Fact
from onnxbuild.observe import hooks, switch
from onnxbuild.observe.children import announced
from onnxbuild.observe.log import Log, read_lines
from onnxbuild.observe.record import LOGS, Event, Record, Signature, is_below
from onnxbuild.observe.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a step was seen to depend on."""

    facts: tuple[Fact, ...]
    """Sorted; see `onnxbuild.core.facts`."""

    signatures: Mapping[str, Signature]
    """By absolute path: size, mtime_ns, ctime_ns and inode of each file digested, as of its digest."""

    changed: tuple[str, ...]
    """Names of what changed while the step ran and was not changed by it; the result belongs to no state."""

    lost: tuple[str, ...] = ()
    """Why something may have been missed. Empty, or the facts must not be believed."""

    asked: tuple[str, ...] = ()
    """Environment variables that project code asked for in vain. No facts: the step does not get them."""


class Observer:
    """Observes this process, and the children it starts, between `start` and `stop`.

    One at a time in a process; each sees only what happens during its own time. Without a `log`, children
    are not observed.
    """

    def __init__(
        self, *, root: str, roots: Mapping[str, str], ignored: Sequence[str], log: str | None
    ) -> None:
        folders = (*ignored, log) if log is not None else tuple(ignored)
        self._scope = Scope(root=root, roots=roots, ignored=folders)
        self._scope.ignored = tuple(os.path.normpath(os.path.abspath(folder)) for folder in ignored)
        self._log = log
        self._record: Record | None = None
        self._environment = ExitStack()

    def start(self) -> None:
        """Begin. Raises `RuntimeError` when another observer of this process has not stopped."""
        if switch.current is not None:
            raise RuntimeError("another observer is at work in this process")
        hooks.install()
        log = None if self._log is None else Log(self._log)
        self._record = Record(self._scope, log)
        if self._log is not None:
            self._environment.enter_context(announced(self._scope, self._log))
        switch.current = self._record
        hooks.refresh()

    def stop(self) -> Observed:
        """End, look again at everything that was seen, and say what it was."""
        record = self._record
        if record is None:
            raise RuntimeError("this observer was not started")
        hooks.refresh()
        switch.current = None
        self._record = None
        self._environment.close()
        events, lost = record.events, list(record.lost)
        if record.log is not None:
            record.log.close()
            events, lost = _merge(record, lost)
        return _conclude(self._scope, events, lost)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._record is not None:
            self.stop()


def _merge(record: Record, lost: list[str]) -> tuple[list[Event], list[str]]:
    """Read what all processes of the step have seen, in the order in which it happened."""
    if record.log is None:
        return record.events, lost
    lines, whole = read_lines(record.log.path)
    if not whole:
        lost.append("the log of observations is damaged")
    lost += [line[1] for line in lines if line[0] == "lost" and line[1] not in lost]
    return [_event(line) for line in lines if line[0] != "lost"], lost


def _event(line: list[Any]) -> Event:
    what, path, value, seen, at, more = line
    return Event(what, path, value, None if seen is None else tuple(seen), at, more)


class _Own:
    """What the step itself has written up to some point."""

    def __init__(self) -> None:
        self.wrote: set[str] = set()
        self.made: set[str] = set()

    def add(self, event: Event) -> None:
        (self.made if event.what == "made" else self.wrote).add(event.path)

    def __contains__(self, path: str) -> bool:
        if path in self.wrote or path in self.made:
            return True
        return bool(self.made) and is_below(path, self.made)


def _conclude(scope: Scope, events: list[Event], lost: list[str]) -> Observed:
    own = _Own()
    firsts: dict[tuple[str, str], Event] = {}
    shadows: dict[str, set[str]] = {}
    asked: set[str] = set()
    for event in events:
        if event.what in {"wrote", "made"}:
            own.add(event)
        elif event.what == "shadows":
            shadows.setdefault(event.path, set()).add(event.more)
        elif event.what == "asked":
            asked.add(event.path)
        elif event.what == "started":
            # The witness goes by that; it is no fact.
            continue
        elif event.what in {"package", "module"}:
            firsts.setdefault((event.what, event.path), event)
        elif event.path not in own:
            group = event.what if event.what in {"listing", "link"} else "place"
            firsts.setdefault((group, event.path), event)
    observed = _Conclusion(scope, own).draw(list(firsts.values()), shadows, lost)
    return replace(observed, asked=tuple(sorted(asked)))


class _Conclusion:
    """Turns what was first seen of each thing into facts, looking at it once more."""

    def __init__(self, scope: Scope, own: _Own) -> None:
        self.scope = scope
        self.own = own
        self.facts: set[Fact] = set()
        self.signatures: dict[str, Signature] = {}
        self.changed: list[str] = []
        self.known: dict[str, tuple[Signature, str]] = {}

    def draw(self, firsts: list[Event], shadows: dict[str, set[str]], lost: list[str]) -> Observed:
        listed = {event.path for event in firsts if event.what == "listing"}
        for event in firsts:
            if event.what == "package":
                self.facts.add(("package", event.path, installed().get(event.path, "")))
            elif event.what == "module":
                self.facts.add(("module", event.path, ""))
            elif event.what != "folder" or event.path not in listed:
                self._place(event)
        for folder, modules in shadows.items():
            fact = ("shadows", f"{','.join(sorted(modules))} in {self._name(folder)}", "")
            self._look_again(folder, fact)
        if any(self._is_absolute(fact) for fact in self.facts):
            self.facts.add(("machine", "id", machine_id()))
        return Observed(
            facts=tuple(sorted(self.facts)),
            signatures=self.signatures,
            changed=tuple(sorted(set(self.changed))),
            lost=tuple(lost),
        )

    def _name(self, path: str) -> str:
        return name_path(path, self.scope.root, self.scope.roots)

    def _is_absolute(self, fact: Fact) -> bool:
        if fact[0] in {"package", "module"}:
            return False
        return fact[1].startswith("/") or " in /" in fact[1]

    def _place(self, event: Event) -> None:
        if event.what == "absent" and event.path in self.own and not self._is_log(event.path):
            return
        if event.what == "file" and event.signature is not None:
            self.signatures[event.path] = event.signature
            if is_settled(event.signature, event.at):
                self.known[event.path] = (event.signature, event.value)
        if event.what == "listing":
            self._listing(event)
            return
        self._look_again(event.path, (event.what, self._name(event.path), event.value))

    def _is_log(self, path: str) -> bool:
        """Tell whether sqlite, and not the step, made and removed a file: beside a database that was there."""
        database = path.removesuffix("-wal").removesuffix("-journal")
        return path.endswith(LOGS) and database in self.signatures

    def _look_again(self, path: str, fact: Fact) -> None:
        """Keep a fact, and say so if it does not hold any more and the step did not see to that."""
        self.facts.add(fact)
        if path in self.own:
            return
        kind, value = now(
            fact[0], fact[1], self.scope.root, self.scope.roots, self.known, self.scope.ignored
        )
        if (kind, value) != (fact[0], fact[2]):
            self.changed.append(fact[1])

    def _listing(self, event: Event) -> None:
        """What the step itself put into a folder that it had listed is no news to it the next time."""
        before = set(event.more.split(SEPARATOR))
        try:
            after = set(list_folder(event.path, self.scope.ignored))
        except OSError:
            after = set()
        name = self._name(event.path)
        by_others = {
            item
            for item in before ^ after
            if item and f"{event.path}/{item.removesuffix('/')}" not in self.own
        }
        if by_others:
            self.changed.append(name)
        kind, value = now(
            "listing", name, self.scope.root, self.scope.roots, {}, self.scope.ignored
        )
        self.facts.add(("listing", name, event.value if by_others or kind != "listing" else value))
