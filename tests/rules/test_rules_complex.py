"""Complex numbers as pairs of real ones: torch's numbers in Python, and in graphs of every opset at every size."""

from __future__ import annotations

import io
import warnings

import onnx
import pytest
import torch
from torch import nn
from translating import Function, check, make

from onnxbuild.errors import ExportError
from onnxbuild.rules.complex_pairs import run as rule

pytestmark = pytest.mark.e2e

WINDOW = torch.hann_window(8)
WEIGHT = torch.randn(2, 3, 2, dtype=torch.cfloat, generator=torch.Generator().manual_seed(3))
TURNS = torch.polar(torch.ones(16, 2), torch.arange(32.0).reshape(16, 2))
fft = torch.fft


def spectrum(x, **options):
    return torch.stft(x, 8, 4, return_complex=True, **options)


def operator(x):
    """What a Fourier neural operator does: a product of the lowest frequencies with complex weights."""
    found = fft.rfft(x.transpose(1, 2))
    result = torch.zeros(x.shape[0], 3, found.shape[-1], dtype=torch.cfloat)
    result[:, :, :2] = torch.stack(
        [(found[:, :, None, at] * WEIGHT[None, :, :, at]).sum(1) for at in range(2)], -1
    )
    return fft.irfft(result, n=x.shape[1])


def rotated(x):
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * TURNS[: x.shape[1]]).flatten(2).type_as(x)


def autocorrelated(x):
    a, b = fft.rfft(x, dim=1), fft.rfft(x * x, dim=1)
    return fft.irfft(a * torch.conj(b), n=x.shape[1], dim=1)


ROW, MATRIX = ["b", "h", 4], ["b", "h", "w"]
CASES = {
    "fnet": (lambda x: fft.fft(fft.fft(x, dim=-1), dim=-2).real, MATRIX),
    "fft2": (lambda x: fft.fft2(x, norm="ortho").abs(), MATRIX),
    "ifft": (lambda x: fft.ifft(fft.fft(x, n=5, dim=1, norm="forward"), n=20, dim=1).imag, MATRIX),
    "fftn": (lambda x: fft.ifftn(fft.fftn(x, dim=(0, 2)) ** 2, dim=(0, 2)).real, MATRIX),
    "irfft": (lambda x: fft.irfft(fft.rfft(x, dim=1), dim=1), MATRIX),
    "irfft_n": (lambda x: fft.irfft(fft.rfft(x, n=13, dim=1, norm="ortho"), 9, 1, "forward"), MATRIX),
    "irfftn": (lambda x: fft.irfftn(fft.rfftn(x, dim=(1, 2)), s=x.shape[1:], dim=(1, 2)), MATRIX),
    "hfft": (lambda x: fft.hfft(fft.ihfft(x) * (1 + 2j), 7, norm="ortho") + fft.hfft(x, 7), MATRIX),
    "hfft2": (lambda x: fft.hfft2(fft.ihfft2(x, norm="forward") * 1j, (6, 7), (1, 2), "backward"), MATRIX),
    "irfft2": (lambda x: fft.irfft2(fft.rfft2(x, s=(6, 7)) * 1j, s=(6, 7)), MATRIX),
    "autocorrelation": (autocorrelated, MATRIX),
    "angle": (lambda x: fft.rfft(x, dim=1).angle().cos(), MATRIX),
    "polar": (lambda x: torch.angle(torch.polar(x.abs(), x) * 2), MATRIX),
    "stft": (lambda x: spectrum(x.flatten(1), window=WINDOW).abs(), ["b", 20, "w"]),
    "stft_all": (
        lambda x: torch.view_as_real(spectrum(x, win_length=6, window=WINDOW[:6], normalized=True, onesided=False, center=False)),
        ["b", 30],
    ),
    "istft": (lambda x: torch.istft(spectrum(x.flatten(1), window=WINDOW), 8, 4, window=WINDOW), ["b", 20, "w"]),
    "functions": (
        lambda x: (torch.exp(1j * x) / (x + 2j)).abs() + torch.complex(x, x * x).sqrt().imag
        + torch.log(torch.complex(x, x.abs() + 1)).imag, MATRIX,
    ),
}  # fmt: skip

