"""The promises of the ``data`` step."""

import numpy as np
import pytest

from onnxbuild.errors import DataError, StepError
from onnxbuild.recipe.schema import DataEntry, Model, Recipe
from onnxbuild.steps.data.run import collect
from onnxbuild.steps.data.spec import DataOptions
from onnxbuild.steps.data.spec import collect as make_output


def take(bench, **options):
    return bench.items(bench.run(collect, DataOptions(**options))["items"])


def write(tmp_path, body):
    (tmp_path / "own.py").write_text("import numpy as np\n" + body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "def data(n=3):\n    for i in range(n):\n        yield {'x': np.full(2, i), 'label': i}\n",
            id="generator",
        ),
        pytest.param(
            "def data(n=3):\n    return [{'x': [i, i], 'label': i} for i in range(n)]\n", id="list"
        ),
        pytest.param("data = [{'x': [i, i], 'label': i} for i in range(3)]\n", id="not a callable"),
        pytest.param(
            "class data:\n"
            "    def __len__(self): return 3\n"
            "    def __getitem__(self, i):\n"
            "        if i > 2: raise IndexError(i)\n"
            "        return {'x': [i, i], 'label': i}\n",
            id="dataset",
        ),
    ],
)
def test_whatever_yields_dicts_is_data(bench, tmp_path, body):
    """Generators, lists, datasets; labels are kept beside the inputs."""
    write(tmp_path, body)

    found = take(bench, entry="own.py:data")

    assert [item["x"].tolist() for item in found] == [[0, 0], [1, 1], [2, 2]]
    assert [item["label"].tolist() for item in found] == [0, 1, 2]


def test_an_entry_without_end_is_bounded_by_samples(bench, tmp_path):
    """One item at a time, no more than asked for, and the generator is closed."""
    write(
        tmp_path,
        "def data(start):\n"
        "    try:\n"
        "        while True:\n"
        "            yield {'x': np.array([start])}\n"
        "            start += 1\n"
        "    finally:\n"
        "        open('closed', 'w').close()\n",
    )

    found = take(bench, entry="own.py:data", kwargs={"start": 5}, samples=3)

    assert [item["x"].tolist() for item in found] == [[5], [6], [7]]
    assert (tmp_path / "closed").exists()


def test_the_notes_say_what_was_collected(bench, tmp_path):
    """Count, keys, types and shapes."""
    write(
        tmp_path, "data = [{'x': np.ones((1, n), np.float32), 'text': 'hi'} for n in (2, 3, 2)]\n"
    )

    take(bench, entry="own.py:data")

    assert bench.notes == {
        "items": 3,
        "arrays": {
            "x": {"dtype": "float32", "shapes": [[1, 2], [1, 3]]},
            "text": {"dtype": "<U2", "shapes": [[]]},
        },
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("data = []", "own.py:data gave no item"),
        ("data = {'x': [1]}", "own.py:data returned one dict, and not a sequence of dicts"),
        ("def data(): return 3", "returned an int, which cannot be iterated"),
        ("data = [([1], 2)]", "item 0 of own.py:data is a tuple, and not a dict"),
        ("data = [{}]", "item 0 of own.py:data is an empty dict"),
        ("data = [{1: [1]}]", "has the key 1, which is not text"),
        ("data = [{'x': [1], 'y': 1}, {'x': [1], 'z': 1}]", "item 1 .* no y; also z"),
        (
            "data = [{'x': np.array([1, np.nan])}]",
            "'x' in item 0 of own.py:data has 1 NaN among its 2",
        ),
        (
            "data = [{'x': object()}]",
            "'x' in item 0 of own.py:data is an object, which is no array",
        ),
        ("data = [{'x': [[1], [1, 2]]}]", "'x' in item 0 of own.py:data is no array"),
        ("def data(): yield {'x': [1 / 0]}", "own.py:data failed: ZeroDivisionError"),
        ("def data(): raise OSError('no disk')", "own.py:data failed: OSError: no disk"),
        ("def data(size): pass", "own.py:data failed: TypeError"),
    ],
)
def test_what_is_no_data_is_refused_in_words(bench, tmp_path, body, words):
    """The message names the item and the key."""
    write(tmp_path, body + "\n")

    with pytest.raises(DataError, match=words):
        take(bench, entry="own.py:data")


