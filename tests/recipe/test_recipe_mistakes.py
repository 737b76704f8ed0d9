"""How a mistake looks."""

import pytest

from onnxbuild.recipe.mistakes import Mistake, Place, did_you_mean, in_order


def place(**changes):
    return Place(
        **{"source": "r.yaml", "line": 3, "column": 5, "width": 2, "text": "a:  bc", **changes}
    )


def test_a_mistake_shows_its_place_and_what_to_do():
    """The place, the line, the caret, the origin, the hint."""
    mistake = Mistake("wrong", place=place(origin="the environment ci"), hint="do this")

    assert str(mistake) == (
        "r.yaml:3:5: wrong\n  3 | a:  bc\n    |     ^^\n  from the environment ci\n  hint: do this"
    )


def test_the_place_is_a_value_too():
    """For `--json`: a file with line and column, or where else it came from."""
    assert Mistake("wrong", place=place()).where == "r.yaml:3:5"
    assert (
        Mistake("wrong", place=place(source="", origin="the override `a=1`")).where
        == "the override `a=1`"
    )
    assert Mistake("wrong").where == ""


def test_long_lines_are_cut_around_the_caret():
    """The caret still stands under what is meant."""
    text = "x" * 300 + "HERE" + "y" * 300

    lines = str(Mistake("wrong", place=place(text=text, column=301, width=4))).split("\n")

    caret = lines[2].index("^")
    assert lines[1][caret : caret + 4] == "HERE"
    assert all(len(line) < 120 for line in lines)


def test_mistakes_are_sorted_and_said_once():
    """As they stand in the file, the command line's last."""
    first, second = Mistake("a", place=place(line=1)), Mistake("b", place=place(line=9))
    third = Mistake("c", place=place(source="", line=0, order=7))

    assert in_order([third, second, first, Mistake("a", place=place(line=1))]) == [
        first,
        second,
        third,
    ]


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("opsett", ["opset", "exporter"], "did you mean 'opset'?"),
        ("SyncBatchNorm", ["sync_batchnorm"], "did you mean 'sync_batchnorm'?"),
        ("zzz", ["a", "b"], "there are: a, b"),
        ("zzz", ["a"], "there is: a"),
        ("zzz", [f"{n}" * 3 for n in range(40)], ""),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_name_is_suggested(name, known, said):
    """Or all, when they are few."""
    assert did_you_mean(name, known) == said
