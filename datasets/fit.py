"""A sample of any size into a frame of one size, in the compact dtypes of `Split`."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.layouts.base import Sample
from datasets.tasks import Task

Fit = Literal["scale", "pad"]
FITS = get_args(Fit)
STRETCH = 0.03  # an aspect this close to the frame's fills it; a strip of padding helps nobody


class Row(NamedTuple):
    """Hold one sample of a store.

    image: (3, H, W) uint8. targets: {task: (C, H, W)} as `datasets.base.Split` has them. extent: (h, w) of
    the content, at the top left; the rest is 0 in the image and unknown in every label.
    """

    image: Tensor
    targets: dict[str, Tensor]
    extent: tuple[int, int]


def extent(height: int, width: int, size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Compute the (h, w) that an image takes in a frame of `size`.

    "scale": as large as the frame allows, its aspect kept to 3 %. "pad": its own size, or smaller where the
    frame is.
    """
    factor = min(size[0] / height, size[1] / width)
    if fit == "pad" and factor >= 1:
        return height, width
    if max(size[0] / height, size[1] / width) <= factor * (1 + STRETCH):
        return size
    return max(1, min(size[0], round(height * factor))), max(1, min(size[1], round(width * factor)))


def fit(sample: Sample, tasks: dict[str, Task], size: tuple[int, int], how: Fit) -> Row:
    """Put a sample into a frame of `size`.

    The image is resized bilinearly with antialiasing; labels are those of the nearest pixel, because a mean
    of classes is no class and a mean of known and unknown is neither; a normal keeps its length.
    """
    height, width = sample.image.shape[:2]
    inner = extent(height, width, size, how)
    # Decoded pictures are read-only, of which torch warns.
    image = torch.from_numpy(np.require(sample.image, requirements="W")).permute(2, 0, 1)
    if inner != (height, width):
        # A channel at a time, in one buffer, as floats take four times the memory.
        plane = torch.empty(1, 1, height, width)
        small = [F.interpolate(plane.copy_(c), inner, mode="bilinear", antialias=True) for c in image]
        image = torch.cat(small)[:, 0].round_().clamp_(0, 255).to(torch.uint8)
    rows, columns = _nearest(height, inner[0]).numpy(), _nearest(width, inner[1]).numpy()
    targets = {}
    for name, task in tasks.items():
        if name in sample.labels:
            label = sample.labels[name]
            label = label if inner == (height, width) else label[rows][:, columns]
            target = task.maps.compact(torch.from_numpy(np.require(label, requirements="W")))
        else:
            target = torch.full((task.target_channels, *inner), task.ignore, dtype=task.maps.stored)
        targets[name] = _framed(target, size, task.ignore)
    return Row(_framed(image, size, 0), targets, inner)


def _framed(values: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    """Values (C, h, w) at the top left of a frame (C, H, W)."""
    if values.shape[1:] == size:
        return values.contiguous()
    frame = values.new_full((len(values), *size), fill)
    frame[:, : values.shape[1], : values.shape[2]] = values
    return frame


def _nearest(old: int, new: int) -> Tensor:
    """For each of `new` pixels along an axis, the one of `old` that its centre lies in; exact."""
    return ((2 * torch.arange(new) + 1) * old).div(2 * new, rounding_mode="floor")
