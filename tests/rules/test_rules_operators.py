"""The built-in translations: right at sizes other than the traced ones, in low opsets and high, for both exporters."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnxscript import evaluator, values
from torch.onnx._internal.exporter._building import OpRecorder
from torch.onnx._internal.exporter._tensors import SymbolicTensor
from translating import check, check_all, export

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder

pytestmark = pytest.mark.e2e

ATTENTION = [["b", 2, "h", 4]] * 3
SCATTERED = [["b", 6, 4], ["b", "h", 4, torch.int64], ["b", "h", 4]]
IMAGE = ["b", 2, "h", "w"]


def test_a_call_that_a_rule_leaves_is_the_exporters(bench):
    """Values put in places without adding are written as ever; what is added, and rolled far, is right by itself.

    The notes do not say of what torch translates wrongly that it cannot.
    """
    bench.write(
        "net.py",
        """
        import torch

        class Net(torch.nn.Module):
            def forward(self, x):
                places = torch.tensor([0, 0, 1])
                x = x.index_put((torch.tensor([0]),), x[1:2] * 2)
                x = x.index_put((places,), x[:1], accumulate=True)
                return torch.roll(x, 40, 1)
        """,
    )

    result = bench.export(
        "net.py:Net",
        {"x": {"shape": ["h", "w"]}},
        dims={"h": {"min": 3, "trace": 4}},
        exporter="torchscript",
        opset=13,
    )

    assert result.worst() < 1e-6
    fired = {item["rule"]: item for item in result.notes["rules"]}
    assert set(fired) == {"scatter", "roll"}
    assert fired["roll"]["why"].startswith(
        "torchscript's own translation of aten::roll is not right"
    )


def mask_of(q, k, v, m):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=m > 0.8)


def test_types_are_those_that_operators_declare():
    """What a translation may ask of its own nodes is right for every operator, or not known."""
    opset = values.Opset("", 13)

    def value(dtype):
        return SymbolicTensor(opset, name="x", type=ir.TensorType(dtype), shape=ir.Shape([2]))

    whole, small, fraction = map(value, (ir.DataType.INT64, ir.DataType.UINT8, ir.DataType.FLOAT))
    with evaluator.default_as(OpRecorder(opset, {})):
        op = Builder(13, "dynamo")
        made = [
            op.OneHot(whole, whole, fraction),
            op.QuantizeLinear(fraction, fraction, small),
            op.EyeLike(whole),
            op.Less(fraction, 2.0),
            op.Mul(2.0, fraction),
            *op.TopK(fraction, whole),
        ]

    assert [item.dtype and item.dtype.name for item in made] == [
        "FLOAT", "UINT8", None, "BOOL", "FLOAT", "FLOAT", "INT64",
    ]  # fmt: skip


def infinite_maximum(x):
    return torch.cummax(torch.where(x > 0.5, torch.full_like(x, float("-inf")), x), 1)


def scores_of(hidden, q, k, v, m):
    """Hide by numbers, as models do that make their masks themselves."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.where(m > 0.8, m, hidden))


LEAST = torch.finfo(torch.float32).min

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
    "cumsum_int": ("cumulative", lambda x: torch.cumsum(x, -1), [["b", "h", torch.int8]]),
    "cumprod": ("cumulative", lambda x: torch.cumprod(x, 0), [["b", "h"]]),
    "cummax": ("cumulative", infinite_maximum, [["b", "h", "w"]]),
    "cummin_ties": ("cumulative", lambda x: torch.cummin(x, 1), [["b", "h", torch.int64]]),
    "logcumsumexp": ("cumulative", lambda x: torch.logcumsumexp(x * 50, 1), [["b", "h"]]),
    "diagonal": ("diagonal", lambda x: torch.diagonal(x, -1, 1, 2), [["b", "h", "w"]]),
    "diagonal_above": ("diagonal", lambda x: torch.diagonal(x, 2, 2, 0), [["b", 3, "w"]]),
    "trace": ("diagonal", torch.trace, [["h", "w"]]),
    "diag_embed": ("diagonal", torch.diag_embed, [["b", "h"]]),
    "kron": ("diagonal", torch.kron, [["b", "h"], [2, "b", 3]]),
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
    "attention_infinite": (
        "plain_attention", lambda *values: scores_of(float("-inf"), *values), [*ATTENTION, ["b", 1, "h", "h"]],
    ),
    "attention_least": ("plain_attention", lambda *values: scores_of(LEAST, *values), [*ATTENTION, ["b", 1, "h", "h"]]),
    "attention_grouped": (
        "plain_attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [["b", 4, "h", 4], ["b", 2, "h", 4], ["b", 2, "h", 4]],
    ),
    "repeat": ("repeat_interleave", lambda x: x.repeat_interleave(3, dim=1), [["b", "h", 2]]),
    "repeat_flat": ("repeat_interleave", lambda x: x.repeat_interleave(2), [["b", "h"]]),
    # Some of the numbers are zero.
    "repeat_each": ("repeat_interleave", lambda x, n: x.repeat_interleave(n, dim=0), [["b", "h"], ["b", torch.int64]]),
    "rms_norm": ("rms_norm", lambda x, w: F.rms_norm(x, (3, 6), w), [["b", 3, 6], [3, 6]]),
    "rms_norm_half": ("rms_norm", lambda x: F.rms_norm((x / 64).half(), (6,)).float(), [["b", 3, 6]]),
    "roll": ("roll", lambda x: torch.roll(x, (1, -2), (1, 2)), [["b", "h", "w"]]),
    "roll_far": ("roll", lambda x: torch.roll(x, (11, -23, 40), (1, 2, 0)), [["b", "h", 5]]),
    "roll_flat": ("roll", lambda x: torch.roll(x, 3), [["b", "h", "w"]]),
    "scatter_add": ("scatter", lambda x, i, s: x.scatter_add(1, i, s), SCATTERED),
    "scatter_mean": ("scatter", lambda x, i, s: x.scatter_reduce(1, i, s, "mean"), SCATTERED),
    "scatter_mean_alone": (
        "scatter", lambda x, i, s: x.scatter_reduce(1, i, s, "mean", include_self=False), SCATTERED,
    ),
    "scatter_max": ("scatter", lambda x, i, s: x.scatter_reduce(1, i, s, "amax"), SCATTERED),
    "scatter_min_alone": (
        "scatter", lambda x, i, s: x.scatter_reduce(1, i, s, "amin", include_self=False), SCATTERED,
    ),
    "scatter_max_whole": (
        "scatter", lambda x, i, s: x.scatter_reduce(1, i, s, "amax", include_self=False),
        [["b", 6, torch.int64], ["b", "h", torch.int64], ["b", "h", torch.int64]],
    ),
    "scatter_prod": ("scatter", lambda x, i, s: x.scatter_reduce(1, i, s, "prod"), SCATTERED),
    "index_add": (
        "scatter", lambda x, i, s: x.index_add(1, i, s, alpha=2), [["b", 6, "w"], ["h", torch.int64], ["b", "h", "w"]],
    ),
    "index_put": (
        "scatter", lambda x, i, j, s: x.index_put((i - 5, j), s, accumulate=True),
        [[6, 5, "w"], ["h", torch.int64], ["h", torch.int64], ["h", "w"]],
    ),
    "index_put_written": (
        "scatter", lambda x, i, s: x.clone().index_put_((i,), s, accumulate=True), [[6, "w"], ["h", torch.int64], ["w"]],
    ),
    "index_put_mask": ("scatter", lambda x, m, s: x.index_put((m,), s), [["b", "h", 4], ["b", "h", torch.bool], [4]]),
    "index_put_mask_one": ("scatter", lambda x, m: x.index_put((m,), x.sum()), [["b", "h"], ["b", "h", torch.bool]]),
    "index_put_mask_add": (
        "scatter", lambda x, m, s: x.index_put((m,), s, accumulate=True), [["b", "h", 4], ["b", torch.bool], [4]],
    ),
    "masked_scatter": ("scatter", lambda x, m, s: x.masked_scatter(m, s), [["b", "h"], ["h", torch.bool], ["b", "h"]]),
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


