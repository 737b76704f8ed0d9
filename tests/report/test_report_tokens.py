"""The promises of `onnxbuild.report.tokens`."""

import pytest

from onnxbuild.recipe.schema import Verify
from onnxbuild.report.tokens import judge_tokens

KNOWN = {"tokens": [[1, 2, 3, 4], [5, 6, 7, 8]]}


@pytest.mark.parametrize(
    ("written", "verify", "passed", "told"),
    [
        (KNOWN["tokens"], Verify(generate=4), True, "8 of 8"),
        (
            [[1, 2, 3, 4], [5, 9, 7, 8]],
            Verify(generate=4),
            False,
            "7 of 8, first difference at token 2 of row 1: 9 for PyTorch's 6",
        ),
        ([[1, 2, 3, 0], [5, 6, 7, 8]], Verify(generate=4, min_agreement=0.875), True, "7 of 8"),
        ([[1, 2, 0, 0], [5, 6, 7, 8]], Verify(generate=4, min_agreement=0.875), False, "6 of 8"),
    ],
)
def test_tokens_are_counted_over_all_rows(written, verify, passed, told):
    """All must agree, or the share that is asked for; the first that does not is named."""
    (finding,) = judge_tokens(verify, {"tokens": written}, KNOWN)

    assert finding.passed == passed
    assert finding.measured.startswith(told)


def test_no_tokens_at_all_are_no_agreement():
    """A gate that nothing was held to is missed."""
    (finding,) = judge_tokens(Verify(generate=4), {"tokens": []}, {"tokens": []})

    assert not finding.passed


def test_nothing_is_said_where_no_tokens_were_asked_for():
    """Nor is a gate missed."""
    assert list(judge_tokens(Verify(), None, None)) == []
