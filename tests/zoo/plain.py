"""What a person gets who calls the libraries as their documentation does."""

from __future__ import annotations

import os
from typing import Any

import onnx
import torch
from onnxruntime import quantization
from torch import nn
from zoo.subject import Array, Subject, flatten


class Flat(nn.Module):
    """Tensors in by position, tensors out: what both exporters like best."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(flatten(self.model(**dict(zip(self.names, values, strict=True)))))


def dynamo(subject: Subject, path: str) -> None:
    """Export with the defaults of today, opset 18, dynamic shapes."""
    module, values, axes = _prepare(subject)
    torch.onnx.export(
        module, values, path, dynamo=True, opset_version=18, verbose=False,
        input_names=list(axes), dynamic_shapes=(tuple(axes.values()),),
    )  # fmt: skip


def torchscript(subject: Subject, path: str) -> None:
    """Export by tracing, opset 17, dynamic axes."""
    module, values, axes = _prepare(subject)
    torch.onnx.export(
        module, values, path, dynamo=False, opset_version=17,
        input_names=list(axes), dynamic_axes=axes,
    )  # fmt: skip


def half(source: str, path: str) -> None:
    """Convert to fp16 as onnxconverter_common does."""
    from onnxconverter_common import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), path)


def integers(subject: Subject, source: str, path: str) -> None:
    """Quantize with the defaults: dynamic, or static with the recipe's calibration data."""
    if not subject.is_static:
        quantization.quantize_dynamic(source, path)
        return
    quantization.quantize_static(source, path, Reader(subject))


class Reader(quantization.CalibrationDataReader):
    """Calibration data as onnxruntime reads it."""

    def __init__(self, subject: Subject) -> None:
        self.items = subject.calibration()

    def get_next(self) -> dict[str, Array] | None:
        return next(self.items, None)


def _prepare(subject: Subject) -> tuple[nn.Module, tuple[Any, ...], dict[str, dict[int, str]]]:
    example = subject.sizes()[0][1]
    feed = subject.feed(example)
    values = tuple(torch.from_numpy(value) for value in feed.values())
    return Flat(subject.build(), list(feed)).eval(), values, subject.axes()


def size(path: str) -> int:
    """Bytes of a model, with its weights beside it."""
    return sum(
        os.path.getsize(os.path.join(os.path.dirname(path), name))
        for name in os.listdir(os.path.dirname(path))
        if name.startswith(os.path.basename(path))
    )
