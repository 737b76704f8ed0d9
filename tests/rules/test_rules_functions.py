"""Functions written with others: the numbers are torch's, whatever the arguments."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from onnxbuild.rules.interpolate import run as interpolate
from onnxbuild.rules.multihead_attention import run as attention
from onnxbuild.rules.plain_functions import run as plain

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            {"mode": mode, "antialias": mode in {"bilinear", "bicubic"}} | size
            for mode, size in itertools.product(
                ["area", "nearest-exact", "bilinear", "bicubic"],
                [
                    {"size": (3, 11)}, {"size": 1}, {"scale_factor": 2}, {"scale_factor": 0.6},
                    {"scale_factor": (1.7, 0.5)}, {"scale_factor": 0.6, "recompute_scale_factor": True},
                ],
            )
        ),
        {"mode": "bilinear", "antialias": True, "align_corners": True, "size": (3, 11)},
        {"mode": "bicubic", "antialias": True, "align_corners": True, "scale_factor": 0.6},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interpolation_is_that_of_torch(arguments, dtype):
    """Every mode, size and factor gives torch's numbers."""
    value = torch.randn(2, 3, 7, 10, dtype=dtype)

    found = interpolate.interpolate(value, **arguments)

    wanted = functional.interpolate(value, **arguments)
    assert found.dtype is dtype
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_interpolation_of_one_and_three_axes():
    """The modes for signals and volumes are there too."""
    for shape, mode in itertools.product([(2, 3, 9), (2, 3, 4, 5, 6)], ["area", "nearest-exact"]):
        value = torch.randn(shape)
        torch.testing.assert_close(
            interpolate.interpolate(value, scale_factor=1.3, mode=mode),
            functional.interpolate(value, scale_factor=1.3, mode=mode),
        )


def test_modes_that_exporters_have_stay():
    """A model whose interpolation exports as it is is not changed."""
    model = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample(size=3))

    assert interpolate.apply(model, {}, lambda net: net(torch.randn(1, 2, 4, 4)))[1] == []


