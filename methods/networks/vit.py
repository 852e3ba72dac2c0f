"""Plain vision transformers of timm as trunks: ViTDet's simple feature pyramid on their tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from methods.networks.encoders import Trunk

WIDTH = 256  # of each map of the pyramid
STRIDES = (4, 8, 16, 32)
TOKENS = 16  # pixels a token, whatever the patch: images are resized to fit


class ChannelNorm(nn.LayerNorm):
    """Normalise the channels of (B, C, h, w) at each position."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute it in the layout of x."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pyramid(nn.ModuleList):
    """Make maps at strides 4, 8, 16 and 32 of maps (B, d, h, w) at stride 16.

    Two, one or no transposed convolutions, or a pooling; then 1x1 and 3x3 convolutions to `WIDTH`, each with
    a norm over channels and without bias (Li, Mao, Girshick, He: Exploring Plain Vision Transformer Backbones
    for Object Detection, ECCV 2022). No top-down path and no activation between them.
    """

    def __init__(self, d: int) -> None:
        double = [nn.ConvTranspose2d(d, d // 2, 2, 2), ChannelNorm(d // 2), nn.GELU()]
        scales: list[tuple[int, list[nn.Module]]] = [
            (d // 4, [*double, nn.ConvTranspose2d(d // 2, d // 4, 2, 2)]),
            (d // 2, [nn.ConvTranspose2d(d, d // 2, 2, 2)]),
            (d, []),
            (d, [nn.MaxPool2d(2)]),
        ]
        super().__init__(
            nn.Sequential(
                *resize,
                nn.Conv2d(channels, WIDTH, 1, bias=False), ChannelNorm(WIDTH),
                nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), ChannelNorm(WIDTH),
            )
            for channels, resize in scales
        )  # fmt: skip


class ViTTrunk(Trunk):
    """Wrap a plain transformer: its last map feeds every level of the pyramid or, frozen, four maps do.

    Frozen, the maps behind blocks at a quarter, half, three quarters and the whole depth feed strides 4, 8,
    16 and 32 (for 12 blocks: 2, 5, 8, 11, as DINOv2's depth heads have them), each by the network's last
    norm; the pyramid learns all the same. Images are padded at the right and bottom to whole tokens of the
    coarsest level, and resized so that a token covers 16 pixels whatever the patch.
    """

    channels = (WIDTH,) * 4
    learns_frozen = True

    def __init__(self, net: Any, name: str, frozen: bool) -> None:
        """net: of timm, without a classifier and of dynamic size. Raises `UserError` for no plain ViT."""
        super().__init__()
        patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
        if not (patch and patch[0] == patch[1] >= 8 and hasattr(net, "forward_intermediates")):
            raise UserError(
                f"the timm model {name!r} is no plain transformer of square patches; choose another."
            )
        depth = len(net.blocks)
        self.net, self.patch, self.frozen = net, int(patch[0]), frozen
        self.taken = [math.ceil(depth * (i + 1) / 4) - 1 for i in range(4)] if frozen else [depth - 1]
        self.pyramid = Pyramid(net.embed_dim)
        self.mean, self.std = tuple(net.pretrained_cfg["mean"]), tuple(net.pretrained_cfg["std"])

    def pretrained(self) -> Iterator[nn.Parameter]:
        """Yield the transformer's parameters, not the pyramid's."""
        yield from self.net.parameters()

    def train(self, mode: bool = True) -> ViTTrunk:
        """Set the mode; a frozen transformer stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.net.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the four features, ceil(size / stride) each."""
        size = images.shape[-2:]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.net.forward_intermediates(
                self._fitted(images), indices=self.taken, norm=True, intermediates_only=True
            )
        found = [level(x) for level, x in zip(self.pyramid, maps * (4 // len(maps)), strict=True)]
        cut = [(math.ceil(size[0] / stride), math.ceil(size[1] / stride)) for stride in STRIDES]
        return [x[..., :height, :width] for x, (height, width) in zip(found, cut, strict=True)]

    def _fitted(self, images: Tensor) -> Tensor:
        height, width = (math.ceil(n / STRIDES[-1]) * STRIDES[-1] for n in images.shape[-2:])
        if (height, width) != images.shape[-2:]:
            images = F.pad(images, (0, width - images.shape[-1], 0, height - images.shape[-2]))
        if self.patch != TOKENS:
            size = [n * self.patch // TOKENS for n in (height, width)]
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return images
