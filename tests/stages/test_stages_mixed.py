"""The search for the fewest nodes that stay float32."""

import numpy as np
import pytest
from test_stages_float16_numbers import W, f, make, noise

from onnxbuild.errors import StageError
from onnxbuild.recipe.schema import Tolerance, Verify
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.steps.verify.trial import measure

BODY = """
    a = MatMul(x, w)  d = Mul(a, k)  e = Sin(d)  g = MatMul(e, u)  h = Tanh(g)
    i = MatMul(h, t)  m = Tanh(i)  n = MatMul(m, v)  y = Tanh(n)
"""
"""Rounding an angle of ten costs more digits than all that comes after it."""

WEIGHTS = {"v": W.T.copy() / 3, "k": f(4), "u": W[::-1].copy() / 8, "t": W[:, ::-1].copy()}


def search(bench, verify, output="y", **options):
    model = bench.put(make(BODY, **WEIGHTS))
    samples = [{"x": noise(rows, seed=rows)} for rows in (4, 2, 7)]
    reference = [{output: bench.run(model, sample)[0]} for sample in samples]
    stage = Float16(mode="mixed", keep_io_types=True, **options)
    return bench.apply(stage, model, samples=samples, reference=reference, verify=verify)


def labels(bench):
    return [step.label.split()[0] for step in bench.steps]


def test_all_is_half_where_that_is_near_enough(bench):
    """One trial, and its model is the answer."""
    search(bench, Verify(scaled=0.1))

    assert len(bench.notes["trials"]) == 1
    assert bench.notes["float32_weights"] == {}
    assert labels(bench).count("convert") == 2


def test_what_loses_most_stays(bench):
    """The tolerance holds, most nodes are half, what stays is named with why, and the trials are told."""
    search(bench, Verify(scaled=0.1))
    whole = bench.notes["trials"][0]["excess"] * 0.1
    asked = whole / 2

    search(bench, Verify(scaled=asked))

    kept = bench.notes["kept_float32"]
    assert 0 < len(kept) <= 5
    assert all("further off than is allowed" in why for why in kept.values())
    trials = bench.notes["trials"]
    assert trials[0]["excess"] == pytest.approx(2, rel=0.1)
    assert min(trial["excess"] for trial in trials) <= 1
    assert bench.notes["float16_weights"] >= 1


def test_the_tolerance_of_an_output_counts(bench):
    """What the recipe says of the output beats what it says of the variant."""
    search(bench, Verify(scaled=1e-9, outputs={"y": Tolerance(scaled=0.1)}))

    assert len(bench.notes["trials"]) == 1


def test_what_no_half_can_meet_is_said(bench):
    """With by how much the nearest trial misses it."""
    with pytest.raises(StageError, match="further off than `verify` allows"):
        search(bench, Verify(scaled=1e-9))


def test_the_number_of_trials_is_bounded(bench):
    """What is not told apart by then stays float32 together."""
    search(bench, Verify(scaled=0.1))
    asked = bench.notes["trials"][0]["excess"] * 0.1 / 3

    search(bench, Verify(scaled=asked), max_trials=6)

    assert len(bench.notes["trials"]) == 6


def test_a_trial_that_compares_nothing_has_not_passed(bench):
    """Nothing proves nothing."""
    with pytest.raises(StageError, match="further off"):
        search(bench, Verify(scaled=0.1), output="other", max_trials=1)


def test_a_trial_measures_true_half(bench):
    """The CPU provider would give float32's numbers."""
    model = bench.put(make(BODY, **WEIGHTS))
    half = bench.apply(Float16(keep_io_types=True), model)
    x = noise(4)

    class Work:
        """What the step needs."""

        def input(self, name):
            return {"model": bench.store.path(half)}.get(name) or bench.store.path(items[name])

        def json(self, name):
            return [{"name": "example"}]

        def put_json(self, value):
            return value

    items = {
        "samples": bench.put_items([{"x": x}]),
    }
    items["reference"] = bench.put_items([{"y": bench.run(model, {"x": x})[0]}])
    found = measure(Work())["errors"]["shapes"][0]["outputs"]["y"]

    assert 1e-4 < found["scaled"] < 0.05
    assert found["finite"]
    assert np.isfinite(found["cosine"])
