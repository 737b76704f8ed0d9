"""Recipes at the sizes that a stage has fixed."""

from onnxbuild.planner import make_plan
from onnxbuild.recipe.fixing import fix, fixed_dims
from onnxbuild.recipe.schema import Dim, Input, Model, Recipe, StageUse
from onnxbuild.stages.fix_dims.spec import FixDims
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer
from onnxbuild.steps.samples.shapes import find_spans, find_visits, name_axes, size_of


def recipe():
    return Recipe(
        name="r",
        model=Model(entry="m.py:build"),
        inputs={"x": Input(shape=(2, 3, "width")), "y": Input(shape=(2, 5))},
        dynamic_axes={"x": {"0": "batch"}, "y": {"0": "batch"}},
        dims={"batch": Dim(min=1, max=8)},
        stages={
            "fixed": StageUse(
                from_="export", use="fix_dims", stage=FixDims(dims={"batch": 4, "width": 7})
            ),
            "slim": StageUse(from_="fixed", use="onnxoptimizer", stage=OnnxOptimizer()),
        },
        publish=("export", "slim"),
    )


def test_what_starts_from_fixed_dims_has_them_fixed():
    """By a stage in between too; what does not start from it has none."""
    assert fixed_dims(recipe(), "slim") == {"batch": 4, "width": 7}
    assert fixed_dims(recipe(), "export") == {}


def test_samples_have_the_fixed_sizes():
    """In every input whose axis is that dimension, whether its shape names it or not; nothing else changes."""
    fixed = fix(recipe(), {"batch": 4, "width": 7})

    assert [item.shape for item in fixed.inputs.values()] == [(4, 3, "width"), (4, 5)]
    assert fixed.dims == {
        name: Dim(min=s, max=s, example=s) for name, s in (("batch", 4), ("width", 7))
    }
    assert fix(recipe(), {}) == recipe()


def test_each_variant_is_verified_on_samples_that_fit():
    """A fixed one on its own, against PyTorch's outputs for those; the others on all corners."""
    variants = {item.name: item for item in make_plan([recipe()]).variants}

    visited = {
        name: item.fidelity.step.inputs["samples"].step.options.dims
        for name, item in variants.items()
    }
    assert visited["slim"]["batch"].max == 4
    assert visited["export"]["batch"].max == 8
    references = {id(item.fidelity.step.inputs["reference"].step) for item in variants.values()}
    assert len(references) == 2


def test_what_follows_from_a_fixed_dimension_changes_with_it():
    """At every size of the others."""
    recipe = Recipe(
        name="r",
        model=Model(entry="m.py:f"),
        inputs={
            "ids": Input(shape=(2, 3), dtype="int64"),
            "mask": Input(shape=(2, 5), dtype="int64"),
        },
        dynamic_axes={
            "ids": {"0": "batch", "1": "sequence"},
            "mask": {"0": "batch", "1": "past + sequence"},
        },
        dims={"past": Dim(min=0, max=4)},
    )

    fixed = fix(recipe, {"sequence": 1})

    axes = name_axes(fixed.inputs, fixed.dynamic_axes)
    visits = find_visits(find_spans(fixed.inputs, axes, fixed.dims))[1:]
    for visit in visits:
        shape = size_of(fixed.inputs["mask"], axes["mask"], visit.sizes)
        assert shape == (visit.sizes["batch"], visit.sizes["past"] + 1)
    assert {visit.sizes["past"] for visit in visits} == {0, 2, 4}
