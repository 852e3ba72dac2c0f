"""The same real images in NYUv2's two folder layouts: their fingerprints, and that they agree."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.layouts.base import Source
from datasets.layouts.mtan import MtanNYUv2
from datasets.layouts.nyud_mt import NyudMt
from datasets.packing import pack
from tests.conftest import ROOT

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))
ABSENT = "no real images: put the NYUv2 development data at ../shared/data or set BENCH_SHARED_DATA"
pytestmark = pytest.mark.skipif(not (SHARED / "expand.py").is_file(), reason=ABSENT)
# 8 bits hold a component to 1/255, thus a direction to the angle that an error of that in all three can make.
EIGHT_BITS = math.degrees(math.asin(math.sqrt(3) / 255))  # 0.39 degrees
# Of the first 12 samples: other pixels or labels would need another variant, as runs are on record.
PINNED = {
    ("nyuv2", "mtan"): ("cf7b4d7c8a8a7bc6", "25cc0006677e4aac"),
    ("nyuv2", "nyud_mt"): ("7d3c1b3e173ba491", "493c7859be80dc8d"),
    ("nyuv2_144x192", "mtan"): ("7329b19e3a3df963", "8aba617855127534"),
    ("nyuv2_144x192", "nyud_mt"): ("20425a0431f0c4de", "ad30273323b13ca4"),
}


@pytest.mark.parametrize("source", ["nyuv2", "nyuv2_144x192"])
def test_layouts_agree_and_fingerprints_do_not_move(source: str, tmp_path: Path) -> None:
    for layout in ("mtan", "nyud_mt"):
        options = ["--layout", layout, "--out", str(tmp_path / layout), "--limit", "12"]
        command = [sys.executable, str(SHARED / "expand.py"), "--source", str(SHARED / source), *options]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    mtan, nyud_mt = MtanNYUv2(tmp_path / "mtan"), NyudMt(tmp_path / "nyud_mt", 40)
    readers: dict[str, Source] = {"mtan": mtan, "nyud_mt": nyud_mt}
    size = (288, 384) if source == "nyuv2" else (144, 192)
    for layout, read in readers.items():
        packed = (pack(read, split, read.tasks, size, "scale") for split in ("train", "test"))
        assert tuple(part.split(read.tasks, None).fingerprint for part in packed) == PINNED[source, layout]
    worst, of_13 = 0.0, NyudMt(tmp_path / "nyud_mt", 13)
    for i in range(6):
        a, b = mtan.read("train", i), of_13.read("train", i)
        assert np.array_equal(a.image, b.image)
        assert all(np.array_equal(a.labels[task], b.labels[task]) for task in ("semseg", "depth"))
        n, m = a.labels["normals"], b.labels["normals"]
        known = n.any(-1)
        assert np.array_equal(known, m.any(-1)) and 0 < known.mean() < 1
        apart = np.linalg.norm(n[known].astype(float) - m[known], axis=-1)
        worst = max(worst, float(np.degrees(2 * np.arcsin(apart / 2)).max()))
    assert 0.1 < worst <= EIGHT_BITS + 1e-3
