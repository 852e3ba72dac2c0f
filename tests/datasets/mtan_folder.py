"""NYUv2 as MTAN's folder holds it, small and made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 32, 40
Arrays = dict[str, np.ndarray]


def arrays(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Arrays:
    """One sample, a tenth of its labels unknown."""
    random = np.random.default_rng(seed)
    unknown = random.random((height, width)) < 0.1
    vectors = random.normal(size=(height, width, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return {
        "image": random.random((height, width, 3)).astype(np.float32),
        "label": np.where(unknown, -1, random.integers(0, 13, (height, width))).astype(np.float32),
        "depth": np.where(unknown, 0, random.uniform(0.5, 10, (height, width))).astype(np.float32)[..., None],
        "normal": np.where(unknown[..., None], 0, vectors).astype(np.float32),
    }


def write(folder: Path, train: int = 3, val: int = 2, height: int = HEIGHT, width: int = WIDTH) -> Path:
    for split, number, first in (("train", train, 0), ("val", val, 100)):
        for i in range(number):
            for kind, array in arrays(first + i, height, width).items():
                path = folder / split / kind / f"{i}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return folder
