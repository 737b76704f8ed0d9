"""The built-in translations: right at sizes other than the traced ones, in low opsets and high, for both exporters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from translating import check, export

from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

ATTENTION = [["b", 2, "h", 4]] * 3
IMAGE = ["b", 2, "h", "w"]


def mask_of(q, k, v, m):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=m > 0.8)


CASES = {
    "affine_grid": ("affine_grid", lambda t, x: F.affine_grid(t, x.shape, align_corners=False), [["b", 2, 3], IMAGE]),
    "affine_grid_corners": (
        "affine_grid", lambda t, x: F.affine_grid(t, x.shape, align_corners=True), [["b", 2, 3], IMAGE],
    ),
    "affine_grid_3d": (
        "affine_grid", lambda t, x: F.affine_grid(t, x.shape, align_corners=False),
        [["b", 3, 4], ["b", 2, 3, "h", "w"]],
    ),
    "cdist": ("cdist", torch.cdist, [["b", "h", 4], ["b", "w", 4]]),
    "cdist_1": ("cdist", lambda a, b: torch.cdist(a, b, p=1.0), [["b", "h", 4], ["b", "w", 4]]),
    "cdist_3": ("cdist", lambda a, b: torch.cdist(a, b, p=3.0), [["b", "h", 4], ["b", "w", 4]]),
    "cdist_0": ("cdist", lambda a, b: torch.cdist(a, b, p=0.0), [["b", "h", 4], ["b", "w", 4]]),
    "cdist_inf": ("cdist", lambda a, b: torch.cdist(a, b, p=float("inf")), [["b", "h", 4], ["b", "w", 4]]),
    "cumsum": ("cumulative", lambda x: torch.cumsum(x, 1), [["b", "h", "w"]]),
    "cumsum_int": ("cumulative", lambda x: torch.cumsum(x, -1), [["b", "h", torch.int64]]),
    "cumprod": ("cumulative", lambda x: torch.cumprod(x, 0), [["b", "h"]]),
    "cummax": ("cumulative", lambda x: torch.cummax(x, 1), [["b", "h", "w"]]),
    "cummin_ties": ("cumulative", lambda x: torch.cummin(x, 1), [["b", "h", torch.int64]]),
    "logcumsumexp": ("cumulative", lambda x: torch.logcumsumexp(x * 50, 1), [["b", "h"]]),
    "einsum": ("einsum", lambda a, b: torch.einsum("bhd,bwd->bhw", a, b), [["b", "h", 4], ["b", "w", 4]]),
    "einsum_diagonal": ("einsum", lambda a: torch.einsum("bii->bi", a), [["b", "h", "h"]]),
    "einsum_trace": ("einsum", lambda a: torch.einsum("bii", a), [["b", "h", "h"]]),
    "einsum_dots": (
        "einsum", lambda a, b: torch.einsum("...ij,...jk->...ik", a, b), [["b", 2, "h", 4], [1, 2, 4, "w"]],
    ),
    "einsum_outer": ("einsum", lambda a, b: torch.einsum("bi,bj->bij", a, b), [["b", "h"], ["b", "w"]]),
    "einsum_three": (
        "einsum", lambda a, b, c: torch.einsum("bih,bjh,hk->bkij", a, b, c),
        [["b", "h", 4], ["b", "w", 4], [4, 3]],
    ),
    "einsum_sum": ("einsum", lambda a: torch.einsum("bij->", a), [["b", "h", 4]]),
    "median": ("order", lambda x: torch.median(x, dim=1), [["b", 7, "h"]]),
    "kthvalue": ("order", lambda x: torch.kthvalue(x, 2, dim=1, keepdim=True), [["b", 5]]),
    "nan_to_num": ("nan_to_num", lambda x: torch.nan_to_num(torch.log(x)), [["b", "h"]]),
    "nan_to_num_given": (
        "nan_to_num", lambda x: torch.nan_to_num(x / (x - x), nan=1.0, posinf=5.0, neginf=-2.0), [["b", "h"]],
    ),
    "masked_select": ("masked_select", lambda x: torch.masked_select(x, x > 0), [["b", "h"]]),
    "masked_select_row": ("masked_select", lambda x, m: x.masked_select(m), [["b", "h"], ["h", torch.bool]]),
    "attention": ("plain_attention", F.scaled_dot_product_attention, ATTENTION),
    "attention_causal": (
        "plain_attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), ATTENTION,
    ),
    "attention_scores": (
        "plain_attention", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m, scale=0.3),
        [*ATTENTION, ["b", 1, "h", "h"]],
    ),
    # With this threshold some rows are masked whole.
    "attention_mask": ("plain_attention", mask_of, [*ATTENTION, ["b", 1, "h", "h"]]),
    "attention_grouped": (
        "plain_attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [["b", 4, "h", 4], ["b", 2, "h", 4], ["b", 2, "h", 4]],
    ),
    "rms_norm": ("rms_norm", lambda x, w: F.rms_norm(x, (3, 6), w), [["b", 3, 6], [3, 6]]),
    "roll": ("roll", lambda x: torch.roll(x, (1, -2), (1, 2)), [["b", "h", "w"]]),
    "roll_far": ("roll", lambda x: torch.roll(x, (11, -23), (1, 2)), [["b", "h", 5]]),
    "roll_flat": ("roll", lambda x: torch.roll(x, 3), [["b", "h", "w"]]),
    "searchsorted": (
        "searchsorted", lambda s, x: torch.searchsorted(s.sort(-1).values, x), [["b", 5], ["b", "h"]],
    ),
    "searchsorted_right": (
        "searchsorted", lambda x: torch.searchsorted(torch.tensor([0, 1, 1, 3]), x, right=True, out_int32=True),
        [["b", "h", torch.int64]],
    ),
    "triu": ("triangle", lambda x: torch.triu(x, 1), [["b", "h", "w"]]),
    "tril": ("triangle", lambda x: torch.tril(x, -1), [["b", "h", "w", torch.int64]]),
    "tril_bool": ("triangle", lambda x: torch.tril(x).float(), [["h", "w", torch.bool]]),
    "unfold": ("unfold", lambda x: F.unfold(x, (2, 3), padding=1, stride=2), [IMAGE]),
    "unfold_wide": ("unfold", lambda x: F.unfold(x, 2, dilation=2, stride=(1, 2)), [["b", 2, 8, "w"]]),
    "fold": ("unfold", lambda x: F.fold(x, (5, 6), (2, 3)), [["b", 12, 16]]),
    "fold_wide": ("unfold", lambda x: F.fold(x, (6, 8), 3, padding=1, stride=2, dilation=2), [["b", 18, 6]]),
    "tensor_unfold": ("unfold", lambda x: x.unfold(1, 3, 2), [["b", "h", 4]]),
    "unique": ("unique", lambda x: torch.unique(x, return_inverse=True, return_counts=True), [["b", "h", torch.int64]]),
}  # fmt: skip

SAMPLED = {
    f"{mode}-{padding}-{corners}": (mode, padding, corners)
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for corners in (False, True)
}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", CASES)
def test_a_translation_is_right_at_every_size(name, opset):
    """The graph gives torch's numbers where it was traced and elsewhere."""
    rule, function, shapes = CASES[name]

    check(export(function, shapes, rule, opset), function, shapes)


