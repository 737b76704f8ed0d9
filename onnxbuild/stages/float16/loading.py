"""Find the nodes for which a half model does not load: tried in a process of its own, by bisection.

onnxruntime refuses some models in half precision, and crashes on others: it joins transposes with the products
behind them, and has no kernel for one or the other operator. What it names is kept in float32 first; where it
names nothing, or crashes, operators are tried in halves, and then the nodes of the operator that fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from onnxbuild.core.artifact import Artifact
from onnxbuild.graph.sessions import Loading

MOST_TRIES = 40
"""Loads after which what is still suspected stays float32 altogether."""

Trial = Callable[[Mapping[str, str]], tuple[Artifact | None, Loading]]
"""Converts with these nodes in float32, each with why, and loads the result; None where nothing became half."""


class Search:
    """The search for what must stay float32 for the model to load."""

    def __init__(self, nodes: Mapping[str, str], attempt: Trial) -> None:
        self._nodes = nodes
        self._attempt = attempt
        self._left = MOST_TRIES
        self.culprits: dict[str, str] = {}
        """By name of a node: why it stays."""

    def run(self) -> tuple[Artifact | None, Loading]:
        """Give the result with the fewest culprits found, and how it loads; it fails where all is in vain."""
        artifact, loading = self._attempt(self.culprits)
        while loading.error and (named := self._named(loading.error)):
            self.culprits |= dict.fromkeys(named, f"onnxruntime: {loading.error[:200]}")
            artifact, loading = self._attempt(self.culprits)
        if not loading.failed:
            return artifact, loading
        self._narrow(loading)
        return self._attempt(self.culprits)

    def _named(self, error: str) -> list[str]:
        """Give the nodes that a message names, and that are not culprits yet."""
        words = set(re.findall(r"[^\s()'\",]+", error))
        words |= {word.rstrip(".:;") for word in words}
        return [name for name in self._nodes if name in words and name not in self.culprits]

    def _free(self) -> list[str]:
        return [name for name in self._nodes if name not in self.culprits]

    def _with(self, more: Sequence[str]) -> dict[str, str]:
        return self.culprits | dict.fromkeys(more, "")

    def _narrow(self, loading: Loading) -> None:
        """Find the operators, and then their nodes, without which the rest loads in half precision."""
        told = loading.crash or loading.error[:200]
        why = f"onnxruntime {'crashes' if loading.crash else 'fails'} ({told}) on it in half precision"
        operators = sorted({self._nodes[name] for name in self._free()})
        groups = [[name for name in self._free() if self._nodes[name] == one] for one in operators]
        bad = self._bisect(groups)
        suspects = [[name] for group in bad for name in group]
        found = self._bisect(suspects)
        self.culprits |= {name: why for group in found for name in group}

    def _bisect(self, groups: list[list[str]]) -> list[list[str]]:
        """Give the groups that must stay, of which all do at first: halves are freed while that loads."""
        kept = list(range(len(groups)))
        pending = [list(range(len(groups)))]
        while pending:
            part = pending.pop()
            if self._left <= 0 or not part:
                continue
            self._left -= 1
            rest = [index for index in kept if index not in part]
            _, loading = self._attempt(
                self._with([name for index in rest for name in groups[index]])
            )
            if not loading.failed:
                kept = rest
            elif len(part) > 1:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
        return [groups[index] for index in kept]
