"""What a store holds and for what: each trace with its content, and what stands behind published models."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from onnxbuild.core.digest import PREFIX
from onnxbuild.core.trace import Trace
from onnxbuild.engine.publish import BUILD_JSON
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.rows import fingerprint, read_whole

DAY = 86400.0
AWHILE = 60.0
MOST = 30.0
"""Days of use that a result can be worth for its time to rebuild."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One trace, and the names of the content that it refers to."""

    number: int
    key: str
    fingerprint: str
    used: float
    """When it last served a build, in seconds since the epoch."""

    seconds: float
    """How long the step had run."""

    row: int
    """Bytes of the trace itself."""

    names: frozenset[str] = frozenset()

    def worth(self, share: float) -> float:
        """Say until when it is worth its bytes: a second of work for each megabyte counts as a day of use.

        `share` are the bytes that are kept for it, those of shared content divided by who shares it.
        """
        return self.used + DAY * min(MOST, self.seconds / ((share + self.row) / 1e6))


@dataclass(slots=True)
class Holdings:
    """All traces of a store, and how many of them refer to each piece of content."""

    traces: dict[int, Holding] = field(default_factory=dict)
    references: Counter[str] = field(default_factory=Counter)
    damaged: list[int] = field(default_factory=list)
    """Numbers of rows whose text is not what was written."""

    last: int = 0
    """The highest number that was read."""

    def add(self, holding: Holding) -> None:
        """Count a trace in."""
        self.traces[holding.number] = holding
        self.references.update(holding.names)

    def drop(self, number: int) -> Iterator[str]:
        """Count a trace out; give the names of the content that nothing refers to any more."""
        for name in self.traces.pop(number).names:
            self.references[name] -= 1
            if self.references[name] == 0:
                del self.references[name]
                yield name

    def share(self, holding: Holding, sizes: Mapping[str, int]) -> float:
        """Give the bytes that are kept for a trace."""
        return sum(sizes.get(name, 0) / self.references[name] for name in holding.names)


def read_holdings(store: LocalStore, after: int = 0) -> Holdings:
    """Read all traces with a number above `after`."""
    found = Holdings(last=after)
    for number, key, body, used in store.actions.ask(
        "SELECT number, key, body, used FROM traces WHERE number > ? ORDER BY number", after
    ):
        found.last = number
        trace = read_whole(key, body)
        if trace is None:
            found.damaged.append(number)
            continue
        found.add(
            Holding(
                number=number,
                key=key,
                fingerprint=fingerprint(trace),
                used=no_later(used),
                seconds=trace.seconds,
                row=len(body),
                names=frozenset(name_content(trace)),
            )
        )
    return found


def no_later(used: float) -> float:
    """Take a time in the future, which a clock left that has been set back since, for a while ago."""
    now = time.time()
    return used if used <= now else now - AWHILE


def name_content(trace: Trace) -> Iterator[str]:
    """Give the names of all content that a trace refers to: results with their parts, and the log."""
    digests = [trace.log] if trace.log else []
    for artifact in trace.results.values():
        if artifact.inline is None:
            digests += [artifact.digest, *artifact.parts]
    for digest in digests:
        yield digest.removeprefix(PREFIX)


def find_published(
    store: LocalStore, holdings: Holdings, artifacts: str = ""
) -> set[tuple[str, str]]:
    """Give, by key and fingerprint, the traces behind the published folders that are still there.

    Those that the store has noted; and what the ``build.json`` files below `artifacts` name, since a project
    may have moved away from its store.
    """
    found = {
        mark
        for folder, variant in store.actions.variants().items()
        if os.path.isdir(store.folder_of(folder))
        for mark in variant.traces
    }
    named = set(_keys_below(artifacts)) if artifacts else set()
    return found | {
        (item.key, item.fingerprint) for item in holdings.traces.values() if item.key in named
    }


def _keys_below(artifacts: str) -> Iterator[str]:
    """Give the keys of the steps behind what is published below a folder."""
    for folder, _, names in os.walk(artifacts):
        if BUILD_JSON not in names:
            continue
        try:
            with open(os.path.join(folder, BUILD_JSON), encoding="utf-8") as file:
                steps = json.load(file)["provenance"]["steps"]
            yield from [str(step["key"]) for step in steps]
        except (OSError, ValueError, KeyError, TypeError):
            # Not one of ours, or damaged: `cache verify` tells of it.
            continue


def name_logs(store: LocalStore, since: float = 0.0) -> Iterable[str]:
    """Give the names of the logs of steps that last ran at `since` or later."""
    rows = store.actions.ask("SELECT log FROM logs WHERE made >= ?", since)
    return (log.removeprefix(PREFIX) for (log,) in rows if log)