OLD = [name for name in CASES if name != "unique"]


@pytest.mark.parametrize("name", OLD)
def test_a_translation_needs_no_more_than_opset_9(name):
    """What torch and older runtimes have least of is enough."""
    rule, function, shapes = CASES[name]

    check(export(function, shapes, rule, 9), function, shapes)


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("opset", [9, 13])
def test_grids_are_sampled_in_every_mode(name, opset):
    """All modes and paddings, also outside of the image."""
    mode, padding, corners = SAMPLED[name]

    def sample(x, grid):
        return F.grid_sample(x, grid * 1.2, mode=mode, padding_mode=padding, align_corners=corners)

    shapes = [IMAGE, ["b", 3, 4, 2]]
    check(export(sample, shapes, "grid_sample", opset), sample, shapes)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_volumes_are_sampled_too(mode):
    """Five dimensions, for which TorchScript has nothing."""

    def sample(x, grid):
        return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False)

    shapes = [["b", 2, 4, "h", "w"], ["b", 3, 4, 2, 3]]
    check(export(sample, shapes, "grid_sample", 13), sample, shapes)


@pytest.mark.parametrize(
    "name",
    ["cdist_1", "cumprod", "cummax", "masked_select", "median", "searchsorted"],
)
def test_dynamo_takes_the_same_translations(name):
    """Those that dynamo needs: it has none of its own, or gives a graph for one size."""
    rule, function, shapes = CASES[name]

    check(export(function, shapes, rule, 18, "dynamo"), function, shapes)


@pytest.mark.parametrize(
    ("function", "shapes", "rule", "opset", "said"),
    [
        (torch.unique, [["b", torch.int64]], "unique", 9, "no Unique; it came with opset 11"),
        (torch.median, [["b", "h"]], "order", 9, "orders a fixed number"),
        (
            lambda x, y: F.fold(x, y.shape[-2:], (2, 3)), [["b", 12, 25], [1, "h", "w"]],
            "unfold", 13, "size that varies",
        ),
        (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.5), ATTENTION,
            "plain_attention", 13, "dropout",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_said(function, shapes, rule, opset, said):
    """No graph rather than a wrong one."""
    with pytest.raises(ExportError, match=said):
        export(function, shapes, rule, opset)
