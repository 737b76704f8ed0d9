"""torchvision's operators as torch sees them, written plainly: torchvision itself is not needed to have them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width)"
    " -> (Tensor, Tensor)",
    "deform_conv2d": "(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h,"
    " SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups,"
    " SymInt offset_groups, bool use_mask) -> Tensor",
}


def nms(boxes, scores, threshold):
    x1, y1, x2, y2 = boxes.unbind(1)
    areas = (x2 - x1) * (y2 - y1)
    kept = []
    for index in scores.sort(stable=True, descending=True)[1].tolist():
        width = [min(x2[index], x2[other]) - max(x1[index], x1[other]) for other in kept]
        height = [min(y2[index], y2[other]) - max(y1[index], y1[other]) for other in kept]
        shared = [max(0, w) * max(0, h) for w, h in zip(width, height, strict=True)]
        alike = [
            s / (areas[index] + areas[o] - s) for s, o in zip(shared, kept, strict=True) if s > 0
        ]
        if all(part <= threshold for part in alike):
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64)


def at(image, y, x):
    """Interpolate [C, H, W] at one point, as regions do."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return image.new_zeros(len(image))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    low_y, low_x = int(y), int(x)
    high_y, high_x = min(low_y + 1, height - 1), min(low_x + 1, width - 1)
    top = image[:, low_y, low_x] * (1 - x + low_x) + image[:, low_y, high_x] * (x - low_x)
    bottom = image[:, high_y, low_x] * (1 - x + low_x) + image[:, high_y, high_x] * (x - low_x)
    return top * (1 - y + low_y) + bottom * (y - low_y)


def roi_align(x, rois, scale, height, width, ratio, aligned):
    made = x.new_zeros(len(rois), x.shape[1], height, width)
    for number, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (corner * scale - (0.5 if aligned else 0.0) for corner in corners)
        w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        rows = ratio if ratio > 0 else math.ceil(h / height)
        columns = ratio if ratio > 0 else math.ceil(w / width)
        for i in range(height):
            for j in range(width):
                points = [
                    at(
                        x[int(image)],
                        y1 + (i + (a + 0.5) / rows) * h / height,
                        x1 + (j + (b + 0.5) / columns) * w / width,
                    )
                    for a in range(rows)
                    for b in range(columns)
                ]
                if points:
                    made[number, :, i, j] = sum(points) / len(points)
    return made


def within(start, length, corner, size):
    first, last = math.floor(start) + corner, math.ceil(start + length) + corner
    return slice(min(max(first, 0), size), min(max(last, 0), size))


def roi_pool(x, rois, scale, height, width):
    made = x.new_zeros(len(rois), x.shape[1], height, width)
    for number, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (math.floor(corner * scale + 0.5) for corner in corners)
        cell_h, cell_w = max(y2 - y1 + 1, 1) / height, max(x2 - x1 + 1, 1) / width
        for i in range(height):
            for j in range(width):
                rows = within(i * cell_h, cell_h, y1, x.shape[2])
                columns = within(j * cell_w, cell_w, x1, x.shape[3])
                cell = x[int(image), :, rows, columns]
                if cell.numel():
                    made[number, :, i, j] = cell.amax((1, 2))
    return made, torch.zeros_like(made, dtype=torch.int32)


def deform_conv2d(x, weight, offset, mask, bias, *settings):
    stride, pad, dilation = settings[0:2], settings[2:4], settings[4:6]
    groups, parts, use_mask = settings[6:]
    batch, channels, height, width = x.shape
    over, (kernel_h, kernel_w) = offset.shape[2:], weight.shape[2:]
    moves = offset.reshape(batch, parts, kernel_h * kernel_w, 2, *over)
    image = x.reshape(batch * parts, channels // parts, height, width)
    taps = []
    for tap in range(kernel_h * kernel_w):
        ways = []
        for axis, place in enumerate(divmod(tap, kernel_w)):
            start = torch.arange(over[axis]) * stride[axis] - pad[axis] + place * dilation[axis]
            start = start.reshape((-1, 1) if axis == 0 else (1, -1))
            way = (start + moves[:, :, tap, axis]).reshape(batch * parts, *over)
            ways.append(2 * way / ((height, width)[axis] - 1) - 1)
        grid = torch.stack(ways[::-1], -1)
        found = F.grid_sample(image, grid, align_corners=True).reshape(batch, parts, -1, *over)
        if use_mask:
            found = found * mask.reshape(batch, parts, -1, *over)[:, :, tap, None]
        taps.append(found.reshape(batch, channels, *over))
    columns = torch.stack(taps, 2).reshape(batch, groups, -1, over[0] * over[1])
    matrix = weight.reshape(groups, len(weight) // groups, -1)
    return (matrix @ columns).reshape(batch, -1, *over) + bias.reshape(-1, 1, 1)


def _fake_nms(boxes, scores, threshold):
    del scores, threshold
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def _fake_align(x, rois, scale, height, width, *settings):
    del scale, settings
    return x.new_empty(rois.shape[0], x.shape[1], height, width)


def _fake_pool(x, rois, scale, height, width):
    made = _fake_align(x, rois, scale, height, width)
    return made, made.to(torch.int32)


def _fake_conv(x, weight, offset, *settings):
    del settings
    return x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:])


FUNCTIONS = {
    "nms": (nms, _fake_nms),
    "roi_align": (roi_align, _fake_align),
    "roi_pool": (roi_pool, _fake_pool),
    "deform_conv2d": (deform_conv2d, _fake_conv),
}
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for name, schema in SCHEMAS.items():
    if not hasattr(torch.ops.torchvision, name):
        LIBRARY.define(name + schema)
        LIBRARY.impl(name, FUNCTIONS[name][0], "CompositeExplicitAutograd")
        torch.library.register_fake(f"torchvision::{name}", FUNCTIONS[name][1], lib=LIBRARY)
