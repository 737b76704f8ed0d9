"""The original model as a function of dicts of arrays, whatever it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxbuild.recipe.schema import Model

Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]
Predict: TypeAlias = Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]


def load_predictor(
    model: Model,
    inputs: Sequence[str],
    constants: Mapping[str, Any],
    outputs: Sequence[str] | None,
) -> Predict:
    """Load a model; give what runs it. Torch is imported for models of PyTorch alone."""
    if model.onnx is not None:
        from onnxbuild.steps.model.onnxfile import load_predictor as load_file

        return load_file(model.onnx, inputs, outputs)
    from onnxbuild.steps.model.adapter import Adapter
    from onnxbuild.steps.model.loading import load_model
    from onnxbuild.steps.model.user import say

    adapter = Adapter(load_model(model), inputs, outputs, constants)
    say(f"forward({adapter.mapping()})")
    return adapter.predict
