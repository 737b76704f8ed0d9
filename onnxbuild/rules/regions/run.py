"""Regions of images: chosen, averaged, and their maximum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir
import torch

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder
from onnxbuild.rules.regions.averaging import average

ALIGN_SINCE, ALIGN_HALF_SINCE, ALIGN_UNTIL = 10, 16, 22
"""The opsets that have RoiAlign, that have it with `aligned`, and from which on onnxruntime 1.32 has no kernel for it."""


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations of the operators that are registered: not every model's are torchvision's own."""
    del options
    known: Mapping[str, Callable[..., Any]] = {
        "nms": nms,
        "roi_align": roi_align,
        "roi_pool": roi_pool,
    }
    return {
        f"torchvision::{name}": translate
        for name, translate in known.items()
        if hasattr(torch.ops.torchvision, name)
    }


def nms(op: Builder, boxes: ir.Value, scores: ir.Value, iou_threshold: float) -> ir.Value:
    """Give the boxes that overlap with none of a higher score by more than the threshold, the highest first."""
    if iou_threshold < 0:
        raise ExportError(
            f"nms with the threshold {iou_threshold} keeps one box alone, which no operator does",
            where="replace",
            hint="give it a threshold of 0 to 1",
        )
    found = op.NonMaxSuppression(
        op.unsqueeze(op.cast(boxes, ir.DataType.FLOAT), [0]),
        op.unsqueeze(op.cast(scores, ir.DataType.FLOAT), [0, 1]),
        op.Shape(scores),
        # No two boxes share more than all; the operator takes no higher threshold.
        op.constant([float(min(iou_threshold, 1.0))]),
    )
    return op.reshape(op.slice(found, [2], [3], [1]), [-1])


def roi_align(
    op: Builder,
    x: ir.Value,
    rois: ir.Value,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> ir.Value:
    """Average each region's cells over points between the pixels."""
    images = op.cast(op.squeeze(op.slice(rois, [0], [1], [1]), [1]), ir.DataType.INT64)
    corners = op.slice(rois, [1], [5], [1])
    since = ALIGN_HALF_SINCE if aligned else ALIGN_SINCE
    if not since <= op.opset < ALIGN_UNTIL:
        sizes = (pooled_height, pooled_width)
        return average(op, x, images, corners, spatial_scale, sizes, sampling_ratio, aligned)
    mode = {}
    if op.opset >= ALIGN_HALF_SINCE:
        half = "half_pixel" if aligned else "output_half_pixel"
        mode = {"coordinate_transformation_mode": half}
    made = op.RoiAlign(
        _single(op, x), _single(op, corners), images, spatial_scale=spatial_scale,
        output_height=pooled_height, output_width=pooled_width,
        sampling_ratio=max(sampling_ratio, 0), **mode,
    )  # fmt: skip
    return _like(op, made, x)


def roi_pool(
    op: Builder,
    x: ir.Value,
    rois: ir.Value,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
) -> tuple[ir.Value, ir.Value]:
    """Give the greatest value of each region's cells; not where it stands, which only training needs."""
    made = op.MaxRoiPool(
        _single(op, x), _single(op, rois),
        pooled_shape=[pooled_height, pooled_width], spatial_scale=spatial_scale,
    )  # fmt: skip
    # Goes away where nobody uses it; a graph that does use it, no runtime loads.
    where = op.custom("torchvision", "RoiPoolArgMax", made)
    where.type, where.shape = ir.TensorType(ir.DataType.INT32), made.shape
    return _like(op, made, x), where


def _single(op: Builder, value: ir.Value) -> ir.Value:
    """Give a half in single precision: runtimes have no kernels for halves."""
    is_known = value.dtype in {None, ir.DataType.FLOAT, ir.DataType.DOUBLE}
    return value if is_known else op.cast(value, ir.DataType.FLOAT)


def _like(op: Builder, value: ir.Value, other: ir.Value) -> ir.Value:
    return value if other.dtype is None else op.cast(value, other.dtype)
