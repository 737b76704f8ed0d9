"""torchvision's operators: right for regions and images of sizes that vary, in old opsets and new, by both exporters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import vision_operators  # noqa: F401 - which registers them
from translating import check_all

from onnxbuild.rules.regions import run as regions

pytestmark = pytest.mark.e2e

OPS = torch.ops.torchvision
IMAGES = [2, 4, "h", "w"]


def boxes_of(corner, size):
    """Make boxes of any numbers: small and large ones, and such as leave the image."""
    return torch.cat([corner, corner + size.abs() * 3], 1)


def rois_of(corner, size):
    image = (corner[:, :1] > 0).to(corner.dtype)
    return torch.cat([image, boxes_of(corner * 2, size * 2)], 1)


def aligned_by(ratio, aligned):
    return lambda x, corner, size: OPS.roi_align(
        x, rois_of(corner, size), 0.7, 3, 2, ratio, aligned
    )


ALIGNED = {
    f"align {ratio} {aligned}": (aligned_by(ratio, aligned), [IMAGES, ["b", 2], ["b", 2]])
    for ratio, aligned in ((-1, False), (0, True), (2, False), (2, True))
}
CHOSEN = {
    "nms": (
        lambda corner, size, scores: OPS.nms(boxes_of(corner, size), scores, 0.1),
        [["h", 2], ["h", 2], ["h"]],
    ),
    "pool": (
        lambda x, corner, size: OPS.roi_pool(x, rois_of(corner, size), 0.7, 3, 2)[0],
        [IMAGES, ["b", 2], ["b", 2]],
    ),
}


def conv(x, weight, moving, masking):
    """Two groups, two sets of offsets, and another stride and padding on each axis."""
    bias = torch.arange(6.0)
    offset, mask = (F.conv2d(x, item, None, (2, 1), (1, 2), (1, 2)) for item in (moving, masking))
    settings = (2, 1, 1, 2, 1, 2, 2, 2)
    return (
        OPS.deform_conv2d(x, weight, offset, mask, bias, *settings, True),
        OPS.deform_conv2d(x, weight, offset, mask[:, :1], bias, *settings, False),
    )


KERNELS = [[6, 2, 3, 2], [24, 4, 3, 2], [12, 4, 3, 2]]
DEFORMED = {"conv": (conv, [["b", 4, "h", "w"], *KERNELS])}


@pytest.mark.parametrize("opset", [9, 10, 16, 22])
def test_regions_are_averaged_as_torchvision_does(opset):
    """Aligned or not, of a number of points that is given or follows from the size; by RoiAlign where that is the same."""
    check_all(ALIGNED, "regions", opset)


def test_regions_are_chosen_and_pooled():
    """As many come out as are left, and no more is kept of what overlaps; equal scores are in order."""
    check_all(CHOSEN, "regions", 10)


@pytest.mark.parametrize("opset", [9, 19])
def test_convolution_looks_where_offsets_say(opset):
    """Groups, strides, paddings, with a mask and without."""
    check_all(DEFORMED, "deform_conv", opset)


def test_dynamo_takes_the_same_translations():
    """All operators in one graph."""
    cases = {"align": ALIGNED["align 0 True"], **CHOSEN, **DEFORMED}

    check_all(cases, ["regions", "deform_conv"], 20, "dynamo")


def test_operators_that_nobody_has_registered_are_left_out(monkeypatch):
    """A model of detection registers those that it needs, and a rule for all of them does not ask for the others."""
    known = type("Known", (), {"nms": OPS.nms})
    monkeypatch.setattr(torch.ops, "torchvision", known)

    assert list(regions.apply({})) == ["torchvision::nms"]


def test_a_model_of_detection_exports_without_being_asked(bench):
    """Boxes are chosen and looked at in one model, by a rule that nobody has named."""
    bench.write(
        "net.py",
        """
        import torch
        import vision_operators

        class Net(torch.nn.Module):
            def forward(self, image, boxes, scores):
                kept = torch.ops.torchvision.nms(boxes, scores, 0.5)
                rois = torch.cat([torch.zeros(kept.shape[0], 1), boxes[kept]], 1)
                return torch.ops.torchvision.roi_align(image, rois, 1.0, 2, 2, 0, False)
        """,
    )
    inputs = {
        "image": {"shape": [1, 2, 5, 6]}, "boxes": {"shape": ["n", 4]}, "scores": {"shape": ["n"]}
    }  # fmt: skip

    exported = bench.export("net.py:Net", inputs, exporter="torchscript", opset=11)

    assert exported.worst() < 1e-5
    assert {item["rule"] for item in exported.notes["rules"]} == {"regions"}
