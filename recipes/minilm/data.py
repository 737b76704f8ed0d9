"""Real sentences for the encoder, as numbers of tokens."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from package import INSTALL, find_folder

SENTENCES = "sentences.txt"
BATCH = 4

Ints = NDArray[np.int64]
Batch = dict[str, Any]


def evaluation() -> Iterator[Batch]:
    """Yield batches of sentences, padded to their longest, and PyTorch's ``reference`` embeddings."""
    import torch
    from model import build

    model = build()
    sentences = tokenize(read_sentences())
    for start in range(0, len(sentences), BATCH):
        batch = pad(sentences[start : start + BATCH])
        with torch.inference_mode():
            embedding = model(**{name: torch.from_numpy(value) for name, value in batch.items()})
        yield {**batch, "reference": embedding.numpy()}


def mean_cosine(pairs: Iterable[tuple[Mapping[str, NDArray[np.float32]], Batch]]) -> float:
    """Give the mean cosine between the embeddings and PyTorch's, over all sentences."""
    cosines: list[float] = []
    for outputs, batch in pairs:
        ours, theirs = outputs["sentence_embedding"].astype(np.float64), batch["reference"]
        products = (ours * theirs).sum(axis=1)
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines.extend(products / lengths)
    return float(np.mean(cosines))


def token_ids(shape: Sequence[int], generator: np.random.Generator) -> Ints:
    """Cut running text into ``[batch, sequence]`` token numbers, each row from a place of its own."""
    text = np.concatenate([row[1:-1] for row in tokenize(read_sentences())])
    rows, length = shape
    starts = generator.integers(len(text), size=(rows, 1))
    ids = text[(starts + np.arange(length)) % len(text)]
    first, last = _marks()
    ids[:, 0] = first
    ids[:, -1] = last
    return ids


def mask(shape: Sequence[int], generator: np.random.Generator) -> Ints:
    """Hide the end of every row but the first, as padding does."""
    rows, length = shape
    lengths = generator.integers(1, length + 1, size=rows)
    lengths[0] = length
    return (np.arange(length) < lengths[:, None]).astype(np.int64)


def read_sentences() -> list[str]:
    """Read the sentences, one a line."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), SENTENCES)
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def tokenize(sentences: Sequence[str]) -> list[Ints]:
    """Give the token numbers of each sentence, marks at both ends included."""
    return [np.array(row.ids, dtype=np.int64) for row in _tokenizer().encode_batch(list(sentences))]


def pad(rows: Sequence[Ints]) -> Batch:
    """Make one batch of rows, padded with zeros, and its mask."""
    shape = (len(rows), max(map(len, rows)))
    ids, seen = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        seen[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": seen}


@cache
def _tokenizer() -> Any:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"the sentences need tokenizers: {INSTALL}") from error
    # One thread: a pool of threads would not survive a fork.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(os.path.join(find_folder(), "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _marks() -> tuple[int, int]:
    tokenizer = _tokenizer()
    return tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
