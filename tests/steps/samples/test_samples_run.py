"""The promises of the ``samples`` step."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, save

from onnxbuild.core.step import Output, Step
from onnxbuild.errors import DataError
from onnxbuild.recipe.schema import Dim, Input, Model, Recipe
from onnxbuild.steps.samples.run import samples
from onnxbuild.steps.samples.spec import SampleOptions
from onnxbuild.steps.samples.spec import samples as make_step


def make(bench, inputs, dynamic_axes=None, dims=None, *, data=None, **others):
    options = SampleOptions(
        inputs=inputs, dynamic_axes=dynamic_axes or {}, dims=dims or {}, **others
    )
    results = bench.run(
        samples, options, {f"data.{k}": bench.arrays(v) for k, v in (data or {}).items()}
    )
    return bench.items(results["samples"]), bench.json(results["shapes"])


@pytest.mark.parametrize(
    ("item", "low", "high"),
    [
        (Input(shape=(400,), dtype="float32", range=(0, 1)), 0, 1),
        (Input(shape=(400,), dtype="float16", range=(-2, -1)), -2, -1),
        (Input(shape=(400,), dtype="bfloat16", range=(0, 1)), 0, 1),
        (Input(shape=(400,), dtype="float64", range=(0.25, 0.5)), 0.25, 0.5),
        (Input(shape=(400,), dtype="int64", range=(0, 30522)), 0, 30522),
        (Input(shape=(400,), dtype="uint8", range=(0, 256)), 0, 256),
        (Input(shape=(400,), dtype="int8", range=(-1.5, 1.5)), -1, 2),
        (Input(shape=(400,), dtype="bool", range=(0, 2)), 0, 2),
        (Input(shape=(400,), dtype="int32"), 0, 2),
        (Input(shape=(400,), dtype="bool"), 0, 2),
    ],
)
def test_values_have_the_type_and_the_range_that_is_asked(bench, item, low, high):
    """The upper bound is not in it, whatever rounding does; values differ."""
    found, _ = make(bench, {"x": item})

    values = found[1]["x"]
    assert values.dtype == (ml_dtypes.bfloat16 if item.dtype == "bfloat16" else item.dtype)
    assert float(values.min()) >= low
    assert float(values.max()) < high
    assert len(set(values.tolist())) > 1


def test_without_a_source_floats_are_normal_noise(bench):
    """Mean 0, deviation 1."""
    found, _ = make(bench, {"x": Input(shape=(100, 100))})

    assert abs(float(found[0]["x"].mean())) < 0.05
    assert abs(float(found[0]["x"].std()) - 1) < 0.05


def test_the_example_comes_twice_with_other_values(bench):
    """So that an output that never changes is seen; the shapes say what each sample is."""
    found, shapes = make(bench, {"x": Input(shape=("batch", 3))}, dims={"batch": Dim(max=4)})

    assert shapes == [
        {"name": "trace", "sizes": {"batch": 2}},
        {"name": "example", "sizes": {"batch": 2}},
        {"name": "example", "sizes": {"batch": 2}},
        {"name": "batch=1", "sizes": {"batch": 1}},
        {"name": "batch=4", "sizes": {"batch": 4}},
    ]
    assert [item["x"].shape for item in found] == [(2, 3), (2, 3), (2, 3), (1, 3), (4, 3)]
    assert not np.array_equal(found[1]["x"], found[2]["x"])


def test_another_input_or_dim_changes_no_value(bench):
    """Each sample and input is drawn from a seed of its own."""
    one = {"x": Input(shape=("batch", 3))}

    before, _ = make(bench, one)
    after, _ = make(bench, {"m": Input(shape=(7, "length"), dtype="int64"), **one})

    for index in (1, 2):
        np.testing.assert_array_equal(before[index]["x"], after[index]["x"])


def test_the_same_options_give_the_same_bytes(bench):
    """And another seed gives other values."""
    inputs = {"x": Input(shape=("batch", 3)), "y": Input(shape=(2,), fill=1.5)}

    one = bench.run(samples, SampleOptions(inputs=inputs))
    two = bench.run(samples, SampleOptions(inputs=inputs))
    other = bench.run(samples, SampleOptions(inputs=inputs, seed=1))

    assert one["samples"].digest == two["samples"].digest
    assert one["samples"].digest != other["samples"].digest


def test_a_fill_and_a_function_give_values(bench, tmp_path):
    """The function gets the shape and a seeded generator."""
    (tmp_path / "own.py").write_text(
        "def ids(shape, generator):\n    return generator.permutation(shape[1])[None].repeat(shape[0], 0)\n"
    )
    inputs = {
        "mask": Input(shape=(1, 4), dtype="int64", fill=1),
        "ids": Input(shape=(1, 4), dtype="int64", values="own.py:ids"),
    }

    found, _ = make(bench, inputs)

    assert found[0]["mask"].tolist() == [[1, 1, 1, 1]]
    assert sorted(found[0]["ids"][0].tolist()) == [0, 1, 2, 3]
    assert found[0]["ids"].dtype == np.int64


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "return generator.random((2, 2))",
            r"gave values of shape \[2, 2\] for 'x', and was asked for \[4\]",
        ),
        ("return [1.5] * 4", "float64, where the model takes int64"),
        ("raise KeyError('gone')", r"the values of 'x' cannot be made: KeyError: 'gone'"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_words(bench, tmp_path, code, words):
    """With what was wanted."""
    (tmp_path / "own.py").write_text(f"def values(shape, generator):\n    {code}\n")

    with pytest.raises(DataError, match=words):
        make(bench, {"x": Input(shape=(4,), dtype="int64", values="own.py:values")})


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Input(shape=(2,), range=(1, 1)), r"no value is in \[1.0, 1.0\)"),
        (Input(shape=(2,), dtype="int8", range=(0, 300)), "int8 cannot hold all whole numbers"),
        (Input(shape=(2,), dtype="int64", range=(0.2, 0.8)), "no whole number is in"),
        (Input(shape=(2,), dtype="int64", fill=1.5), "where the model takes int64"),
    ],
)
def test_a_range_or_fill_without_values_is_refused_in_words(bench, item, words):
    """Before the model sees it."""
    with pytest.raises(DataError, match=words):
        make(bench, {"x": item})


def test_an_absurd_corner_is_refused_with_the_dim_to_bound(bench):
    """Nothing is allocated for it."""
    inputs = {"x": Input(shape=("batch", 3, "height", 4096))}
    dims = {"height": Dim(example=8, max=10_000_000)}

    with pytest.raises(DataError, match=r"would take \d+\.\d GB") as caught:
        make(bench, inputs, dims=dims)

    assert caught.value.where == "dims.height"
    assert "dims: {height: {max: …}}" in caught.value.hint


def test_rows_of_data_are_stacked_and_repeated(bench):
    """Items of one image make batches of any size, each sample from where the last one ended."""
    items = [
        {"image": np.full((1, 3), index, np.float64), "label": np.array(index)}
        for index in range(3)
    ]
    inputs = {"image": Input(shape=("batch", 3), data="digits")}

    found, _ = make(bench, inputs, dims={"batch": Dim(max=4)}, data={"digits": items})

    assert [item["image"][:, 0].tolist() for item in found] == [
        [0, 1], [2, 0], [1, 2], [0], [1, 2, 0, 1],
    ]  # fmt: skip
    assert found[0]["image"].dtype == np.float32


def test_an_item_of_the_wanted_shape_is_used_as_it_is(bench):
    """Whole batches stay together, and items without a batch axis are rows."""
    whole = [{"x": np.full((3, 2), index, np.float32)} for index in range(2)]
    single = [{"x": np.full(2, index, np.float32)} for index in range(5)]

    as_is, _ = make(bench, {"x": Input(shape=(3, 2), data="d")}, data={"d": whole})
    rows, _ = make(bench, {"x": Input(shape=(3, 2), data="d")}, data={"d": single})

    assert [item["x"][:, 0].tolist() for item in as_is] == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert [item["x"][:, 0].tolist() for item in rows] == [[0, 1, 2], [3, 4, 0], [1, 2, 3]]


def test_inputs_of_one_entry_come_from_the_same_rows(bench):
    """Ids and their mask; where no sentence has the wanted length, all are cut or repeated alike."""
    items = [
        {"ids": np.full((1, n), n, np.int64), "mask": np.full((1, n), n, np.int64)}
        for n in (3, 5, 8)
    ]
    inputs = {
        name: Input(shape=("batch", "length"), dtype="int64", data="text")
        for name in ("ids", "mask")
    }

    found, _ = make(
        bench,
        inputs,
        dims={"batch": Dim(max=2), "length": Dim(example=5, max=9)},
        data={"text": items},
    )

    for item in found:
        np.testing.assert_array_equal(item["ids"], item["mask"])
    assert found[1]["ids"].tolist() == [[5] * 5] * 2
    assert (2, 9) in [item["ids"].shape for item in found]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([{"y": np.ones(2)}], "its items have no 'x', whose values are to come from there"),
        ([{"x": np.ones((1, 3, 9))}], "another number of axes"),
        (
            [{"x": np.ones((1, 3))}],
            r"the shape \[3\] there, which does not make \[4\]: axis 1 is not dynamic",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused_in_words(bench, items, words):
    """With both shapes."""
    with pytest.raises(DataError, match=words):
        make(bench, {"x": Input(shape=("batch", 4), data="d")}, data={"d": items})


def test_an_onnx_file_says_itself_what_it_takes(bench, tmp_path):
    """Names, types, dims; weights are no inputs."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["batch", 3, None]),
            helper.make_tensor_value_info("w", TensorProto.DOUBLE, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["batch", 3, None])],
        [helper.make_tensor("w", TensorProto.DOUBLE, [1], [1.0])],
    )
    save(helper.make_model(graph), str(tmp_path / "m.onnx"))

    found, shapes = make(bench, {}, dims={"batch": Dim(max=3)}, onnx="m.onnx")

    assert list(found[0]) == ["x"]
    assert found[0]["x"].dtype == np.float64
    assert shapes[0]["sizes"] == {"batch": 2, "x_2": 4}
    assert max(item["sizes"]["batch"] for item in shapes) == 3


