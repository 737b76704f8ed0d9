"""Pictures and fields that are made, and found things: by operators with sizes for parameters."""

from __future__ import annotations

import math

import torch
from seeded import seeded, settled
from torch import nn
from torch.nn import functional


class Styled(nn.Module):
    """A convolution with weights for each sample, as the groups of one image (StyleGAN2)."""

    def __init__(self, inputs: int, outputs: int, style: int, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, size, size))
        self.style = nn.Linear(style, inputs)
        self.scale = 1 / math.sqrt(inputs * size * size)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        weight = self.scale * self.weight * (1 + self.style(style)).view(batch, 1, channels, 1, 1)
        length = torch.rsqrt(weight.pow(2).sum([2, 3, 4], keepdim=True) + 1e-8)
        outputs, size = weight.shape[1], weight.shape[-1]
        weight = (weight * length).view(batch * outputs, channels, size, size)
        image = x.reshape(1, batch * channels, height, width)
        found = functional.conv2d(image, weight, padding=size // 2, groups=batch)
        return found.view(batch, outputs, height, width)


class StyleGenerator(nn.Module):
    """A picture from noise that is normalized and mapped to a style."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(nn.Linear(32, 32) for _ in range(3))
        self.start = nn.Parameter(torch.randn(1, 16, 4, 4))
        self.first, self.second = Styled(16, 16, 32), Styled(16, 16, 32)
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        style = latent * torch.rsqrt(latent.pow(2).mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            style = functional.leaky_relu(layer(style), 0.2)
        x = self.start.repeat(latent.shape[0], 1, 1, 1)
        x = functional.leaky_relu(self.first(x, style), 0.2)
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = functional.leaky_relu(self.second(x, style) + 0.1 * noise, 0.2)
        return torch.tanh(self.head(x))


def style_generator() -> nn.Module:
    return seeded(StyleGenerator)


class Block(nn.Module):
    """A residual block that is told the time."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(4, inputs), nn.GroupNorm(4, outputs)])
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(32, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        hidden = self.first(functional.silu(self.norms[0](x)))
        hidden = hidden + self.time(functional.silu(time))[:, :, None, None]
        return self.skip(x) + self.second(functional.silu(self.norms[1](hidden)))


class Cross(nn.Module):
    """Attention of a picture to a text."""

    def __init__(self, width: int, text: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, width)
        self.query = nn.Linear(width, width)
        self.key, self.value = nn.Linear(text, width), nn.Linear(text, width)

    def forward(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(x).flatten(2).transpose(1, 2)
        heads = [
            part.unflatten(-1, (4, -1)).transpose(1, 2)
            for part in (self.query(hidden), self.key(text), self.value(text))
        ]
        found = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return x + found.transpose(1, 2).reshape(x.shape)


class Denoiser(nn.Module):
    """The U-Net of a diffusion: a noisy picture, how noisy it is, a text."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.enter = nn.Conv2d(3, 16, 3, padding=1)
        self.down, self.up = nn.Conv2d(16, 32, 3, 2, 1), nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.first, self.middle, self.last = Block(16, 16), Block(32, 32), Block(32, 16)
        self.cross = Cross(32, 16)
        self.leave = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, step: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        rates = torch.exp(torch.arange(8) * -(math.log(10_000) / 7))
        angles = step.float()[:, None] * rates[None]
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        high = self.first(self.enter(x), time)
        low = self.cross(self.middle(self.down(high), time), text)
        return self.leave(self.last(torch.cat([self.up(low), high], dim=1), time))


def denoiser() -> nn.Module:
    return seeded(Denoiser)


class GridDetector(nn.Module):
    """YOLO's heads: boxes on a grid that is kept as long as pictures are of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 6, 2, 2), nn.BatchNorm2d(16), nn.SiLU(), nn.Conv2d(16, 24, 3, 2, 1),
            nn.BatchNorm2d(24), nn.SiLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU(),
        )  # fmt: skip
        self.deep = nn.Sequential(nn.Conv2d(32, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.SiLU())
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.heads = nn.ModuleList([nn.Conv2d(32, 27, 1), nn.Conv2d(96, 27, 1)])
        self.register_buffer("anchors", torch.rand(2, 3, 2) * 20 + 10)
        self.grids = [torch.empty(0), torch.empty(0)]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        high = self.stem(image)
        low = self.deep(high)
        found = []
        levels = [high, torch.cat([low, self.pool(low)], dim=1)]
        for level, features in enumerate(levels):
            batch, _, height, width = features.shape
            x = self.heads[level](features).view(batch, 3, 9, height, width).permute(0, 1, 3, 4, 2)
            if self.grids[level].shape[:2] != x.shape[2:4]:
                rows, columns = torch.meshgrid(
                    torch.arange(height), torch.arange(width), indexing="ij"
                )
                self.grids[level] = torch.stack([columns, rows], dim=-1).float()
            place, size, scores = x.sigmoid().split((2, 2, 5), dim=-1)
            place = (place * 2 - 0.5 + self.grids[level]) * 8 * 2**level
            size = (size * 2) ** 2 * self.anchors[level].view(1, 3, 1, 1, 2)
            found.append(torch.cat([place, size, scores], -1).reshape(batch, -1, 9))
        return torch.cat(found, dim=1)


def grid_detector() -> nn.Module:
    return settled(seeded(GridDetector), (4, 3, 64, 64))


class Spectral(nn.Module):
    """A product of the lowest frequencies with complex weights."""

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.rand(width, width, modes, dtype=torch.cfloat) / width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x)
        found = torch.zeros_like(spectrum)
        low = spectrum[:, :, : self.modes]
        found[:, :, : self.modes] = torch.einsum("bix,iox->box", low, self.weight)
        return torch.fft.irfft(found, n=x.shape[-1])


class FourierOperator(nn.Module):
    """A field, from another one, at any resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(2, 16), nn.Linear(16, 1)
        self.spectral = nn.ModuleList(Spectral(16, 8) for _ in range(2))
        self.local = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(2))

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        place = torch.linspace(0, 1, field.shape[1]).expand(field.shape[0], -1)
        x = self.enter(torch.stack([field, place], dim=-1)).transpose(1, 2)
        for spectral, local in zip(self.spectral, self.local, strict=True):
            x = functional.gelu(spectral(x) + local(x))
        return self.leave(x.transpose(1, 2)).squeeze(-1)


def fourier_operator() -> nn.Module:
    return seeded(FourierOperator)
