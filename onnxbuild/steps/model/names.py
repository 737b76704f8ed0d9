"""Which of the names that a recipe gives stands for what the model has."""

from __future__ import annotations

from collections.abc import Sequence

from onnxbuild.errors import ModelError


def match_outputs(
    given: Sequence[str], declared: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Give the outputs' names, and for each the position among those that the model gives.

    Where the recipe's names are the model's own, in whatever order, they are matched by name, and those that it
    leaves out are left out; otherwise by order. Raises `ModelError` when the counts differ, and when the order would give the name of
    one output to another.
    """
    if declared is None:
        return tuple(given), tuple(range(len(given)))
    if set(declared) <= set(given):
        return tuple(declared), tuple(list(given).index(name) for name in declared)
    if len(given) != len(declared):
        raise ModelError(
            f"the recipe names {_count(len(declared))} ({', '.join(declared)}), "
            f"and the model gives {len(given)}: {', '.join(given)}",
            where="outputs",
            hint="name each of them in this order, or some of them by the model's own names, or leave `outputs` out",
        )
    for name, own in zip(declared, given, strict=True):
        if name in given and name != own:
            raise ModelError(
                f"the recipe's outputs are {', '.join(declared)}, and the model's {', '.join(given)}: by order"
                f" {name!r} would name the model's {own!r}",
                where="outputs",
                hint="give the model's own names in any order, or other names in the model's order",
            )
    return tuple(declared), tuple(range(len(given)))


def name_caches(given: Sequence[str], inputs: Sequence[str]) -> tuple[str, ...]:
    """Call the cache that a model gives ``present`` where it takes one of the same names: a graph has each once."""
    start = "past_key_values."
    return tuple(
        f"present.{name.removeprefix(start)}" if name.startswith(start) and name in inputs else name
        for name in given
    )


def _count(number: int) -> str:
    return f"{number} output" if number == 1 else f"{number} outputs"
