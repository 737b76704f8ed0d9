"""The promises of `onnxbuild.arrays`."""

import os
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxbuild.arrays import (
    ArraysWriter,
    convert,
    count_items,
    find_difference,
    read_item,
    read_items,
    tell_difference,
    to_array,
)
from onnxbuild.errors import DataError

DTYPES = [
    "float32",
    "float64",
    "float16",
    "int64",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "U3",
    "S2",
]


def write(path, items):
    with ArraysWriter(path) as writer:
        for item in items:
            writer.add(item)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_item_comes_back_as_it_went_in(tmp_path, dtype):
    """Values, type and shape survive, scalars and empty arrays included."""
    values = np.array([[0, 1], [1, 0]]).astype(dtype)
    item = {"a": values, "scalar": values[0, 0].reshape(()), "none": values[:0], "f": values.T}

    path = write(str(tmp_path / "x.npz"), [item])

    (found,) = read_items(path)
    for name, array in item.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_keeps_its_type_and_bits(tmp_path):
    """numpy's format has no bfloat16; an array of it comes back as one all the same."""
    item = {
        "x": np.array([1.5, -0.0, np.inf], dtype=ml_dtypes.bfloat16),
        "x.bf16": np.ones(1, np.uint16),
    }

    path = write(str(tmp_path / "x.npz"), [item])

    found = read_item(path, 0)
    assert found["x"].dtype == ml_dtypes.bfloat16
    assert found["x"].tobytes() == item["x"].tobytes()
    assert found["x.bf16"].dtype == np.uint16


def test_equal_items_give_equal_bytes(tmp_path):
    """The time of writing and the layout in memory leave no mark in the file."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = write(str(tmp_path / "a.npz"), [{"x": array}, {"x": array}])
    later = time.time() + 100_000

    other = write(
        str(tmp_path / "b.npz"), [{"x": np.asfortranarray(array)}, {"x": array.astype(">f4")}]
    )
    os.utime(other, (later, later))

    with open(one, "rb") as first, open(other, "rb") as second:
        assert first.read() == second.read()


def test_names_with_slashes_and_items_without_arrays_keep_their_place(tmp_path):
    """An output may be called /head/Gemm, and a model without inputs has samples without arrays."""
    items = [{"/head/Gemm": np.ones(1)}, {}, {"b": np.zeros(2)}]

    path = write(str(tmp_path / "x.npz"), items)

    assert count_items(path) == 3
    assert [list(item) for item in read_items(path)] == [["/head/Gemm"], [], ["b"]]
    assert list(read_item(path, 2)) == ["b"]


def test_an_array_of_objects_is_refused_in_words(tmp_path):
    """Nothing is pickled."""
    with (
        ArraysWriter(str(tmp_path / "x.npz")) as writer,
        pytest.raises(DataError, match="'x' of item 0 is an array of object"),
    ):
        writer.add({"x": np.array([None, {}])})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.text("ab/.é ", min_size=1),
            hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, min_side=0)),
        )
    )
)
def test_any_items_come_back(tmp_path_factory, items):
    """Whatever the names and shapes."""
    path = write(str(tmp_path_factory.mktemp("arrays") / "x.npz"), items)

    found = list(read_items(path))

    assert [list(item) for item in found] == [list(item) for item in items]
    for one, other in zip(found, items, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("values", "source", "wanted"),
    [
        ([1.5, 2.0], "float64", "float32"),
        ([1.5, 2.0], "float32", "float16"),
        ([1, 2], "uint8", "float32"),
        ([1, 2], "int32", "int64"),
        ([1, 2], "int64", "uint8"),
        ([0, 1], "int64", "bool"),
        ([True, False], "bool", "int64"),
        ([1.5, 2.0], "float32", "bfloat16"),
    ],
)
def test_convert_gives_what_loses_no_value(values, source, wanted):
    """Floats become other floats, whole numbers any type that holds them."""
    array = np.array(values, dtype=source)

    converted = convert(array, wanted, name="x")

    assert converted.dtype == np.dtype(wanted)
    assert converted.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("values", "source", "wanted", "words"),
    [
        ([1.5], "float32", "int64", r"x has values of type float32, where the model takes int64"),
        ([300], "int64", "uint8", r"x has values from 300 to 300, which uint8 cannot hold"),
        ([2], "int64", "bool", "which bool cannot hold"),
        (["a"], "U1", "float32", "x has values of type <U1"),
    ],
)
def test_convert_refuses_what_would_change_a_value(values, source, wanted, words):
    """A fraction does not silently become a whole number, nor 300 a 44."""
    with pytest.raises(DataError, match=words):
        convert(np.array(values, dtype=source), wanted, name="x")


@pytest.mark.parametrize("value", [3, 2.5, True, "cat", [1, 2], np.float32(1)])
def test_what_user_code_gives_becomes_an_array(value):
    """Numbers and text are arrays without a dimension."""
    array = to_array(value)

    assert array.tolist() == (value.item() if isinstance(value, np.generic) else value)


@pytest.mark.e2e
def test_tensors_become_arrays_with_their_types():
    """bfloat16 and tensors that want gradients too."""
    import torch

    plain = to_array(torch.ones(2, requires_grad=True) * 2)
    half = to_array(torch.tensor([1.5], dtype=torch.bfloat16))

    assert plain.tolist() == [2.0, 2.0]
    assert half.dtype == ml_dtypes.bfloat16
    assert float(half[0]) == 1.5


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        pytest.param([1.0, 2.0], [1.0, 2.5], "1 of 2 values differ, by at most 0.5; the first at [1]", id="value"),
        pytest.param([np.nan, 1.0], [np.nan, 2.0], "1 of 2 values differ", id="nan"),
        pytest.param([0.0], [-0.0], "the same values in other bits", id="zero"),
        pytest.param([1], [1.0], "int64 [1] the first time, float64 [1] the second", id="type"),
        pytest.param(["a"], ["b"], "1 of 1 values differ; the first at [0]: a the first time, b", id="text"),
        pytest.param(1.0, 1.0, "", id="same"),
    ],
)  # fmt: skip
def test_two_arrays_differ_in_words(one, other, told):
    """Where first, and by how much."""
    found = tell_difference(np.array(one), np.array(other))

    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_two_files_of_arrays_differ_in_words(tmp_path):
    """The item and the name in it."""
    paths = [str(tmp_path / name) for name in "abc"]
    items = {"x": np.zeros(2)}, {"x": np.array([0.0, 1.0])}
    for path, written in zip(paths, ([items[0]] * 2, items, [items[0]]), strict=True):
        with ArraysWriter(path) as writer:
            for item in written:
                writer.add(item)

    assert find_difference(paths[0], paths[1]).startswith("item 1, 'x': 1 of 2 values differ")
    assert find_difference(paths[0], paths[2]) == "2 items the first time, 1 the second"
    assert find_difference(paths[0], paths[0]) == ""
