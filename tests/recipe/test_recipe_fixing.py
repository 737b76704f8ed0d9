"""Recipes with dimensions that have one size."""

from onnxbuild.recipe.fixing import fix
from onnxbuild.recipe.schema import Dim, Input, Model, Recipe
from onnxbuild.steps.samples.shapes import find_spans, find_visits, name_axes, size_of


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
