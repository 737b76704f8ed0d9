"""Decode greedily, with the original model and with a variant."""

from __future__ import annotations

from onnxbuild.arrays import Array
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.steps.generate.decoding import Item, Written, decode
from onnxbuild.steps.generate.spec import ReferenceTokensOptions, TokensOptions
from onnxbuild.steps.model.predicting import load_predictor
from onnxbuild.steps.running import open_served


def reference_tokens(work: Work) -> dict[str, Artifact]:
    """Give the ``tokens`` that the original model writes."""
    options = build(ReferenceTokensOptions, work.options)
    predict = load_predictor(
        options.model, tuple(options.decoding.inputs), options.constants, options.outputs
    )
    return _put(work, decode(predict, options.decoding, work.input("samples"), work.json("shapes")))


def tokens(work: Work) -> dict[str, Artifact]:
    """Give the ``tokens`` that a variant writes."""
    options = build(TokensOptions, work.options)
    runner = open_served(work, options.threads)
    names = [name for name in options.decoding.feeds if name in runner.outputs]
    number = 0

    def predict(item: Item) -> dict[str, Array]:
        nonlocal number
        number += 1
        return runner.run(item, f"step {number} of decoding", names)

    return _put(work, decode(predict, options.decoding, work.input("samples"), work.json("shapes")))


def _put(work: Work, written: Written) -> dict[str, Artifact]:
    work.notes["start"] = dict(written.sizes)
    return {"tokens": work.put_json({"start": dict(written.sizes), "tokens": written.tokens})}
