"""The canonical form: short forms written out, defaults filled in."""

import pytest

from onnxbuild import registry
from onnxbuild.recipe.building import build_recipe
from onnxbuild.recipe.canonical import complete, example_size, write_out


def completed(**sections):
    return complete(write_out(sections), stem="stem", registry=registry)


@pytest.mark.parametrize(
    ("sections", "section", "written"),
    [
        ({"inputs": {"x": [1, 3]}}, "inputs", {"x": {"shape": [1, 3]}}),
        ({"model": {"weights": "w.pt"}}, "model", {"weights": {"path": "w.pt"}}),
        ({"stages": {"a": "float16"}}, "stages", {"a": {"use": "float16", "from": "export"}}),
        ({"stages": {"a": {"use": "float16", "from": None}}}, "stages", {"a": {"use": "float16", "from": "export"}}),
        ({"stages": {"a": "b.py:f"}}, "stages", {"a": {"use": "b.py:f", "from": "export"}}),
        ({"data": {"d": "a.py:f"}}, "data", {"d": {"entry": "a.py:f"}}),
        ({"data": {"d": "a.npz"}}, "data", {"d": {"path": "a.npz"}}),
        ({"replace": {"sync_batchnorm": None}}, "replace", {"sync_batchnorm": {"rule": "sync_batchnorm"}}),
        ({"replace": {"a": {"module": "m", "with": "w"}}}, "replace", {"a": {"rule": "module", "module": "m", "with": "w"}}),
        ({"replace": {"a": {"rule": "f.py:g", "n": 1}}}, "replace", {"a": {"rule": "f.py:g", "n": 1}}),
        ({"export": {"opset": None, "strict": None}}, "export", {"opset": None}),
        ({"inputs": {"x": {"shape": [1], "dtype": None}}}, "inputs", {"x": {"shape": [1]}}),
        ({}, "name", "stem"),
        ({"name": None}, "name", "stem"),
        ({}, "publish", ["export"]),
        ({"stages": {"a": "float16", "b": {"use": "float16", "from": "a"}, "c": "float16"}}, "publish", ["b", "c"]),
    ],
)  # fmt: skip
def test_what_is_understood_is_written_out(sections, section, written):
    """Each short form and default of the reference."""
    assert completed(**sections)[section] == written


def test_names_in_a_shape_are_dynamic_axes():
    """As if said in `dynamic_axes`, with the example size of the dimension."""
    found = completed(
        inputs={"a": ["batch", 3, "height"], "b": ["batch", "n"]},
        dims={"height": {"example": 64}, "n": {"min": 5}, "batch": {"max": 1}},
        dynamic_axes={"a": {"1": "channels"}, "out": {"0": "batch"}},
    )

    assert found["inputs"]["a"]["shape"] == [1, 3, 64]
    assert found["inputs"]["b"]["shape"] == [1, 5]
    assert found["dynamic_axes"] == {
        "a": {"0": "batch", "2": "height", "1": "channels"},
        "out": {"0": "batch"},
        "b": {"0": "batch", "1": "n"},
    }


def test_expressions_have_the_sizes_of_the_examples():
    """From a number in another shape, else from `dims`; the text is written one way."""
    found = completed(
        inputs={
            "ids": [2, 5],
            "mask": ["batch", "past+sequence"],
            "past": {"expand": "{0..1}.{key,value}", "shape": ["batch", "2*heads", "past"]},
        },
        dims={"past": {"min": 0, "example": 7}, "heads": {"multiple_of": 3}},
        dynamic_axes={"ids": {"0": "batch", "1": "sequence"}, "out": {"0": "past +sequence"}},
    )

    assert found["inputs"]["mask"]["shape"] == [2, 12]
    assert list(found["inputs"]) == [
        "ids", "mask", "past.0.key", "past.0.value", "past.1.key", "past.1.value",
    ]  # fmt: skip
    assert found["inputs"]["past.1.value"] == {"shape": [2, 6, 7]}
    assert found["dynamic_axes"]["mask"] == {"0": "batch", "1": "past + sequence"}
    assert found["dynamic_axes"]["out"] == {"0": "past + sequence"}


def test_constants_are_no_inputs():
    """What has a value alone is no tensor; an override of it lies over it."""
    found = completed(inputs={"x": [1], "use_cache": {"value": True}, "mode": {"value": None}})

    assert list(found["inputs"]) == ["x"]
    assert found["constants"] == {"use_cache": True, "mode": None}


@pytest.mark.parametrize(
    ("dim", "size"),
    [(None, 2), ({}, 2), ({"min": 1}, 2), ({"min": 7}, 7), ({"max": 1}, 1), ({"example": 9}, 9)],
)
def test_the_size_behind_a_name(dim, size):
    """The example, else 2, within the bounds."""
    assert example_size(dim) == size


def test_completing_twice_changes_nothing():
    """What is canonical stays as it is."""
    once = completed(
        model={"entry": "a.py:f", "weights": "w.pt"},
        inputs={"x": ["batch", 3]},
        stages={"a": "float16", "b": "c.py:g"},
        replace={"sync_batchnorm": None},
    )

    assert complete(write_out(once), stem="other", registry=registry) == once


@pytest.mark.parametrize("broken", [None, 3, "text", [], [1], {"x": None}, {"x": 3}, {"x": [{}]}])
@pytest.mark.parametrize(
    "section", ["model", "inputs", "dims", "dynamic_axes", "stages", "replace", "data", "publish"]
)
def test_what_is_broken_is_left_for_the_schema(section, broken):
    """Completing never fails."""
    assert completed(**{section: broken})["name"] == "stem"


def test_the_classes_are_built():
    """Options become the fields of the stage and rule classes."""
    recipe = build_recipe(
        completed(
            model={"entry": "a.py:f"},
            stages={"h": {"use": "float16", "keep_io_types": True}},
            replace={"s": {"module": "m.M", "with": "n.N", "optional": True}},
        ),
        folder="recipes",
        registry=registry,
    )

    assert recipe.stages["h"].stage.keep_io_types is True
    assert (recipe.replace["s"].module, recipe.replace["s"].with_) == ("m.M", "n.N")
    assert recipe.replace["s"].optional
    assert recipe.folder == "recipes"
