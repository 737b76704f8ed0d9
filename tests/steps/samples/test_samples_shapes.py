"""The promises of `onnxbuild.steps.samples.shapes`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.errors import DataError
from onnxbuild.recipe.schema import Dim, Input
from onnxbuild.steps.samples.shapes import (
    Span,
    find_neighbours,
    find_spans,
    find_visits,
    name_axes,
    size_of,
    trace_sizes,
)


def spans_of(inputs, dynamic_axes=None, dims=None):
    return find_spans(inputs, name_axes(inputs, dynamic_axes or {}), dims or {})


@st.composite
def some_spans(draw):
    spans = {}
    for index in range(draw(st.integers(0, 4))):
        low = draw(st.integers(0, 40))
        high = low + draw(st.integers(0, 60))
        spans[f"d{index}"] = Span(example=draw(st.integers(low, high)), low=low, high=high)
    return spans


@given(some_spans())
def test_tracing_uses_distinct_sizes_of_at_least_two(spans):
    """Whatever the examples and bounds; within the bounds where there is room."""
    sizes = trace_sizes(spans)

    assert list(sizes) == list(spans)
    assert len(set(sizes.values())) == len(spans)
    for dim, size in sizes.items():
        assert size >= 2
        room = spans[dim].high - max(2, spans[dim].low) + 1
        if room >= len(spans):
            assert spans[dim].low <= size <= spans[dim].high


@given(some_spans())
def test_the_corners_are_visited_once_each(spans):
    """All at their least, all at their most, each alone at either end: 2k + 2 shapes."""
    example = {dim: span.example for dim, span in spans.items()}
    expected = [example]
    expected.append({dim: span.low for dim, span in spans.items()})
    expected.append({dim: span.high for dim, span in spans.items()})
    for dim, span in spans.items():
        expected += [{**example, dim: span.low}, {**example, dim: span.high}]

    visits = find_visits(spans)

    assert [visit.name for visit in visits[:3]] == ["trace", "example", "example"]
    found = [tuple(visit.sizes.items()) for visit in visits[2:]]
    assert len(set(found)) == len(found)
    assert set(found) == {tuple(sizes.items()) for sizes in expected}
    assert len({visit.name for visit in visits[2:]}) == len(visits) - 2


def test_sizes_asked_for_are_visited_besides():
    """`dims.batch.verify: [1, 17]`, each alone."""
    inputs = {"x": Input(shape=(2, 3))}

    spans = spans_of(inputs, {"x": {"0": "batch"}}, {"batch": Dim(verify=(1, 17))})

    assert [(visit.name, visit.sizes["batch"]) for visit in find_visits(spans)] == [
        ("trace", 2),
        ("example", 2),
        ("example", 2),
        ("batch=1", 1),
        ("batch=5", 5),
        ("batch=17", 17),
    ]


@pytest.mark.parametrize(
    ("shape", "dim", "expected"),
    [
        pytest.param((4,), Dim(), (4, 1, 9), id="no bounds"),
        pytest.param((4,), Dim(min=2, max=64), (4, 2, 64), id="bounds"),
        pytest.param((1,), Dim(), (1, 1, 3), id="an example of one"),
        pytest.param(("n",), Dim(), (2, 1, 5), id="a name"),
        pytest.param(("n",), Dim(min=8), (8, 8, 17), id="a name with a least size"),
        pytest.param(("n",), Dim(max=1), (1, 1, 1), id="a name with a small most"),
        pytest.param(("n",), Dim(example=7, max=9), (7, 1, 9), id="a name with an example"),
        pytest.param(("n",), Dim(min=0), (2, 0, 5), id="nothing at all"),
        pytest.param((28,), Dim(multiple_of=14), (28, 14, 56), id="multiples"),
        pytest.param(
            ("n",), Dim(min=20, max=100, multiple_of=14), (28, 28, 98), id="multiples in bounds"
        ),
    ],
)
def test_a_dim_has_an_example_and_bounds(shape, dim, expected):
    """Without bounds: from 1 to 2n + 1."""
    (span,) = spans_of({"x": Input(shape=shape)}, {"x": {"0": "n"}}, {"n": dim}).values()

    assert (span.example, span.low, span.high) == expected


def test_a_dim_of_several_inputs_has_one_size():
    """The batch of ids is the batch of the mask; axes may count from the end."""
    inputs = {"ids": Input(shape=("batch", "length")), "mask": Input(shape=("batch", "length"))}
    axes = name_axes(inputs, {"mask": {"-1": "length"}})

    spans = find_spans(inputs, axes, {"length": Dim(example=16)})

    assert {dim: span.example for dim, span in spans.items()} == {"batch": 2, "length": 16}
    assert size_of(inputs["mask"], axes["mask"], {"batch": 3, "length": 9}) == (3, 9)


def test_tracing_takes_sizes_that_a_dim_may_have():
    """Multiples stay multiples, even where the bounds leave too few."""
    wide = {name: Span(example=28, low=14, high=140, multiple=14) for name in ("height", "width")}
    tight = {name: Span(example=14, low=14, high=14, multiple=14) for name in ("height", "width")}

    assert trace_sizes(wide) == {"height": 28, "width": 56}
    assert trace_sizes(tight) == {"height": 14, "width": 28}


def test_tracing_keeps_the_powers_of_two_of_a_size():
    """A network that halves its image five times must trace too."""
    spans = {
        "height": Span(example=224, low=32, high=448),
        "width": Span(example=224, low=32, high=448),
    }

    assert trace_sizes(spans) == {"height": 224, "width": 256}


@pytest.mark.parametrize(
    ("inputs", "axes", "dims", "words"),
    [
        pytest.param(
            {"a": Input(shape=(2,)), "b": Input(shape=(3,))},
            {"a": {"0": "n"}, "b": {"0": "n"}},
            {},
            "'n' is 2 in 'a' and 3 in 'b'",
            id="two examples",
        ),
        pytest.param(
            {"a": Input(shape=(16,))},
            {"a": {"0": "n"}},
            {"n": Dim(multiple_of=14)},
            "the size 16 of 'n' is no multiple of 14",
            id="no multiple",
        ),
        pytest.param(
            {"a": Input(shape=("n",))},
            {},
            {"n": Dim(min=15, max=27, multiple_of=14)},
            "at least 15 and at most 27, and a multiple of 14",
            id="no multiple in bounds",
        ),
        pytest.param(
            {"a": Input(shape=(2,))},
            {"a": {"1": "n"}},
            {},
            r"'a' has no axis 1: its shape is \[2\]",
            id="no such axis",
        ),
        pytest.param(
            {"a": Input(shape=(9,))},
            {"a": {"0": "n"}},
            {"n": Dim(max=8)},
            "the example size 9 of 'n' is outside its bounds 1 to 8",
            id="outside",
        ),
        pytest.param(
            {"a": Input(shape=("n",))},
            {},
            {"n": Dim(min=5, max=3)},
            "'n' is to be at least 5 and at most 3",
            id="exchanged",
        ),
    ],
)
def test_sizes_that_contradict_are_refused_in_words(inputs, axes, dims, words):
    """The message names the dim and both sizes."""
    with pytest.raises(DataError, match=words):
        spans_of(inputs, axes, dims)


DECODER = {
    "ids": Input(shape=("batch", "sequence")),
    "mask": Input(shape=("batch", "past + sequence")),
    "past": Input(shape=("batch", 2, "past", 4)),
}


def test_sizes_follow_from_others_at_every_visit():
    """What occurs in expressions alone is a dimension of its own, with the bounds of `dims`."""
    inputs = {name: DECODER[name] for name in ("ids", "mask")}
    axes = name_axes(inputs, {})
    spans = spans_of(inputs, dims={"past": Dim(min=0, max=5), "sequence": Dim(max=3)})

    shapes = {
        visit.name: size_of(inputs["mask"], axes["mask"], visit.sizes)
        for visit in find_visits(spans)
    }

    assert list(spans) == ["batch", "sequence", "past"]
    assert shapes["past=0"] == (2, 2)
    assert shapes["most"] == (5, 8)
    assert shapes["least"] == (1, 1)


@pytest.mark.parametrize(
    ("inputs", "dims"),
    [
        (DECODER, {"past": Dim(min=0)}),
        ({"x": Input(shape=("k", "2*k", "k // 2")), "y": Input(shape=("n", "n - 1"))}, {}),
        ({"x": Input(shape=("a", 2, 3, "b")), "y": Input(shape=("a + b", "a"))}, {}),
    ],
)  # fmt: skip
def test_no_two_axes_of_a_trace_have_one_size(inputs, dims):
    """Neither dims nor expressions, nor fixed axes beside them; all are at least 2."""
    axes = name_axes(inputs, {})
    sizes = trace_sizes(spans_of(inputs, dims=dims), find_neighbours(inputs, axes))

    shapes = {name: size_of(item, axes[name], sizes) for name, item in inputs.items()}
    by_text: dict = {}
    for name, by_axis in axes.items():
        for axis, text in by_axis.items():
            by_text.setdefault(text, set()).add(shapes[name][axis])
    assert all(len(found) == 1 for found in by_text.values())
    distinct = [size for found in by_text.values() for size in found]
    assert len(set(distinct)) == len(distinct)
    assert min(distinct) >= 2
    for name, item in inputs.items():
        fixed = {size for size in item.shape if isinstance(size, int)}
        assert not fixed & {
            shapes[name][axis] for axis, text in axes[name].items() if text in sizes
        }


@pytest.mark.parametrize(
    ("shape", "dims", "said"),
    [
        (("a", "a - 3"), {}, "'a - 3' is -1 where a 2"),
        (("a", "6 // (a - 2)"), {}, "is no number where a 2"),
    ],
)
def test_an_expression_that_is_no_size_is_refused(shape, dims, said):
    """With the sizes at which it is none."""
    with pytest.raises(DataError, match=said):
        spans_of({"x": Input(shape=shape)}, dims=dims)