LATER = {
    "operator": (operator, ["b", "h", 2]),
    "rotated": (rotated, ROW),
    "shifted": (lambda x: fft.fftshift(fft.fft(x, dim=1), dim=1).real, MATRIX),
    "istft_length": (
        lambda x: torch.istft(spectrum(x.flatten(1), window=WINDOW), 8, 4, window=WINDOW, length=x.shape[2] * 19),
        ["b", 20, "w"],
    ),
    "frequencies": (lambda x: x * fft.fftfreq(x.shape[1], 0.5) * fft.rfftfreq(10).sum(), ["b", "h"]),
}  # fmt: skip
"""What slices at places that vary, of which opset 9 has no translation."""


def replaced(function, shapes):
    model = Function(function).eval()
    values = make(shapes, {"b": 5, "h": 6, "w": 7}, 0)
    model, places = rule.apply(model, {"optional": False}, lambda net: net(*values))
    assert places
    return model, values


def exported(function, shapes, exporter, opset):
    model, values = replaced(function, shapes)
    axes = [{axis: dim for axis, dim in enumerate(s) if isinstance(dim, str)} for s in shapes]
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            dims = tuple(dict.fromkeys(item, torch.export.Dim.DYNAMIC) for item in axes)
            made = torch.onnx.export(
                torch.export.export(model, values, dynamic_shapes=(dims,)), (), dynamo=True,
                opset_version=opset, input_names=["input_0"], verbose=False,
            )  # fmt: skip
            return made.model_proto
        torch.onnx.export(
            model, values, file, dynamo=False, opset_version=opset, input_names=["input_0"],
            dynamic_axes={"input_0": axes[0]},
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("name", CASES)
def test_transforms_are_right_from_opset_9(name):
    """Where it was traced and elsewhere, the graph gives torch's numbers."""
    function, shape = CASES[name]

    check(exported(function, [shape], "torchscript", 9), function, [shape])


@pytest.mark.parametrize("name", LATER)
def test_parts_and_weights_are_right_from_opset_11(name):
    """Slices, complex weights and tables of rotations as models write them."""
    function, shape = LATER[name]

    check(exported(function, [shape], "torchscript", 11), function, [shape])


def test_dynamo_takes_the_same_pairs():
    """One graph with transforms there and back, and angles."""

    def function(x):
        return autocorrelated(x), CASES["polar"][0](x)

    shape = ["b", "h", 6]
    check(exported(function, [shape], "dynamo", 18), function, [shape])


KNOWN = {
    "sums": lambda z: (z + 1, 1 - z, z - 2j, z.sum(-1), z.mean(0), -z, z + z.real),
    "products": lambda z: (z * z, z * 2.0, z / z.abs(), z / (z + 3), 1 / z, z @ z.mT, z**3, z.square()),
    "shapes": lambda z: (
        z.reshape(-1), z[:, 1:], z.T, z.mH, z.H, z.unsqueeze(0), *z.unbind(0), *z.chunk(2, 1), torch.cat([z, z.real]),
        torch.stack([z, z]), z.flatten().roll(1), torch.nn.functional.pad(z, (1, 2)), z.expand(2, *z.shape),
    ),
    "functions": lambda z: (z.exp(), z.log(), z.sqrt(), z.sin(), z.cos(), torch.sgn(z), z.conj(), z.reciprocal()),
    "reals": lambda z: (z.abs(), z.angle(), z.real, z.imag, torch.view_as_real(z)),
    "choices": lambda z: (
        torch.where(z.real > 0, z, 0), z.masked_fill(z.imag > 0, 1 + 1j), z == z.conj(), torch.zeros_like(z),
        torch.ones_like(z),
    ),
    "einsum": lambda z: (
        torch.einsum("ij,kj->ik", z, z), torch.einsum("ij->j", z), nn.functional.linear(z, z, z[:, 0]),
    ),
    "hermitian": lambda z: (torch.view_as_real(z * torch.tensor(2.0)), z.to(torch.complex128), z.clone().mul_(z)),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_functions_of_complex_numbers_are_those_of_torch(name):
    """Whatever a function gives for a complex tensor, it gives for a pair: numbers, shape and type."""
    function = KNOWN[name]

    def real(x):
        return [
            torch.view_as_real(item.resolve_conj()) if item.is_complex() else item
            for item in function(torch.complex(x, x.flip(-1) * 0.7 + 0.1))
        ]

    value = torch.randn(3, 4)
    if name == "einsum":
        value = torch.randn(4, 4)
    model = Function(real).eval()
    wanted = model(value)

    model, _ = rule.apply(model, {"optional": False}, lambda net: net(value))

    torch.testing.assert_close(model(value), wanted, rtol=1e-4, atol=1e-5)


def test_a_negative_number_of_a_real_transform_has_the_angle_pi():
    """The middle and the first frequency of real values are real: their angle is never minus π."""
    value = torch.randn(20, 16)
    model, _ = rule.apply(
        Function(lambda x: fft.rfft(x).angle()), {"optional": False}, lambda net: net(value)
    )

    torch.testing.assert_close(model(value), fft.rfft(value).angle(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transforms_keep_the_precision_of_their_type(dtype):
    """Angles are reduced in whole numbers, so that long transforms are as exact as short ones."""
    value = torch.randn(2, 3000, dtype=dtype)
    wanted = fft.rfft(value).abs()

    model, _ = rule.apply(
        Function(lambda x: fft.rfft(x).abs()), {"optional": False}, lambda net: net(value)
    )

    error = (model(value) - wanted).abs().max() / wanted.max()
    assert error < 20 * torch.finfo(dtype).eps


NET = """
    import torch
    from torch import nn

    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(3, 4, dtype=torch.cfloat))
            self.register_buffer("turn", torch.polar(torch.ones(4), torch.arange(4.0)))
            self.table = torch.polar(torch.ones(32, 1), torch.arange(32.0)[:, None])

        def forward(self, x):
            z = torch.fft.rfft(x, dim=-1)[..., None] * self.weight * self.turn
            z = z.sum(-2) * self.table[: x.shape[1]]
            return torch.fft.irfft(z, n=6, dim=-1)

    class Unknown(nn.Module):
        def forward(self, x):
            return torch.matrix_exp(torch.complex(x, x)).real
"""

X = {"x": {"shape": ["batch", "length", 4]}}


@pytest.mark.parametrize("opset", [13, 18])
def test_a_model_with_complex_weights_exports_without_being_asked(bench, opset):
    """The exporter fails, the rule steps in; weights become pairs, and the notes name them."""
    bench.write("net.py", NET)

    result = bench.export("net.py:Weighed", X, exporter="torchscript", opset=opset)

    assert result.worst() < 1e-5
    (fired,) = [item for item in result.notes["rules"] if item["rule"] == "complex_pairs"]
    assert fired["where"][:2] == ["(the model).weight", "(the model).turn"]
    assert fired["weights"] == ["weight", "turn"]
    assert result.notes["weights"]["replaced"] == ["weight", "turn"]


def test_what_is_not_known_of_complex_numbers_is_said(bench):
    """Asked for, the rule names the function; by itself, it leaves the model and the first message."""
    bench.write("net.py", NET)
    square = {"x": {"shape": ["batch", 4, 4]}}
    asked = {"name": "pairs", "level": "module", "run": "onnxbuild.rules.complex_pairs.run:apply", "options": {}}  # fmt: skip

    with pytest.raises(ExportError, match=r"matrix_exp is for complex numbers.*net\.py:2"):
        bench.export("net.py:Unknown", square, replace=[asked], exporter="torchscript")
    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Unknown", square, exporter="torchscript")
    assert "pairs of real ones" not in str(caught.value)
