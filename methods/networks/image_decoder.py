"""The image decoder of the reconstruction loss; training only."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


class ImageDecoder(nn.Module):
    """Decode the shared feature at stride 8 to an image (B, 3, H, W).

    3x3 convolutions C -> C/2 -> C/4 -> C/8 -> 3. Each of the first three halves the channels before bilinear
    upsampling by 2. The last layer is linear, as the target is an image with zero mean. The widths follow the
    paper's C = 1024: 512, 256, 128.
    """

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        widths = [width, *(max(4, width // 2**i) for i in (1, 2, 3)), 3]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 3, H, W)."""
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if i < 3:
                # The last size is the image's own, which need not be a multiple of 8, and no size is larger:
                # the shared feature of an encoder with a decoder of its own is as large as the image.
                size = (
                    (min(x.shape[-2] * 2, self.size[0]), min(x.shape[-1] * 2, self.size[1]))
                    if i < 2
                    else self.size
                )
                x = F.interpolate(F.relu(x), size, mode="bilinear", align_corners=False)
        return x
