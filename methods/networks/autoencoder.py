"""The auto-encoder of joint-task regularisation (Nishi et al., CVPR 2024): a SegNet over task maps.

The published code runs it sample by sample. BatchNorm over a batch of one is normalisation over the sample's
own positions, so a batch goes through in one call here with the same result.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.mapper import SampleNormReLU
from methods.networks.segnet import CONVOLUTIONS, FACTORS, Conv, unpool


def _level(a: int, b: int, convolutions: int) -> nn.Sequential:
    """3x3 convolutions, a to b and then b to b channels, each normalised over positions, then ReLU."""
    ends = [(a, b), *[(b, b)] * (convolutions - 1)]
    # nn.Identity, which once was the ReLU: weights are drawn by the number of their layer.
    return nn.Sequential(*(m for i, o in ends for m in (Conv(i, o), SampleNormReLU(o), nn.Identity())))


class StackEncoder(nn.Module):
    """Encode stacks (B, channels, H/stride, W/stride).

    To each level's feature before it is pooled, and last the latent (B, 8 w, H/32, W/32). width: w, 64 as
    published. stride: of the input, a power of two up to 16; at 2 the first pooling is left out, at 4 the
    first two, and so on.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        ends = itertools.pairwise((channels, *(width * factor for factor in FACTORS)))
        self.levels = nn.ModuleList(_level(a, b, n) for (a, b), n in zip(ends, CONVOLUTIONS, strict=True))
        self.unpooled = int(math.log2(stride))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features and the latent."""
        # With channels last, convolutions and poolings of a CPU are faster.
        features, x = [], x.contiguous(memory_format=torch.channels_last)
        for number, level in enumerate(self.levels):
            x = level(x)
            features.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True) if number >= self.unpooled else x
        return [*features, x]


class StackDecoder(nn.Module):
    """Rebuild stacks from what `StackEncoder` gives.

    Values are put where they were pooled from.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        ends = itertools.pairwise((*(width * factor for factor in FACTORS[::-1]), width))
        self.levels = nn.ModuleList(
            _level(a, b, n) for (a, b), n in zip(ends, CONVOLUTIONS[::-1], strict=True)
        )
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, channels, 1))
        self.pooled = len(FACTORS) - int(math.log2(stride))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Compute the stack (B, channels, H/stride, W/stride)."""
        x = features[-1]
        for number, (level, before) in enumerate(zip(self.levels, features[-2::-1], strict=True)):
            x = level(unpool(x, before) if number < self.pooled else x)
        rebuilt: Tensor = self.head(x)
        return rebuilt
