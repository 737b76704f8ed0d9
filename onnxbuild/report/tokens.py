"""The judgement of tokens: whether a variant writes what PyTorch's model writes."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.recipe.schema import Verify
from onnxbuild.report.finding import Finding, Json, number


def judge_tokens(
    verify: Verify, tokens: Json | None, reference_tokens: Json | None
) -> Iterator[Finding]:
    """Count the tokens that agree, of all rows, and name the first that does not."""
    if verify.generate is None or tokens is None or reference_tokens is None:
        return
    wanted, written = reference_tokens["tokens"], tokens["tokens"]
    pairs = [
        (place, row, known, found)
        for row, (line, other) in enumerate(zip(wanted, written, strict=True))
        for place, (known, found) in enumerate(zip(line, other, strict=True))
    ]
    differing = sorted(pair for pair in pairs if pair[2] != pair[3])
    same, count = len(pairs) - len(differing), len(pairs)
    told = f"{same} of {count}"
    if differing:
        place, row, known, found = differing[0]
        of_row = f" of row {row}" if len(wanted) > 1 else ""
        told += f", first difference at token {place + 1}{of_row}: {found} for PyTorch's {known}"
    share = same / count if count else 0.0
    yield Finding(
        what="the number of tokens that agree",
        numbers=True,
        asked="all"
        if verify.min_agreement is None
        else f"a share of at least {number(verify.min_agreement)}",
        measured=told,
        passed=share >= (1.0 if verify.min_agreement is None else verify.min_agreement),
        hint="after one difference all that follows may differ: see how near the two largest logits were, or ask"
        " for less with `min_agreement`",
    )
