"""The same real images in all three layouts of NYUv2 give the same classes, depth and normals, within what
each can hold.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.layouts.base import Sample, Source
from datasets.layouts.mtan import MtanNYUv2
from datasets.layouts.nyu_mat import NyuMat
from datasets.layouts.nyud_mt import NyudMt
from datasets.packing import pack
from tests.conftest import ROOT
from tests.datasets.folders import FACTS, FILE, write_mat

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))
COUNT, SIZE, INSIDE = 6, (288, 384), (426, 560)
# 8 bits hold a component to 1/255, thus a direction to the angle that an error of that in all three can make.
EIGHT_BITS = math.degrees(math.asin(math.sqrt(3) / 255))  # 0.39 degrees

pytestmark = pytest.mark.skipif(
    not (SHARED / "expand.py").is_file(),
    reason="no real images: put the NYUv2 development data at ../shared/data or name its folder in "
    "BENCH_SHARED_DATA",
)


def nearest(old: int, new: int) -> np.ndarray:
    """For each of `new` pixels along an axis, the one of `old` that its centre lies in."""
    return np.floor((np.arange(new) + 0.5) * old / new).astype(int)


def resampled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (nearest(old, new) for old, new in zip(values.shape[:2], size, strict=True))
    return values[rows][:, columns]


def framed(values: np.ndarray, border: int) -> np.ndarray:
    """A map of 288x384 as large as what lies inside the official file's white border, with such a border
    around.
    """
    whole = np.full((480, 640, *values.shape[2:]), border, values.dtype)
    whole[45:471, 41:601] = resampled(values, INSIDE)
    return whole


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    pytest.importorskip("h5py", reason="the official .mat is read with h5py, of the extra `data`")
    folder = tmp_path_factory.mktemp("nyuv2")
    for layout in ("mtan", "nyud_mt"):
        options = ["--layout", layout, "--out", str(folder / layout), "--limit", str(COUNT)]
        command = [sys.executable, str(SHARED / "expand.py"), *options]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    # The official file: of each of 40 classes, the last of the 894 that belong to it.
    last = {stored: number for number, stored in enumerate(FACTS["map894to40"], 1)}
    to_894 = np.array([0] + [last[stored] for stored in range(1, 41)])
    expanded, samples = NyudMt(folder / "nyud_mt", 40), {}
    for split in ("train", "test"):
        for i, name in enumerate(expanded.names(split)):
            sample = expanded.read(split, i)
            classes = sample.labels["semseg"].astype(np.uint8) + np.uint8(1)  # 255 void becomes 0
            samples[int(name)] = {
                "image": framed(sample.image, 255),
                "depth": framed(sample.labels["depth"], 0),
                "label": framed(to_894[classes], 0),
            }
    write_mat(folder / FILE, samples)
    return {
        "mtan": MtanNYUv2(folder / "mtan"),
        "nyud_mt": NyudMt(folder / "nyud_mt", 13),
        "mat": NyuMat(folder / FILE, 13, derive_normals=False),
    }


def read(source: Source, split: str, i: int) -> Sample:
    """A sample at 288x384."""
    sample = source.read(split, i)
    assert sample.image.shape[:2] == (INSIDE if source.layout == "mat" else SIZE)
    return Sample(
        resampled(sample.image, SIZE), {name: resampled(label, SIZE) for name, label in sample.labels.items()}
    )


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    apart = np.linalg.norm(a.astype(float) - b.astype(float), axis=-1)
    return np.degrees(2 * np.arcsin(np.clip(apart / 2, 0, 1)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_samples_agree(sources, split):
    assert sources["mtan"].variant == sources["nyud_mt"].variant == "derived-normals"
    numbers = tuple(f"{number:04}" for number in FACTS[split][:COUNT])
    assert sources["nyud_mt"].names(split) == sources["mat"].names(split)[:COUNT] == numbers
    assert len(sources["mtan"].names(split)) == COUNT
    void = unknown = worst = 0.0
    for i in range(COUNT):
        mtan, nyud_mt, mat = (read(source, split, i) for source in sources.values())
        for other in (nyud_mt, mat):
            assert np.array_equal(mtan.image, other.image)
            assert np.array_equal(mtan.labels["semseg"], other.labels["semseg"])
            assert np.array_equal(mtan.labels["depth"], other.labels["depth"])  # float32, bit by bit
        n, m = mtan.labels["normals"], nyud_mt.labels["normals"]
        known = n.any(-1)
        assert np.array_equal(known, m.any(-1))
        worst = max(worst, float(degrees(n[known], m[known]).max()))
        void += float((mtan.labels["semseg"] == 255).mean()) / COUNT
        unknown += float((~known).mean()) / COUNT
        assert len(np.unique(mtan.labels["semseg"])) > 2 and 0.5 < np.median(mtan.labels["depth"]) < 8
    assert 0 < void < 0.5 and 0 < unknown < 0.5
    assert 0.1 < worst <= EIGHT_BITS + 1e-3


# Of the first 12 samples: other pixels or labels would need another variant, as runs are on record.
PINNED = {
    ("nyuv2", "mtan"): ("cf7b4d7c8a8a7bc6", "25cc0006677e4aac"),
    ("nyuv2", "nyud_mt"): ("7d3c1b3e173ba491", "493c7859be80dc8d"),
    ("nyuv2_144x192", "mtan"): ("7329b19e3a3df963", "8aba617855127534"),
    ("nyuv2_144x192", "nyud_mt"): ("20425a0431f0c4de", "ad30273323b13ca4"),
}


@pytest.mark.parametrize(("source", "layout"), PINNED)
def test_fingerprints_do_not_move(source: str, layout: str, tmp_path: Path) -> None:
    options = ["--source", str(SHARED / source), "--layout", layout, "--out", str(tmp_path), "--limit", "12"]
    subprocess.run(
        [sys.executable, str(SHARED / "expand.py"), *options], check=True, capture_output=True, timeout=120
    )
    read: Source = MtanNYUv2(tmp_path) if layout == "mtan" else NyudMt(tmp_path, 40)
    size = SIZE if source == "nyuv2" else (144, 192)
    packed = [
        pack(read, split, read.tasks, size, "scale").split(read.tasks, None) for split in ("train", "test")
    ]
    assert tuple(split.fingerprint for split in packed) == PINNED[source, layout]
