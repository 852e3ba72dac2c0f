"""SegNet as MTAN splits it (Liu et al., CVPR 2019), the network of MTPSL and JTR on NYUv2.

A VGG-like encoder, and a decoder that puts every value back where it was pooled from. Trained from scratch on
images in [0, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.encoders import Encoder, Trunk

FACTORS = (1, 2, 4, 8, 8)  # filters of the five levels over the width: 64, 128, 256, 512, 512 as published
CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each level, in the encoder and in the decoder


class Conv(nn.Conv2d):
    """Convolve 3x3, drawn as MTAN draws it: Xavier's normal, biases 0."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b, 3, padding=1)

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def _level(a: int, b: int, convolutions: int) -> nn.Sequential:
    """The first convolution goes from a to b channels, the others keep b; each with BatchNorm and ReLU."""
    pairs = [(a, b), *[(b, b)] * (convolutions - 1)]
    return nn.Sequential(
        *(m for i, o in pairs for m in (Conv(i, o), nn.BatchNorm2d(o), nn.ReLU(inplace=True)))
    )


def _filters(width: int) -> tuple[int, ...]:
    return tuple(width * factor for factor in FACTORS)


class SegNetTrunk(Trunk):
    """Turn images (B, 3, H, W) into six features.

    Of each level before it is pooled, at strides 1, 2, 4, 8, 16, and the last pooled.
    """

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, width: int) -> None:
        super().__init__()
        filters = _filters(width)
        self.channels = (*filters, filters[-1])
        ends = itertools.pairwise((3, *filters))
        self.levels = nn.ModuleList(_level(a, b, n) for (a, b), n in zip(ends, CONVOLUTIONS, strict=True))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the six features."""
        x, features = images, []
        for level in self.levels:
            features.append(level(x))
            x = F.max_pool2d(features[-1], 2, ceil_mode=True)
        return [*features, x]


class SegNetDecoder(nn.Module):
    """Decode `SegNetTrunk`'s six features to (B, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        filters = _filters(width)
        ends = itertools.pairwise((*filters[::-1], width))
        self.levels = nn.ModuleList(
            _level(a, b, n) for (a, b), n in zip(ends, CONVOLUTIONS[::-1], strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute the shared feature."""
        x = features[-1]
        for level, before in zip(self.levels, features[-2::-1], strict=True):
            x = level(unpool(x, before))
        return x


def unpool(x: Tensor, before: Tensor) -> Tensor:
    """Put pooled x where the maxima of 2x2 windows of `before` lie.

    x: (B, C, ceil(H/2), ceil(W/2)); before: (B, C, H, W), whose layout the result has; 0 elsewhere. Finding
    the places anew costs a few per cent of a forward pass and keeps the features plain tensors. torch's own
    max_unpool2d counts as not deterministic, on a CPU too; a scatter to distinct places is deterministic.
    """
    _, places = F.max_pool2d(before.detach(), 2, ceil_mode=True, return_indices=True)
    empty = x.new_zeros(*before.shape[:2], before[0, 0].numel())
    unpooled = empty.scatter_(2, places.flatten(2), x.flatten(2)).view(before.shape)
    last = before.is_contiguous(memory_format=torch.channels_last) and not before.is_contiguous()
    return unpooled.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


class SegNet(Encoder):
    """Encode and decode images to (B, width, H, W): stride 1, not 8.

    `stages` gives `SegNetTrunk`'s six features, the last of which is the bottleneck at stride 32; `fuse` is
    the decoder. With width 64 and decoders of no blocks, the network of `multi_task` is the published one.
    """

    def __init__(self, width: int) -> None:
        super().__init__(SegNetTrunk(width), width, SegNetDecoder(width))

    def fuse(self, stages: Sequence[Tensor]) -> Tensor:
        """Decode the stages."""
        shared: Tensor = self.fusion(stages)
        return shared
