"""Task decoders and heads, as in DiffusionMTL (CVPR 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.resize import resized


class Block(nn.Module):
    """Add two 3x3 convolutions to what goes in (ResNet's basic block)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same shape."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


class Decoder(nn.Sequential):
    """Decode the shared feature (B, C, h, w) to a task's, by blocks.

    Without blocks one 3x3 convolution, for an encoder that decodes itself: with the head, SegNet's published
    two layers a task.
    """

    def __init__(self, width: int, blocks: int) -> None:
        layers: list[nn.Module] = [Block(width) for _ in range(blocks)]
        super().__init__(*(layers or [nn.Conv2d(width, width, 3, padding=1)]))


class Head(nn.Module):
    """Predict (B, channels, H, W): a 1x1 convolution, then bilinear."""

    def __init__(self, width: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels, 1)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, channels, H, W)."""
        return upsampled(self.conv(x), self.size)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) to (B, C, H, W), bilinear, in float32 or better.

    The gradient sums many pixels of the large map into one of the small, which bfloat16 would round at each
    addition. Laid out by channels, as losses read it.
    """
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32)).contiguous()
    if wide.shape[-2:] == size:  # an encoder that decodes itself; torch would compute the same at some cost
        return wide
    return resized(wide, size)
