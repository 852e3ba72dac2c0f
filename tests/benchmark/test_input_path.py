"""From files to batches, no hidden label is looked at: not by packing, sampling, cropping or normalising."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import execute, plan, residence
from benchmark.feed import Feed
from benchmark.store import RunDir
from benchmark.train import Options
from datasets import labels, packed
from datasets.layouts.mtan_nyuv2 import MtanNYUv2
from tests.benchmark.test_holdout import Silent
from tests.datasets.mtan_folder import arrays, write
from tests.helpers import TASKS, tiny_protocol, tiny_split

SIX = tuple(TASKS)
SETTINGS = ["size=[32, 40]", "batch=2", "epochs=2", "width=8", "decoder_blocks=1", "encoder=small", "weights=none"]


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("setting", ["one", "random", "fraction:0.5"])
def test_batches_from_padded_frames_hold_no_trace_of_hidden_labels(
    setting: str, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residence, "_fits", lambda parts, device: not sent)
    split = replace(tiny_split(), extents=torch.tensor([[32, 64], [24, 50], [32, 40]] * 4))
    mask = labels.sample(split.ids, split.available, setting, 0)
    dirty = {}
    for t, name in enumerate(SIX):
        bad = torch.randint(0, 120, split.targets[name].shape).to(split.targets[name].dtype)
        dirty[name] = torch.where(mask[:, t].view(-1, 1, 1, 1), split.targets[name], bad)
        assert not torch.equal(dirty[name], split.targets[name])
    protocol = tiny_protocol(tasks=SIX, scales=(0.5, 2.0), scale_draw="uniform", flip=True, colour=0.3)
    feeds = [
        Feed(s, mask, TASKS, protocol, seed=3, views=2, normalisation=((0.5,) * 3, (0.2,) * 3), device="cpu")
        for s in (split, replace(split, targets=dirty))
    ]
    for step in range(feeds[0].steps):
        clean, other = (feed.batch(step) for feed in feeds)
        assert torch.equal(clean.images, other.images)
        for a, b in zip((clean, *clean.views), (other, *other.views), strict=True):
            assert torch.equal(a.images, b.images)
            assert all(torch.equal(a.targets[n], b.targets[n]) for n in SIX)


def test_a_run_from_a_store_holds_no_trace_of_hidden_labels(tmp_path: Path) -> None:
    """Two folders that differ in labels that the run may not see, from files to the record."""
    clean, dirty = write(tmp_path / "clean", 6, 3), write(tmp_path / "dirty", 6, 3)
    mask = labels.sample(torch.arange(6), torch.ones(6, 3, dtype=torch.bool), "one", 0)
    for i in range(6):
        for t, kind in enumerate(("label", "depth", "normal")):
            if not mask[i, t]:
                np.save(dirty / "train" / kind / f"{i}.npy", arrays(999 + i)[kind])
    found = []
    for folder in (clean, dirty):
        data = tmp_path / f"{folder.name}-data"
        packed.prepare(MtanNYUv2(folder), data, "nyuv2", "nyuv2-13", (32, 40), "scale")
        cells = plan.make(["nyuv2", "multi_task"], [*SETTINGS, "labels=one", "seeds=1"], data).cells
        results = tmp_path / f"{folder.name}-runs"
        loaded = execute.Data(data)
        done = execute.run_cells(cells, results, loaded, Options(), Silent(), force=False, retry_failed=False)
        assert len(done["done"]) == 1
        run = RunDir(results, cells[0].folder)
        record = run.record
        assert record is not None
        hashes = record["hashes"]
        found.append(
            (record["metrics"], record["constant"], record["curve"], hashes["labels"], hashes["crops"], hashes["init"],
             run.file("weights.pt").read_bytes(), run.file("panel.webp").read_bytes(), hashes["data"])
        )  # fmt: skip
    assert found[0][:-1] == found[1][:-1] and found[0][-1] != found[1][-1]
