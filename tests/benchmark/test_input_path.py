"""From files to batches no hidden label is looked at, and no run is trained on the slice for tuning."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute.data import Data
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress
from benchmark.execute.workers import carry_out
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan
from benchmark.spec.protocol import Protocol
from benchmark.training import batches
from benchmark.training.batches import Feed
from datasets import labels, preparing
from datasets.base import Split
from datasets.layouts.mtan import MtanNYUv2
from methods.base import ViewKind
from tests.datasets.folders import mtan_arrays as arrays
from tests.datasets.folders import write_mtan as write
from tests.helpers import TASKS, tiny_protocol, tiny_split

SIX = tuple(TASKS)
SETTINGS = ["size=[32, 40]", "batch=2", "epochs=2", "width=8", "encoder=small", "weights=none"]
CUT = (ViewKind(crop=False, colour=0.8, cutout=0.5), ViewKind(cutout=0.3))


def feed(split: Split, mask: torch.Tensor, protocol: Protocol, views: int | tuple[ViewKind, ...]) -> Feed:
    normalisation = ((0.5,) * 3, (0.2,) * 3)
    return Feed(split, mask, TASKS, protocol, seed=3, views=views, normalisation=normalisation, device="cpu")


@pytest.mark.parametrize(
    ("setting", "views", "sent"),
    [("one", 2, True), ("one", CUT, False), ("random", 2, False), ("fraction:0.5", CUT, True)],
)
def test_batches_from_padded_frames_hold_no_trace_of_hidden_labels(
    setting: str, views: int | tuple[ViewKind, ...], sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_fits", lambda parts, device: not sent)
    split = replace(tiny_split(), extents=torch.tensor([[32, 64], [24, 50], [32, 40]] * 4))
    mask = labels.sample(split.ids, split.available, setting, 0)
    dirty = {}
    for t, name in enumerate(SIX):
        bad = torch.randint(0, 120, split.targets[name].shape).to(split.targets[name].dtype)
        dirty[name] = torch.where(mask[:, t].view(-1, 1, 1, 1), split.targets[name], bad)
        assert not torch.equal(dirty[name], split.targets[name])
    protocol = tiny_protocol(tasks=SIX, scales=(0.5, 2.0), scale_draw="uniform", flip=True, colour=0.3)
    feeds = [feed(s, mask, protocol, views) for s in (split, replace(split, targets=dirty))]
    for step in range(feeds[0].steps):
        clean, other = (each.batch(step) for each in feeds)
        assert torch.equal(clean.images, other.images)
        for a, b in zip((clean, *clean.views), (other, *other.views), strict=True):
            assert torch.equal(a.images, b.images)
            assert all(torch.equal(a.targets[n], b.targets[n]) for n in SIX)
        assert [v.erased is None for v in clean.views] == [views == 2] * 2
        both = zip(clean.views, other.views, strict=True)
        assert all(v.erased is None or torch.equal(v.erased, w.erased) for v, w in both)


def test_a_number_of_views_is_as_many_crops_and_moves_no_bit_of_the_first_view() -> None:
    """Nor does any description of further views: methods see the same crops in the same order."""
    split = tiny_split()
    protocol = tiny_protocol(tasks=SIX)
    asked: tuple[int | tuple[ViewKind, ...], ...] = (2, (ViewKind(), ViewKind()), CUT)
    number, crops, cut = (feed(split, split.available, protocol, views) for views in asked)
    assert number.hashes == crops.hashes == cut.hashes
    for step in range(number.steps):
        a, b, c = (each.batch(step) for each in (number, crops, cut))
        assert torch.equal(a.images, c.images) and all(torch.equal(a.targets[n], c.targets[n]) for n in SIX)
        for one, two in zip(a.views, b.views, strict=True):
            assert torch.equal(one.images, two.images) and torch.equal(one.geometry, two.geometry)
            assert one.erased is None and two.erased is None
        assert torch.equal(a.views[1].geometry, c.views[1].geometry)
        assert all(torch.equal(a.targets[n], c.views[0].targets[n]) for n in SIX)  # crop=False


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
        preparing.prepare(MtanNYUv2(folder), data, "nyuv2", "nyuv2-13", (32, 40), "scale")
        cells = plan.make(["nyuv2", "multi_task"], [*SETTINGS, "labels=one", "seeds=1"], data).cells
        results = tmp_path / f"{folder.name}-runs"
        done = carry_out(cells, Options(results, data), Progress(cells))
        assert len(done["done"]) == 1
        run = RunDir(results, cells[0].folder)
        record = run.record
        assert record is not None
        said = [record[key] for key in ("metrics", "constant", "curve")]
        said += [record["hashes"][key] for key in ("labels", "crops", "init")]
        said += [run.file(name).read_bytes() for name in ("weights.pt", "panel.webp")]
        found.append((said, record["hashes"]["data"]))
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1]


ROOMS = ["size=[32, 64]", "train_images=20", "test_images=4", "batch=4", "epochs=1", "width=8"]


def test_the_slice_is_the_end_of_train_and_nothing_else(data_folder: Path) -> None:
    whole = plan.make(["multi_task"], ROOMS, data_folder).cells[0]
    tuned = plan.make(["multi_task"], [*ROOMS, "judge=holdout", "holdout=0.25"], data_folder).cells[0]
    data = Data(data_folder)
    train, kept, slice_ = data.split(whole, "train"), data.split(tuned, "train"), data.split(tuned, "test")
    assert kept.ids.tolist() == list(range(15)) and slice_.ids.tolist() == list(range(15, 20))
    assert torch.equal(torch.cat([kept.images, slice_.images]), train.images)
    assert len({s.fingerprint for s in (train, kept, slice_, data.split(whole, "test"))}) == 4


def test_a_slice_that_takes_everything_is_refused(data_folder: Path) -> None:
    tuned = plan.make(["multi_task"], [*ROOMS, "train_images=1", "judge=holdout"], data_folder).cells[0]
    with pytest.raises(UserError, match="sets all train images aside"):
        Data(data_folder).split(tuned, "train")
