"""Exports a tiny module with one operator, and looks whether a runtime gives torch's numbers at other sizes too."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from onnxbuild.steps.export.operators import Translation, load_translations, translated

SIZES = ({"b": 5, "h": 6, "w": 7}, {"b": 6, "h": 9, "w": 5}, {"b": 2, "h": 3, "w": 11})
"""What dynamic dimensions are: when traced, and at two runs after that."""


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: torch.Tensor) -> Any:
        return self.function(*values)


def translations_of(rule: str, options: Mapping[str, Any] = {}) -> list[Translation]:
    """Load what a built-in rule translates."""
    run = f"onnxbuild.rules.{rule}.run:apply"
    return load_translations([{"name": rule, "run": run, "options": dict(options)}])


def export(
    function: Callable[..., Any],
    shapes: Sequence[Sequence[Any]],
    rule: str | Sequence[str],
    opset: int,
    exporter: str = "torchscript",
) -> onnx.ModelProto:
    """Export with the rule, or rules, alone, its dimensions with names dynamic; the rule must have been used."""
    rules = [rule] if isinstance(rule, str) else sorted(set(rule))
    translations = [item for name in rules for item in translations_of(name)]
    known = [item for item in translations if _is_known(item)]
    values = make(shapes, SIZES[0], 0)
    names = [f"input_{number}" for number in range(len(values))]
    axes = [{a: d for a, d in enumerate(shape) if isinstance(d, str)} for shape in shapes]
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad(), translated(exporter, known, opset):
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            torch.onnx.export(
                Function(function).eval(), values, file, dynamo=False, opset_version=opset,
                input_names=names, dynamic_axes=dict(zip(names, axes, strict=True)),
            )  # fmt: skip
        else:
            dynamic = tuple(dict.fromkeys(item, torch.export.Dim.AUTO) for item in axes)
            program = torch.export.export(
                Function(function).eval(), values, dynamic_shapes=(dynamic,), strict=False
            )
            made = torch.onnx.export(
                program, (), dynamo=True, opset_version=opset, verbose=False, input_names=names
            )
            file = io.BytesIO(made.model_proto.SerializeToString())
    assert any(item.places for item in known)
    return onnx.load_from_string(file.getvalue())


def check_all(
    cases: Mapping[str, tuple[Callable[..., Any], Sequence[Sequence[Any]]]],
    rule: str | Sequence[str],
    opset: int,
    exporter: str = "torchscript",
) -> None:
    """Export functions, each with the shapes of its inputs, as one graph, and compare each with torch."""
    shapes = [shape for _, own in cases.values() for shape in own]

    def function(*values: torch.Tensor) -> Any:
        left, found = list(values), []
        for call, own in cases.values():
            result = call(*[left.pop(0) for _ in own])
            found += list(result) if isinstance(result, tuple) else [result]
        return tuple(found)

    check(export(function, shapes, rule, opset, exporter), function, shapes, " ".join(cases))


def check(
    model: onnx.ModelProto,
    function: Callable[..., Any],
    shapes: Sequence[Sequence[Any]],
    told: str = "",
) -> None:
    """Run the model at the traced sizes and at others, and compare with torch; `told` is what the outputs are of."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    taken = {value.name for value in session.get_inputs()}
    for seed, sizes in enumerate(SIZES, start=1):
        values = make(shapes, sizes, seed)
        with torch.no_grad():
            wanted = function(*values)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        feeds = {f"input_{n}": value.numpy() for n, value in enumerate(values)}
        found = session.run(None, {name: value for name, value in feeds.items() if name in taken})
        for number, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
            where = f"output {number} of {told} at {sizes}"
            assert mine.shape == tuple(theirs.shape), where
            assert mine.dtype == theirs.numpy().dtype, where
            np.testing.assert_allclose(mine, theirs.numpy(), 1e-3, 1e-4, err_msg=where)


def make(
    shapes: Sequence[Sequence[Any]], sizes: Mapping[str, int], seed: int
) -> tuple[torch.Tensor, ...]:
    """Draw inputs; a shape whose last item is a type makes numbers of that type, small whole ones."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape in shapes:
        dims = [sizes.get(item, item) for item in shape if not isinstance(item, torch.dtype)]
        if isinstance(shape[-1], torch.dtype):
            whole = torch.randint(0, 5, dims, generator=generator)
            made.append((whole > 2) if shape[-1] is torch.bool else whole.to(shape[-1]))
        else:
            made.append(torch.randn(dims, generator=generator))
    return tuple(made)


def _is_known(translation: Translation) -> bool:
    namespace, _, name = translation.operator.partition("::")
    return hasattr(getattr(torch.ops, namespace), name)