def test_a_wrong_name_is_answered_with_the_right_one(bench, tmp_path):
    """Did you mean."""
    write(tmp_path, "calibration = []\n")

    with pytest.raises(StepError) as caught:
        take(bench, entry="own.py:calibrations")

    assert caught.value.hint == "did you mean 'calibration'?"


def test_a_folder_of_npz_files_is_an_item_each(bench, tmp_path):
    """In the order of their names; shapes may differ."""
    (tmp_path / "set").mkdir()
    np.savez(tmp_path / "set" / "b.npz", x=np.ones((1, 3)))
    np.savez(tmp_path / "set" / "a.npz", x=np.ones((1, 2)))

    found = take(bench, path="set")

    assert [item["x"].shape for item in found] == [(1, 2), (1, 3)]


def test_a_folder_of_npy_files_and_one_npz_file_hold_all_items(bench, tmp_path):
    """Along the first axis, which stays as a batch of one."""
    (tmp_path / "set").mkdir()
    image, label = np.arange(6).reshape(3, 2), np.arange(3)
    np.save(tmp_path / "set" / "image.npy", image)
    np.save(tmp_path / "set" / "label.npy", label)
    np.savez(tmp_path / "all.npz", image=image, label=label)

    folder, file = take(bench, path="set", samples=2), take(bench, path="all.npz", samples=2)

    for found in (folder, file):
        assert [item["image"].tolist() for item in found] == [[[0, 1]], [[2, 3]]]
        assert [item["label"].tolist() for item in found] == [[0], [1]]


@pytest.mark.parametrize(
    ("files", "path", "words"),
    [
        ({}, "none", "there is no file or folder none"),
        ({"set/readme.txt": None}, "set", "holds neither .npz nor .npy files"),
        ({"set/a.npy": np.ones(1), "set/b.npz": np.ones(1)}, "set", "both .npz and .npy files"),
        (
            {"set/a.npy": np.ones(2), "set/b.npy": np.ones(3)},
            "set",
            "different numbers of items: a 2, b 3",
        ),
        ({"set/a.npy": np.array([None])}, "set", "a.npy holds Python objects, which are not read"),
        ({"a.npz": np.array([None])}, "a.npz", "a.npz holds Python objects, which are not read"),
        ({"a.npz": None}, "a.npz", "a.npz cannot be read"),
        ({"a.csv": None}, "a.csv", "a.csv is no .npz file"),
    ],
)
def test_files_that_hold_no_items_are_refused_in_words(bench, tmp_path, files, path, words):
    """With what was looked for."""
    (tmp_path / "set").mkdir()
    for name, array in files.items():
        if array is None:
            (tmp_path / name).write_text("text")
        elif name.endswith(".npz"):
            np.savez(tmp_path / name, x=array)
        else:
            np.save(tmp_path / name, array)

    with pytest.raises(DataError, match=words):
        take(bench, path=path)


def test_the_step_runs_in_the_recipes_folder():
    """With the declared variables only where code of the user's runs."""
    recipe = Recipe(
        name="r",
        folder="recipes",
        model=Model(entry="m.py:M"),
        data={"a": DataEntry(entry="d.py:a", samples=4), "b": DataEntry(path="b.npz")},
        pass_env=("HOME",),
    )

    own, file = make_output(recipe, "a"), make_output(recipe, "b")

    assert (own.name, own.step.folder, own.step.variables) == ("items", "recipes", ("HOME",))
    assert own.step.options == DataOptions(entry="d.py:a", samples=4)
    assert (file.step.folder, file.step.variables) == ("recipes", ())


@pytest.mark.e2e
def test_tensors_of_a_dataloader_become_arrays(bench, tmp_path):
    """Its workers' too."""
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "def data():\n"
        "    rows = [{'x': torch.full((2,), float(i)), 'label': i} for i in range(4)]\n"
        "    return torch.utils.data.DataLoader(rows, batch_size=2)\n"
    )

    found = take(bench, entry="own.py:data")

    assert [item["x"].tolist() for item in found] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]
    assert found[0]["x"].dtype == np.float32
    assert found[0]["label"].tolist() == [0, 1]
