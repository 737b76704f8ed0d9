"""Names that are written once."""

import pytest

from onnxbuild.recipe.expanding import ExpandError, expand, write_all


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0..1}.{key,value}", ["0.key", "0.value", "1.key", "1.value"]),
        ("{a, b}", ["a", "b"]),
        ("layer{9..11}", ["layer9", "layer10", "layer11"]),
        ("one", ["one"]),
        ("{0..0}", ["0"]),
    ],
)
def test_each_group_goes_through_its_choices(text, names):
    """The last changes fastest, as the layers of a cache are ordered."""
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{0..3", "no partner"),
        ("{a{b}}", "no partner"),
        ("{3..0}", "down to 0"),
        ("{a,a}", "twice"),
        ("{0..99999999}", "more than 10000"),
        ("{0..99999}", "more than 10000"),
        ("{0..200}.{0..200}", "more than 10000"),
        ("{a,}", "empty part"),
    ],
)
def test_what_cannot_be_expanded_is_said(text, said):
    """Also before memory is taken for it."""
    with pytest.raises(ExpandError, match=said):
        expand(text)


def test_each_of_many_is_linked_to_its_own():
    """`feeds: past` of the third layer is the third layer of `past`."""
    found = write_all({"present": {"expand": "{0..1}", "feeds": "past"}, "logits": {}}, "feeds")

    assert found == {
        "present.0": {"feeds": "past.0"},
        "present.1": {"feeds": "past.1"},
        "logits": {},
    }
