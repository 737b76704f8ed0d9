"""Telling steps from recipes, and saying how they stand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from onnxbuild.cli.arguments import is_override
from onnxbuild.engine.preview import Prospect
from onnxbuild.errors import UsageError
from onnxbuild.report.view import PlanView


def take_step(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Tell the one word that names a step from recipes and overrides; None when there is none.

    A recipe ends in ``.yaml`` or ``.yml``, or is a file. Raises `UsageError` for two such words.
    """
    others = [word for word in words if not is_override(word) and not is_recipe(word)]
    if len(others) > 1:
        listed = ", ".join(repr(word) for word in others)
        raise UsageError(
            f"one step at a time, not {len(others)}: {listed}",
            hint="quote a name that has spaces in it; a recipe is a file that ends in .yaml",
        )
    rest = [word for word in words if word not in others]
    return rest, others[0] if others else None


def is_recipe(word: str) -> bool:
    """Tell the path of a recipe from the name of a step."""
    return word.endswith((".yaml", ".yml")) or os.path.isfile(word)


def name_steps(view: PlanView) -> list[str]:
    """Give what to call each step: its label, with its recipe's name where there are several recipes."""
    owners = [view.plan.owner(item.step) for item in view.prospects]
    if len(set(owners)) < 2:  # noqa: PLR2004 - one recipe needs no name
        return [item.step.label for item in view.prospects]
    return [
        f"{owner}: {item.step.label}" if owner else item.step.label
        for owner, item in zip(owners, view.prospects, strict=True)
    ]


def count(prospects: Sequence[Prospect]) -> str:
    """Count the steps by what would become of them."""
    counts = {"cached": 0, "run": 0, "may run": 0}
    for item in prospects:
        counts[item.status] += 1
    told = {"cached": "cached", "run": "to run", "may run": "may run"}
    parts = ", ".join(f"{number} {told[status]}" for status, number in counts.items() if number)
    return f"{len(prospects)} step{'s' if len(prospects) != 1 else ''}: {parts or 'none'}"
