"""Names that a user gives, looked up with "did you mean"."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from onnxbuild.errors import StageError


def check_names(asked: Iterable[str], known: Collection[str], *, option: str, what: str) -> None:
    """Raise `StageError` for the first name that is not known, with the nearest that is."""
    for name in asked:
        if name in known:
            continue
        near = get_close_matches(name, list(known), n=1)
        listed = ", ".join(sorted(known)[:20]) + (" …" if len(known) > 20 else "")  # noqa: PLR2004
        raise StageError(
            f"{option}: there is no {what} {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"there are: {listed or 'none'}",
        )
