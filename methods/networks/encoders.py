"""Encoders: a trunk with features at four strides, fused at stride 8 (DiffusionMTL, CVPR 2024)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.networks.resize import resized

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """Turn images (B, 3, H, W) into features at strides 4, 8, 16 and 32."""

    channels: tuple[int, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    learns_frozen = False  # whether a part of it learns while what is pretrained is frozen

    def pretrained(self) -> Iterator[nn.Parameter]:
        """Yield what weights are loaded for: all parameters, unless a trunk says otherwise."""
        return self.parameters()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the four features."""
        raise NotImplementedError


class Encoder(nn.Module):
    """Encode images (B, 3, H, W) to (B, width, H/8, W/8).

    `stages` gives the trunk's features; `fuse` resizes them to stride 8, concatenates and convolves them to
    `width`. `channels` are the stages' channels at strides 4, 8, 16, 32. An encoder that fuses in a way of
    its own gives its `fusion` and overrides `fuse`. frozen: whether the trunk keeps its weights and
    statistics; then its features carry no graph.
    """

    frozen = False

    def __init__(self, trunk: Trunk, width: int, fusion: nn.Module | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.channels = trunk.channels
        self.fusion = nn.Conv2d(sum(trunk.channels), width, 3, padding=1) if fusion is None else fusion

    def freeze(self) -> Encoder:
        """Keep the trunk as it is from now on, as far as it is pretrained. Returns the encoder."""
        self.frozen = True
        for parameter in self.trunk.pretrained():
            parameter.requires_grad_(False)
        self.trunk.eval()
        return self

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode; a frozen trunk stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def stages(self, images: Tensor) -> list[Tensor]:
        """Compute the trunk's features."""
        constant = self.frozen and not self.trunk.learns_frozen
        with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
            features: list[Tensor] = self.trunk(images)
        return features

    def fuse(self, stages: Sequence[Tensor]) -> Tensor:
        # Half of the first stage's size, as the published multi-scale encoders have it.
        """Fuse the stages into the shared feature."""
        size = ((stages[0].shape[-2] + 1) // 2, (stages[0].shape[-1] + 1) // 2)
        shared: Tensor = self.fusion(torch.cat([resized(stage, size) for stage in stages], 1))
        return shared

    def forward(self, images: Tensor) -> Tensor:
        """Compute the shared feature."""
        return self.fuse(self.stages(images))


class Staged(Trunk):
    """Run a stem and four layers, one a stage."""

    stem: nn.Module
    layers: nn.ModuleList

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the four features."""
        x, features = self.stem(images), []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features


class Small(Staged):
    """Stack ten thin convolutions, for demonstrations on a CPU."""

    channels = (16, 32, 48, 64)

    def __init__(self) -> None:
        super().__init__()
        widths = (16, *self.channels)
        self.stem = _unit(3, widths[0], stride=2)
        self.layers = nn.ModuleList(
            nn.Sequential(_unit(a, b, stride=2), _unit(b, b, stride=1)) for a, b in itertools.pairwise(widths)
        )


def _unit(a: int, b: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class ResNet(Staged):
    """Wrap torchvision's ResNet without its classifier."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import torchvision.models

        net: Any = torchvision.models.get_model(name, weights=None)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.layers = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        expansion = net.layer1[0].expansion
        self.channels = tuple(c * expansion for c in (64, 128, 256, 512))

    # torchvision's names of the same modules.
    PREFIXES: ClassVar[dict[str, str]] = {
        "conv1": "stem.0",
        "bn1": "stem.1",
        "layer1": "layers.0",
        "layer2": "layers.1",
        "layer3": "layers.2",
        "layer4": "layers.3",
    }
