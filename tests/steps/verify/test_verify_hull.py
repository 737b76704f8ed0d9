"""The promises of `onnxbuild.steps.verify.hull`."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.steps.verify.hull import MOST_POINTS, find_hull, merge_hulls

points = st.lists(
    st.tuples(st.integers(0, 60).map(float), st.integers(0, 60).map(float)), min_size=1, max_size=80
)
rates = st.fractions(0, 8, max_denominator=64)


def worst(pairs, rtol):
    return max(Fraction(d) - rtol * Fraction(a) for a, d in pairs)


def hull_of(pairs):
    array = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return find_hull(array[:, 0], array[:, 1])


@given(points, rates)
def test_a_hull_judges_every_tolerance_as_all_its_points_do(pairs, rtol):
    """The largest d - rtol * a is the same, exactly, for any rtol."""
    hull = hull_of(pairs)

    assert worst(hull, rtol) == worst(pairs, rtol)
    assert set(hull) <= set(pairs)


@given(points)
def test_a_hull_rises_from_left_to_right(pairs):
    """Sizes and errors both grow, slopes fall."""
    hull = hull_of(pairs)

    for (a, d), (next_a, next_d) in pairwise(hull):
        assert a < next_a
        assert d < next_d


@given(st.lists(points, min_size=1, max_size=4), rates)
def test_hulls_of_parts_merge_to_the_hull_of_all(parts, rtol):
    """Samples are looked at one by one."""
    merged = merge_hulls([hull_of(part) for part in parts])

    assert worst(merged, rtol) == worst([pair for part in parts for pair in part], rtol)


@given(points, rates, st.integers(1, 5))
def test_a_thinned_hull_allows_nothing_that_all_points_do_not(pairs, rtol, most):
    """What is cut away is made up for on the careful side, and the largest error stays."""
    thinned = merge_hulls([hull_of(pairs)], most)

    assert len(thinned) <= most
    assert worst(thinned, rtol) >= worst(pairs, rtol)
    assert max(d for _, d in thinned) == max(d for _, d in pairs)


def test_a_million_errors_become_a_few_points():
    """And they judge numpy.allclose as numpy does."""
    generator = np.random.default_rng(0)
    reference = generator.standard_normal(1_000_000)
    output = reference + 1e-3 * generator.standard_normal(1_000_000) * np.abs(reference)

    hull = find_hull(np.abs(reference), np.abs(output - reference))

    assert 1 < len(hull) <= MOST_POINTS
    for rtol, atol in ((1e-2, 0), (5e-3, 0), (1e-3, 1e-3), (0, 1e-2), (2e-3, 3e-3), (0, 0.02)):
        judged = all(error <= atol + rtol * size for size, error in hull)
        assert judged == np.allclose(output, reference, rtol=rtol, atol=atol)


def test_nothing_has_no_hull():
    """No element, no point; and one point is its own hull."""
    assert find_hull(np.zeros(0), np.zeros(0)) == []
    assert merge_hulls([]) == []
    assert hull_of([(2.0, 3.0)]) == [(2.0, 3.0)]
