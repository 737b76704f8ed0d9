"""Nodes in the order of what each loses. Pure: what a loss is, it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from math import ceil
from typing import Any

GROUPS = 24
"""Into how many runs of neighbours the nodes of a large model are put first."""

ALLOWED = 0.95
"""Share of the target that is aimed at: what is simulated is not quite what the operators compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Nodes, the worst first."""

    names: tuple[str, ...]
    losses: tuple[float, ...]
    """The share of the target that each uses up alone; of a node that was not measured alone its group's, divided."""

    alone: int
    """Nodes that were measured alone."""

    enough: int
    """How many of the worst to leave out, as far as that can be told without quantizing."""

    @classmethod
    def find(
        cls,
        names: Sequence[str],
        loss: Callable[[list[str]], float],
        *,
        is_over: Callable[[], bool],
        residue: float = 0.0,
    ) -> Ranking:
        """Measure groups of neighbours first, then each node, those of the worst groups first.

        So a search that runs out of time knows something of every node. Ties keep the order of the graph.
        `residue` is the share of its loss that a node keeps when it is left out.
        """
        size = max(1, ceil(len(names) / GROUPS))
        groups = [list(names[i : i + size]) for i in range(0, len(names), size)]
        scores: list[float] = []
        for group in groups:
            if scores and is_over():
                break
            scores.append(loss(group))
        # Of what was not come to nothing is known: it counts as what the others lose.
        usual = sum(scores) / max(1, len(scores))
        found = {
            name: score / len(group)
            for group, score in zip(groups, chain(scores, repeat(usual)), strict=False)
            for name in group
        }
        alone = len(scores) if size == 1 else 0
        if size > 1:
            for number in sorted(range(len(scores)), key=lambda number: -scores[number]):
                for name in groups[number]:
                    if is_over():
                        break
                    found[name] = loss([name])
                    alone += 1
        ordered = sorted(names, key=lambda name: -found[name])
        return cls(
            names=tuple(ordered),
            losses=tuple(found[name] for name in ordered),
            alone=alone,
            enough=_add_up([found[name] for name in ordered], residue)
            if is_over()
            else _bisect(ordered, loss, is_over, residue),
        )

    def plain(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {
            "names": list(self.names),
            "losses": list(self.losses),
            "alone": self.alone,
            "enough": self.enough,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Ranking:
        """Read back what `plain` gave."""
        return cls(
            names=tuple(data["names"]),
            losses=tuple(data["losses"]),
            alone=data["alone"],
            enough=data["enough"],
        )


def _bisect(
    names: Sequence[str],
    loss: Callable[[list[str]], float],
    is_over: Callable[[], bool],
    residue: float,
) -> int:
    """Find the least number of nodes at the front whose leaving out brings the loss of the rest to `ALLOWED`."""
    kept = residue * loss(list(names)) if residue else 0.0
    least, most = -1, len(names)
    while most - least > 1 and not is_over():
        count = (least + most) // 2
        if kept + (1 - residue) * loss(list(names[count:])) <= ALLOWED:
            most = count
        else:
            least = count
    return most


def _add_up(losses: Sequence[float], residue: float) -> int:
    """Tell the same of single losses, as if they added up."""
    left = sum(losses)
    for count, loss in enumerate(losses):
        if left <= ALLOWED:
            return count
        left -= (1 - residue) * loss
    return len(losses)