@pytest.mark.parametrize("opset", [9, 11, 18])
@pytest.mark.parametrize("rule", dict.fromkeys(case[0] for case in CASES.values()))
def test_a_translation_is_right_at_every_size(rule, opset):
    """The graph gives torch's numbers where it was traced and elsewhere, in the least opset that there is too."""
    if rule == "unique" and opset == 9:
        pytest.skip("opset 9 has no such operator")
    cases = {name: case[1:] for name, case in CASES.items() if case[0] == rule}

    check_all(cases, rule, opset)


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        *((name, 9) for name in SAMPLED),
        # What newer opsets have is used in each mode alike.
        ("bilinear-zeros-False", 13),
        ("nearest-reflection-True", 13),
        ("bicubic-border-False", 13),
    ],
)
def test_grids_are_sampled_in_every_mode(name, opset):
    """All modes and paddings, also outside of the image."""
    mode, padding, corners = SAMPLED[name]

    def sample(x, grid):
        return F.grid_sample(x, grid * 1.2, mode=mode, padding_mode=padding, align_corners=corners)

    shapes = [IMAGE, ["b", 3, 4, 2]]
    check(export(sample, shapes, "grid_sample", opset), sample, shapes)


def test_places_are_written_in_opsets_without_such_an_operator():
    """Rows, columns and parts that a model sets, in the opsets where TorchScript has nothing for that."""

    def put(x, i):
        x = x.clone()
        x[1] = x[0] * 2
        x[:, 1] = x[:, 0]
        x[1:, 2] = 7.0
        x[:, torch.tensor([0, 2])] = 5.0
        x[..., 1:3] = x[..., :2] + 1
        i = (i > 2).long()
        return x.index_put((i, i), x[:1, 0])

    cases = {"put": (put, [["h", 5], ["b", torch.int64]])}

    check_all(cases, "scatter", 9)
    check_all(cases, "scatter", 10)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_volumes_are_sampled_too(mode):
    """Five dimensions, for which TorchScript has nothing."""

    def sample(x, grid):
        return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False)

    shapes = [["b", 2, 4, "h", "w"], ["b", 3, 4, 2, 3]]
    check(export(sample, shapes, "grid_sample", 13), sample, shapes)


def test_dynamo_takes_the_same_translations():
    """Those that dynamo needs, in one graph: it has none of its own, gives a graph for one size, or wrong numbers."""
    names = [
        "cdist_1",
        "cumprod",
        "cummax",
        "masked_select",
        "median",
        "searchsorted",
        "scatter_mean",
        "attention_mask",
        "attention_infinite",
    ]

    check_all({name: CASES[name][1:] for name in names}, [CASES[n][0] for n in names], 18, "dynamo")


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


def test_numbers_that_follow_from_sizes():
    """What dynamo takes for numbers alone may be computed from a size."""

    def function(x):
        places, part = torch.arange(x.shape[1]), 1 / x.shape[1]
        rest = (torch.arange(3) - 9) % x.shape[1]
        return places + part, places - part, places * part, x.abs() ** part, rest + x[:, :1] * 0

    check(export(function, [["b", "h"]], "size_numbers", 18, "dynamo"), function, [["b", "h"]])