def test_a_model_without_inputs_has_samples_too(bench):
    """Each without arrays."""
    found, shapes = make(bench, {})

    assert found == [{}, {}, {}]
    assert [shape["name"] for shape in shapes] == ["trace", "example", "example"]


def test_the_step_depends_on_what_it_uses_and_no_more():
    """Bounds of other dims, axes of outputs and the folder are not in it unless code of the user's runs."""
    collected = Output(Step(run="d", label="d"), "items")
    recipe = Recipe(
        name="r",
        folder="recipes",
        model=Model(entry="m.py:M"),
        inputs={"x": Input(shape=("batch", 3)), "y": Input(shape=(1,), data="d")},
        dynamic_axes={"x": {"0": "batch"}, "logits": {"0": "batch"}},
        dims={"batch": Dim(max=4), "unused": Dim(max=9)},
        pass_env=("SECRET",),
    )

    step = make_step(recipe, lambda name: collected if name == "d" else None)

    assert step.outputs == ("samples", "shapes")
    assert step.inputs == {"data.d": collected}
    assert list(step.options.dims) == ["batch"]
    assert list(step.options.dynamic_axes) == ["x"]
    assert step.folder is None
    assert step.variables == ()


@pytest.mark.e2e
def test_an_exported_program_says_itself_what_it_takes(bench):
    """Names, types, and its dynamic dims with their bounds."""
    import torch

    class Model(torch.nn.Module):
        def forward(self, x, ids):
            return x.sum() + ids

    batch = torch.export.Dim("batch", min=2, max=6)
    program = torch.export.export(
        Model(),
        (torch.ones(3, 4), torch.ones(3, dtype=torch.int64)),
        dynamic_shapes={"x": {0: batch}, "ids": {0: batch}},
    )
    torch.export.save(program, "model.pt2")

    found, shapes = make(bench, {}, program="model.pt2")

    assert {name: (array.shape, array.dtype.name) for name, array in found[-1].items()} == {
        "x": ((6, 4), "float32"),
        "ids": ((6,), "int64"),
    }
    assert [shape["sizes"] for shape in shapes] == [{"x_0": size} for size in (2, 2, 2, 6)]


def test_a_function_of_values_gets_the_sizes_it_asks_for(bench):
    """`def positions(shape, generator, *, past)`: where the positions begin is not in the shape."""
    Path("values.py").write_text(
        "import numpy as np\n\n"
        "def positions(shape, generator, *, past, sequence, unknown=7):\n"
        "    assert unknown == 7\n"
        "    return np.broadcast_to(past + np.arange(sequence), shape)\n"
    )
    inputs = {
        "positions": Input(shape=(1, "sequence"), dtype="int64", values="values.py:positions"),
        "mask": Input(shape=(1, "past + sequence"), fill=1, dtype="int64"),
    }

    found, shapes = make(bench, inputs, dims={"past": Dim(min=0, max=4)})

    for item, shape in zip(found, shapes, strict=True):
        past, sequence = shape["sizes"]["past"], shape["sizes"]["sequence"]
        assert item["positions"].tolist() == [list(range(past, past + sequence))]
        assert item["mask"].shape == (1, past + sequence)
