"""NYUv2's classes and official split, as published; the numbers lie in nyuv2_facts.json.

1,449 images with 894 classes, 795 to train on and 654 to test on: Silberman, Hoiem, Kohli, Fergus, "Indoor
segmentation and support inference from RGBD images", ECCV 2012. 40 classes: Gupta, Arbelaez, Malik,
"Perceptual organization and recognition of indoor scenes from RGB-D images", CVPR 2013. 13 classes: Couprie,
Farabet, Najman, LeCun, "Indoor semantic segmentation using depth information", ICLR 2013. All numbers count
from 1, those of the split ascend, and 0 is void.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.layouts.base import Array
from datasets.tasks import IGNORE

Classes = Literal[13, 40]
IMAGES = 1449
_FACTS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
NAMES: dict[Classes, tuple[str, ...]] = {13: tuple(_FACTS["names13"]), 40: tuple(_FACTS["names40"])}
OFFICIAL: dict[str, tuple[int, ...]] = {split: tuple(_FACTS[split]) for split in ("train", "test")}
# From stored classes, 0..40 and 0..894, to those from 0 of the 13 or 40; (41,) and (895,) uint8.
_TO: dict[Classes, list[int]] = {13: _FACTS["map40to13"], 40: list(range(1, 41))}
FROM_40: dict[Classes, Array] = {
    n: np.array([IGNORE, *(c - 1 for c in to)], np.uint8) for n, to in _TO.items()
}
FROM_894 = {classes: table[[0, *_FACTS["map894to40"]]] for classes, table in FROM_40.items()}
