"""How one step's outputs become the next one's inputs."""

from __future__ import annotations

import numpy as np
import pytest

from onnxbuild.arrays import ArraysWriter
from onnxbuild.errors import DataError, ModelError
from onnxbuild.recipe.schema import Dim, Input
from onnxbuild.steps.generate.decoding import decode
from onnxbuild.steps.generate.spec import Decoding

IDS = Input(shape=("batch", "sequence"), dtype="int64")
MASK = Input(shape=("batch", "past + sequence"), dtype="int64", fill=1)
PAST = Input(shape=("batch", 1, "past", 1))
DIMS = {"past": Dim(min=0)}
WORDS = 7


def logits_of(last):
    """The next token is the last one and one more."""
    return np.eye(WORDS, dtype=np.float32)[(last + 1) % WORDS]


class Cached:
    """Remembers in its cache what it saw, as one float a token; keeps each item that it was given."""

    def __init__(self, **changes):
        self.items = []
        self.changes = changes

    def __call__(self, item):
        self.items.append(item)
        ids, past = item["ids"], item["past.0.key"]
        assert item["mask"].shape[1] == ids.shape[1] + past.shape[2]
        seen = np.concatenate([past, ids[:, None, :, None].astype(np.float32)], 2)
        return {"logits": logits_of(ids), "present.0.key": seen} | self.changes


def run(tmp_path, predict, inputs, feeds, visits, *, count=4, dims=DIMS):
    path = str(tmp_path / "samples.npz")
    with ArraysWriter(path) as writer:
        for _, item in visits:
            writer.add(item)
    shapes = [{"name": name, "sizes": _sizes(item)} for name, item in visits]
    decoding = Decoding(count=count, inputs=inputs, feeds=feeds, dims=dims)
    return decode(predict, decoding, path, shapes)


def _sizes(item):
    sizes = {"batch": item["ids"].shape[0], "sequence": item["ids"].shape[1]}
    if "past.0.key" in item:
        sizes["past"] = item["past.0.key"].shape[2]
    return sizes


def cached_visit(past):
    return {
        "ids": np.array([[1, 2, 3], [4, 5, 6]]),
        "mask": np.ones((2, past + 3), np.int64),
        "past.0.key": np.zeros((2, 1, past, 1), np.float32),
    }


CACHED = {"ids": IDS, "mask": MASK, "past.0.key": PAST}
FEEDS = {"logits": "ids", "present.0.key": "past.0.key"}


def test_a_cache_goes_on_from_empty(tmp_path):
    """The new token alone is fed; what has the sizes of the dimensions grows with the cache."""
    predict = Cached()
    visits = [("trace", cached_visit(4)), ("example", cached_visit(2)), ("past=0", cached_visit(0))]

    found = run(tmp_path, predict, CACHED, FEEDS, visits)

    assert found.tokens == [[4, 5, 6, 0], [0, 1, 2, 3]]
    assert found.sizes == {"batch": 2, "sequence": 3, "past": 0}
    assert [item["ids"].shape for item in predict.items] == [(2, 3), (2, 1), (2, 1), (2, 1)]
    assert [item["mask"].shape[1] for item in predict.items] == [3, 4, 5, 6]
    assert predict.items[-1]["past.0.key"][1].ravel().tolist() == [4, 5, 6, 0, 1]


def test_without_a_cache_the_text_grows(tmp_path):
    """All tokens so far are given again."""
    given = []

    def predict(item):
        given.append(item["ids"])
        return {"logits": logits_of(item["ids"])}

    visits = [("example", {"ids": np.array([[3, 1]])})]

    found = run(tmp_path, predict, {"ids": IDS}, {"logits": "ids"}, visits, count=3, dims={})

    assert found.tokens == [[2, 3, 4]]
    assert given[-1].tolist() == [[3, 1, 2, 3]]


def test_tokens_that_nothing_chooses_are_refused(tmp_path):
    """NaN is no token; what is NaN at positions that choose none does not matter."""

    def predict(item):
        logits = logits_of(item["ids"])
        logits[:, :-1] = np.nan
        logits[:, -1, 0] = np.nan if item["ids"].shape[1] > 3 else 0
        return {"logits": logits}

    visits = [("example", {"ids": np.array([[3, 1]])})]

    with pytest.raises(ModelError, match="NaN among what chooses token 3"):
        run(tmp_path, predict, {"ids": IDS}, {"logits": "ids"}, visits, count=3, dims={})


def test_a_state_of_one_size_and_tokens_without_positions(tmp_path):
    """A recurrent model takes one token a row, and gives its state back."""
    inputs = {
        "ids": Input(shape=("batch",), dtype="int32"),
        "state": Input(shape=("batch", 2)),
        "image": Input(shape=("batch", 3)),
    }
    items = []

    def predict(item):
        items.append(item)
        return {"logits": logits_of(item["ids"]), "next": item["state"] + 1}

    item = {
        "ids": np.array([2, 3], np.int32),
        "state": np.zeros((2, 2), np.float32),
        "image": np.full((2, 3), 5, np.float32),
    }
    path = str(tmp_path / "samples.npz")
    with ArraysWriter(path) as writer:
        writer.add(item)
    decoding = Decoding(count=3, inputs=inputs, feeds={"logits": "ids", "next": "state"})

    found = decode(predict, decoding, path, [{"name": "example", "sizes": {"batch": 2}}])

    assert found.tokens == [[3, 4, 5], [4, 5, 6]]
    assert items[-1]["state"].tolist() == [[2, 2], [2, 2]]
    assert items[-1]["image"] is items[0]["image"]
    assert items[-1]["ids"].dtype == np.int32


@pytest.mark.parametrize(
    ("inputs", "feeds", "changes", "dims", "said"),
    [
        (CACHED, {"present.0.key": "past.0.key"}, {}, DIMS, "must feed the tokens.* none does"),
        (CACHED, {**FEEDS, "present.0.key": "mask"}, {}, DIMS, "cannot become the input 'mask'"),
        (CACHED, {**FEEDS, "presnt": "past.0.key"}, {}, DIMS, "there is no output 'presnt'"),
        (CACHED, FEEDS, {}, {"past": Dim(min=0, max=4)}, "take a 'past' of 5 and more, and it is bound to 4"),
        (
            {**CACHED, "past.0.key": Input(shape=("batch", 1, 0, 1))},
            FEEDS, {}, {}, "axis 2 of 'past.0.key' is 0, and what feeds it has 3",
        ),
        (
            {**CACHED, "ids": Input(shape=("batch", "past"), dtype="int64")},
            FEEDS, {}, DIMS, "'past' is 1 in what feeds 'ids', and 3 in what feeds 'past.0.key'",
        ),
        (
            {**CACHED, "mask": Input(shape=("batch", "past + sequence"), data="d")},
            FEEDS, {}, DIMS, "in the data, and the next token needs",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(tmp_path, inputs, feeds, changes, dims, said):
    """In the recipe's names."""
    with pytest.raises(DataError, match=said):
        run(
            tmp_path, Cached(**changes), inputs, feeds, [("example", cached_visit(0))], dims=dims,
            count=5,
        )  # fmt: skip
