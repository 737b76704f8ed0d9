"""The encoding behind every key: injective, and blind to the order of mappings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.core.digest import digest_value, encode

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def typed(value):
    """Write a value so that Python's == tells True, 1 and 1.0 apart, as keys do."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, typed(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(typed(item) for item in value))
    if isinstance(value, float):
        return ("float", value, math.copysign(1, value))
    return (type(value).__name__, value)


@given(values, values)
def test_different_values_have_different_encodings(one, other):
    """Equal encodings mean equal values, types included."""
    assert (encode(one) == encode(other)) == (typed(one) == typed(other))


@given(st.dictionaries(st.text(), values, min_size=2, max_size=5), st.randoms())
def test_order_of_mappings_does_not_count(mapping, random):
    """A mapping in another order is the same mapping."""
    items = list(mapping.items())
    random.shuffle(items)

    assert encode(dict(items)) == encode(mapping)


def test_look_alikes_differ():
    """What prints or compares alike has keys of its own."""
    alike = [True, 1, 1.0, "1", b"1", [1], {"1": 1}, None, 0, False, "", [], {}, -0.0, 0.0]

    encodings = {encode(value) for value in alike}

    assert len(encodings) == len(alike)


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {1, 2}, 1j], ids=["object", "integer key", "set", "complex"]
)
def test_what_has_no_place_in_a_key_is_refused(value):
    """Nothing is keyed by its address or its repr."""
    with pytest.raises(TypeError):
        encode(value)


def test_digests_are_pinned():
    """Keys outlive a release. If this fails you are emptying every cache: bump KEY_VERSION and this pin."""
    assert digest_value({"a": [1, True, None, 2.5, "x"]}) == PINNED


PINNED = "b3:3f131866adac92a055a9f01d47e2b0e1f18590a711130c16578d61b12c9e9c23"