LAYERS = {
    "plain": ({}, {}),
    "weights": ({}, {"need_weights": True}),
    "each head's": ({}, {"need_weights": True, "average_attn_weights": False}),
    "rows": ({"add_bias_kv": True, "add_zero_attn": True}, {}),
    "other sizes": ({"kdim": 6, "vdim": 5}, {}),
    "no bias": ({"bias": False}, {}),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "masks", ["none", "bool", "float", "each head", "padding", "both", "causal"]
)
@pytest.mark.parametrize("batched", [True, False])
def test_attention_is_that_of_torch(kind, masks, batched):
    """Masks of all kinds, added rows, other sizes of keys, and single sequences give torch's numbers."""
    options, arguments = LAYERS[kind]
    layer = nn.MultiheadAttention(8, 2, **options).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    batch = (3,) if batched else ()
    query = torch.randn(4, *batch, 8)
    key, value = torch.randn(5, *batch, layer.kdim), torch.randn(5, *batch, layer.vdim)
    seen = torch.ones(4, 5, dtype=torch.bool).triu(2)
    # Asked for the weights of a row that is masked whole, torch gives NaN.
    seen[1] |= not arguments
    heads = 6 if batched else 2
    given = (
        {
            "none": {},
            "bool": {"attn_mask": seen},
            "float": {"attn_mask": torch.randn(4, 5)},
            "each head": {"attn_mask": torch.randn(heads, 4, 5)},
            "padding": {
                "key_padding_mask": torch.zeros(*batch, 5).index_fill(-1, torch.tensor(4), 1).bool()
            },
            "both": {
                "attn_mask": torch.randn(4, 5),
                "key_padding_mask": torch.zeros(*batch, 5).index_fill(-1, torch.tensor(4), -1e4),
            },
            "causal": {"attn_mask": torch.ones(4, 5, dtype=torch.bool).triu(1), "is_causal": True},
        }[masks]
        | {"need_weights": False}
        | arguments
    )
    if masks == "causal" and "add_bias_kv" in options:
        # Torch refuses a mask that is not square with its hint, where the keys have more rows.
        given = given | {"is_causal": False}
    with torch.no_grad():
        wanted = layer(query, key, value, **given)

    model, paths = attention.apply(layer, {}, lambda net: net(query, key, value, **given))

    assert paths == ["(the model)"]
    with torch.no_grad():
        found = model(query, key, value, **given)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-4)
    assert (found[1] is None) == (wanted[1] is None)
    if wanted[1] is not None:
        torch.testing.assert_close(found[1], wanted[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [True, False])
def test_transformer_layers_are_named(layout):
    """Layers of torch's transformer have their attention replaced, by path."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=layout)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    value = torch.randn(3, 4, 8)
    with torch.no_grad():
        wanted = model(value)

        model, paths = attention.apply(model, {}, lambda net: net(value))

        assert paths == ["layers.0.self_attn", "layers.1.self_attn"]
        torch.testing.assert_close(model(value), wanted)


MODULES = {
    "rms_norm": nn.RMSNorm(6),
    "rms_norm, two axes": nn.RMSNorm((4, 6), eps=1e-3),
    "rms_norm, no weight": nn.RMSNorm(6, elementwise_affine=False),
    "channel_shuffle": nn.ChannelShuffle(2),
    "threshold": nn.Threshold(0.1, 3.0),
    "rrelu": nn.RReLU(0.1, 0.4),
    "celu": nn.CELU(0.7),
    "instance_norm": nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_plain_functions_are_those_of_torch(kind, dtype):
    """Each function gives torch's numbers in each type."""
    model = nn.Sequential(MODULES[kind]).to(dtype).eval()
    value = torch.randn(2, 4, 4, 6, dtype=dtype) * 3
    with torch.no_grad():
        wanted = model(value)

        model, paths = plain.apply(model, {}, lambda net: net(value))

        assert paths == ["0"]
        found = model(value)
    assert found.dtype is dtype
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linspace_is_that_of_torch(steps, dtype):
    """Both ends are exact, one value is the start."""
    found = plain.TABLE[torch.linspace](-0.3, 1.7, steps, dtype=dtype)

    torch.testing.assert_close(found, torch.linspace(-0.3, 1.7, steps, dtype=dtype))
    assert plain.TABLE[torch.linspace](0, 5, 3, dtype=torch.int64) is NotImplemented


@pytest.mark.parametrize(
    "options", [{}, {"padding": 1, "stride": 2}, {"dilation": (2, 1), "bias": True}]
)
def test_a_convolution_by_weights_of_each_sample_is_that_of_torch(options):
    """The samples of a batch are groups of one image, each with its own weights."""
    images, weights = torch.randn(1, 6, 7, 8), torch.randn(12, 2, 3, 3)
    options = options | {"bias": torch.randn(12)} if "bias" in options else options

    found = plain.TABLE[functional.conv2d](images, weights, groups=3, **options)

    torch.testing.assert_close(
        found, functional.conv2d(images, weights, groups=3, **options), rtol=1e-4, atol=1e-5
    )
    assert (
        plain.TABLE[functional.conv2d](images, weights, groups=3, padding="same") is NotImplemented
    )
    assert plain.TABLE[functional.conv2d](images[:, :2], weights) is NotImplemented


def test_values_that_are_no_numbers():
    """NaN and infinite values go through as they do in torch."""
    value = torch.tensor([float("nan"), float("inf"), float("-inf"), 0.0, 1.0])
    for layer in (nn.Threshold(0.5, 2.0), nn.CELU(), nn.RReLU()):
        wanted = layer.eval()(value)
        model, _ = plain.apply(nn.Sequential(layer), {}, lambda net: net(value))
        torch.testing.assert_close(model.eval()(value), wanted, equal_nan=True)


def test_calls_that_write_into_their_input_stay():
    """A call that writes into what it is given is not replaced by one that does not."""
    model = nn.Sequential(nn.Threshold(0.1, 1.0, inplace=True)).eval()

    assert plain.apply(model, {}, lambda net: net(torch.randn(3)))[1] == []
