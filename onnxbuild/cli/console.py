"""All that is printed: data to stdout, talk to stderr, colour and movement only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from onnxbuild.errors import OnnxbuildError, RecipeError


def data(text: str) -> None:
    """Print the result that was asked for."""
    _print("out", text)


def talk(text: str) -> None:
    """Print what people may want to know besides."""
    _print("err", text)


def _print(stream: str, text: str) -> None:
    print(text, file=sys.stdout if stream == "out" else sys.stderr, flush=True)


def error(problem: OnnxbuildError, *, as_json: bool = False) -> None:
    """Say what is wrong, where, and what to do."""
    mistakes = problem.mistakes if isinstance(problem, RecipeError) else [problem]
    if as_json:
        import json

        errors = [{"what": item.what, "where": item.where, "hint": item.hint} for item in mistakes]
        data(
            json.dumps({"status": "failed", "recipes": [], "steps": [], "errors": errors}, indent=2)
        )
        return
    if isinstance(problem, RecipeError):
        talk(str(problem))
        talk(f"\n{problem.what}")
        return
    talk(describe(problem.what, problem.where, problem.hint))


def describe(what: str, where: str, hint: str) -> str:
    """Write one problem in two or three lines."""
    lines = [f"error: {what}"]
    if where:
        lines.append(f"  where: {where}")
    if hint:
        lines.append(f"  hint: {hint}")
    return "\n".join(lines)


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> str:
    """Align columns; those in `right` to the right. The last column is as long as it needs to be."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = set(right)
    return "\n".join(
        "  "
        + "  ".join(
            cell.rjust(width) if column in aligned else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def is_terminal() -> bool:
    """Tell whether people watch stderr live."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
