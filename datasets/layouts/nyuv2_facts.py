"""NYUv2's classes and official split, as published; the numbers lie in nyuv2_facts.json.

1,449 images with 894 classes, 795 to train on and 654 to test on: Silberman, Hoiem, Kohli, Fergus, "Indoor
segmentation and support inference from RGBD images", ECCV 2012. 40 classes: Gupta, Arbelaez, Malik,
"Perceptual organization and recognition of indoor scenes from RGB-D images", CVPR 2013. 13 classes: Couprie,
Farabet, Najman, LeCun, "Indoor semantic segmentation using depth information", ICLR 2013. All numbers count
from 1, and 0 is void.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.layouts.base import Array
from datasets.tasks import IGNORE

Classes = Literal[13, 40]
IMAGES = 1449


def names(classes: Classes) -> tuple[str, ...]:
    """Name the 13 or 40 classes."""
    return tuple(_facts()[f"names{classes}"])


def official_split(split: str) -> tuple[int, ...]:
    """Return the numbers, 1..1449, of "train" or "test", ascending."""
    return tuple(_facts()[split])


@functools.cache
def from_40(classes: Classes) -> Array:
    """Map stored classes 0..40 to those from 0 of `classes`; (41,) uint8."""
    to = range(1, 41) if classes == 40 else _facts()["map40to13"]
    return np.array([IGNORE, *(number - 1 for number in to)], np.uint8)


@functools.cache
def from_894(classes: Classes) -> Array:
    """Map stored classes 0..894 to those from 0 of `classes`; (895,) uint8."""
    return from_40(classes)[[0, *_facts()["map894to40"]]]


@functools.cache
def _facts() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return content
