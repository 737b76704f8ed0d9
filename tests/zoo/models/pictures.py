"""Vision in plain PyTorch: classifiers, detectors, generators."""

from __future__ import annotations

import torch
from seeded import seeded, settled
from torch import nn
from torch.nn import functional


def conv(channels_in: int, channels_out: int, size: int = 3, **options: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=False, **options),
        nn.BatchNorm2d(channels_out),
    )


class Net(nn.Sequential):
    """Layers one after the other, over an image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = conv(channels_in, channels_out, stride=stride)
        self.second = conv(channels_out, channels_out)
        self.shortcut = conv(channels_in, channels_out, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


def resnet() -> nn.Module:
    return settled(
        seeded(
            lambda: Net(
                conv(3, 16, 7, stride=2),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, 1),
                Residual(16, 16, 1),
                Residual(16, 32, 2),
                Residual(32, 64, 2),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(64, 10),
            )
        ),
        (8, 3, 64, 64),
    )


class Inverted(nn.Module):
    """MobileNet's block: wide, depthwise, narrow; with EfficientNet's squeeze and excitation if asked."""

    def __init__(
        self, channels: int, out: int, stride: int, act: type[nn.Module], squeeze: bool
    ) -> None:
        super().__init__()
        wide = 4 * channels
        self.expand = nn.Sequential(conv(channels, wide, 1), act())
        self.depth = nn.Sequential(conv(wide, wide, stride=stride, groups=wide), act())
        self.squeeze = (
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(wide, wide // 4, 1),
                act(),
                nn.Conv2d(wide // 4, wide, 1),
                nn.Sigmoid(),
            )
            if squeeze
            else None
        )
        self.project = conv(wide, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.depth(self.expand(x))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        y = self.project(y)
        return x + y if self.residual else y


def _inverted_net(act: type[nn.Module], squeeze: bool) -> nn.Module:
    return Net(
        conv(3, 16, stride=2),
        act(),
        Inverted(16, 16, 1, act, squeeze),
        Inverted(16, 24, 2, act, squeeze),
        Inverted(24, 24, 1, act, squeeze),
        Inverted(24, 32, 2, act, squeeze),
        conv(32, 64, 1),
        act(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def mobilenet() -> nn.Module:
    return settled(seeded(lambda: _inverted_net(nn.Hardswish, False)), (8, 3, 64, 64))


def efficientnet() -> nn.Module:
    return settled(seeded(lambda: _inverted_net(nn.SiLU, True)), (8, 3, 64, 64))


class UNet(nn.Module):
    """Down and up again, with what was seen on the way down; sizes that do not halve evenly are padded."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv(3, 16), conv(16, 32), conv(32, 64)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)]
        )
        self.join = nn.ModuleList([conv(64, 32), conv(32, 16)])
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first = functional.relu(self.down[0](image))
        second = functional.relu(self.down[1](functional.max_pool2d(first, 2)))
        x = functional.relu(self.down[2](functional.max_pool2d(second, 2)))
        for up, join, skip in zip(self.up, self.join, (second, first), strict=True):
            x = up(x)
            height = skip.shape[2] - x.shape[2]
            width = skip.shape[3] - x.shape[3]
            x = functional.pad(x, [0, width, 0, height])
            x = functional.relu(join(torch.cat([skip, x], dim=1)))
        return self.head(x)


def unet() -> nn.Module:
    return settled(seeded(UNet), (4, 3, 40, 40))


class Generator(nn.Module):
    """Noise to a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(32, 32, 4, 1, 0, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.net(noise)


def gan() -> nn.Module:
    return settled(seeded(Generator), (8, 32, 1, 1))


class SuperResolution(nn.Module):
    """ESPCN: convolutions, then channels become pixels; added to a bicubic enlargement."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2),
            nn.PReLU(32),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.PReLU(32),
            nn.Conv2d(32, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        large = functional.interpolate(image, scale_factor=2, mode="bicubic", align_corners=False)
        return self.net(image) + large


def super_resolution() -> nn.Module:
    return seeded(SuperResolution)


class Detector(nn.Module):
    """One-stage detector: anchors on a grid of the image's size, the best boxes, the overlapping ones out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, stride=2),
            nn.ReLU(),
            conv(16, 32, stride=2),
            nn.ReLU(),
            conv(32, 32),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(32, 5, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.head(self.body(image))
        height, width = found.shape[2], found.shape[3]
        rows = torch.arange(height, dtype=found.dtype).view(1, height, 1) + 0.5
        columns = torch.arange(width, dtype=found.dtype).view(1, 1, width) + 0.5
        x = (columns + found[:, 0].tanh()) * 4
        y = (rows + found[:, 1].tanh()) * 4
        w, h = found[:, 2].exp() * 4, found[:, 3].exp() * 4
        boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1).flatten(1, 2)
        scores, order = found[:, 4].flatten(1).sigmoid().topk(12, dim=1)
        boxes = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
        return boxes, scores * self.alone(boxes)

    def alone(self, boxes: torch.Tensor) -> torch.Tensor:
        """Give 1 for boxes that no better one covers by half, else 0."""
        low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
        high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
        both = (high - low).clamp(min=0).prod(-1)
        area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        overlap = both / (area[:, :, None] + area[:, None, :] - both)
        return 1 - (overlap.tril(-1) > 0.5).any(-1).to(boxes.dtype)


def detector() -> nn.Module:
    return settled(seeded(Detector), (4, 3, 64, 64))


class Video(nn.Module):
    """Convolutions over space and time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(3, 16, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm3d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.net(video)


def video() -> nn.Module:
    return settled(seeded(Video), (4, 3, 6, 32, 32))


class Autoencoder(nn.Module):
    """Variational: group norms, a mean and a deviation, and noise that is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, 2, 1)
        )
        self.decode = nn.Sequential(
            nn.Conv2d(8, 16, 3, 1, 1),
            nn.InstanceNorm2d(16, affine=True),
            nn.SiLU(),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.SiLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(16, 3, 3, 1, 1),
        )

    def forward(
        self, image: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mean, deviation = self.encode(image).chunk(2, dim=1)
        hidden = mean + noise * torch.exp(0.5 * deviation)
        return self.decode(hidden), mean


def vae() -> nn.Module:
    return seeded(Autoencoder)


class Warp(nn.Module):
    """A spatial transformer: the network says how the image is turned, and it is sampled so."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            conv(1, 8, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, 6),
        )
        nn.init.normal_(self.look[-1].weight, std=0.02)
        self.look[-1].bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])
        self.net = nn.Conv2d(1, 8, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        turn = self.look(image).view(-1, 2, 3)
        grid = functional.affine_grid(turn, list(image.shape), align_corners=False)
        turned = functional.grid_sample(image, grid, align_corners=False)
        return functional.adaptive_max_pool2d(self.net(turned), 1).flatten(1)


def spatial_transformer() -> nn.Module:
    return settled(seeded(Warp), (4, 1, 32, 32))
