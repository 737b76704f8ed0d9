"""Dimensions that follow from others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.recipe.dimensions import DimensionError, parse, read, size, substitute

SIZES = {"past": 3, "sequence": 4, "k": 7}


@pytest.mark.parametrize(
    ("text", "written", "names", "value"),
    [
        ("past+sequence", "past + sequence", ("past", "sequence"), 7),
        ("2*k", "2*k", ("k",), 14),
        ("k//2", "k // 2", ("k",), 3),
        ("sequence -1", "sequence - 1", ("sequence",), 3),
        ("(past + k) * 2", "(past + k)*2", ("past", "k"), 20),
        ("k - past - 1", "k - past - 1", ("k", "past"), 3),
        ("-1 + k", "-1 + k", ("k",), 6),
        ("k", "k", ("k",), 7),
    ],
)
def test_an_expression_is_read_and_written_one_way(text, written, names, value):
    """Python's precedence and division; the text that graphs carry does not depend on the spaces."""
    found = parse(text)

    assert (found.text, found.names, found.evaluate(SIZES)) == (written, names, value)
    assert parse(written) == parse(parse(written).text)


@pytest.mark.parametrize(
    ("text", "what", "column"),
    [
        ("a b", "'b' does not belong here", 2),
        ("2*", "something is missing at the end", 1),
        ("(a", "this parenthesis is not closed", 0),
        ("a / 2", "'/' has no place in a dimension", 2),
        ("a@b", "'@' has no place in a dimension", 1),
        ("a ** 2", "'*' does not belong here", 3),
        ("", "empty", 0),
        ("(" * 50, "nested too deep", 21),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, what, column):
    """So that the caret stands under it."""
    with pytest.raises(DimensionError) as caught:
        parse(text)

    assert (caught.value.what, caught.value.column) == (what, column)


@given(st.recursive(
    st.sampled_from(["a", "b", "3"]),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
))  # fmt: skip
def test_it_means_what_python_means(text):
    """Also after it was written anew."""
    sizes = {"a": 5, "b": 11}

    assert parse(text).evaluate(sizes) == eval(text, {}, dict(sizes))
    assert parse(parse(text).text).evaluate(sizes) == eval(text, {}, dict(sizes))


def test_names_of_other_graphs_are_names():
    """What is no expression, or is not written as one, is a dimension of its own."""
    assert read("seq-len").names == ("seq-len",)
    assert read("unk__1").is_name
    assert read("a:b").names == ("a:b",)
    assert read("past + 1").names == ("past",)
    assert size("seq-len", {"seq-len": 4}) == 4


def test_names_are_replaced_where_they_stand():
    """A name that is part of another stays."""
    assert substitute("k + k2*k", lambda name: f"<{name}>") == "<k> + <k2>*<k>"
