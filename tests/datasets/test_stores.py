"""Packed stores: what they hold, which data a name means, and what becomes of padding."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute.data import Data
from benchmark.spec import plan, registry
from benchmark.training.batches import Feed
from benchmark.training.evaluate import TestSet
from datasets import labels, packed, packing
from datasets.nyuv2 import NYUv2
from datasets.packing import narrowed, pack
from datasets.published import import_file
from tests.datasets.folders import write_mtan
from tests.datasets.memory import SIZE, TASKS, Memory, made, prepare
from tests.helpers import TASKS as TINY_TASKS
from tests.helpers import THREE, tiny_protocol, tiny_split


def test_a_store_holds_what_the_source_gave(tmp_path: Path) -> None:
    store = made(tmp_path)
    assert packed.find(tmp_path, "made-up")[0].folder == store.folder == tmp_path / "made-up-1" / "32x40"
    for name in packed.SPLITS:
        split, source = store.arrays(name).split(TASKS, None), Memory()
        assert len(split) == split.total == len(source.names(name)) and split.names == source.names(name)
        for i in range(len(split)):
            sample, (h, w) = source.read(name, i), source.sizes[i % 4]
            inner = (32, 20) if h > SIZE[0] else (h, w)  # the one image that does not fit is scaled down
            assert split.extents is not None and tuple(split.extents[i].tolist()) == inner
            assert not split.images[i, :, inner[0] :].any() and not split.images[i, :, :, inner[1] :].any()
            if inner == (h, w):
                assert np.array_equal(split.images[i, :, :h, :w].permute(1, 2, 0), sample.image)
            # The nearest source pixel: the one that the centre of a pixel lies in.
            rows = [int((y + 0.5) * h / inner[0]) for y in range(inner[0])]
            columns = [int((x + 0.5) * w / inner[1]) for x in range(inner[1])]
            for t, (task, kind) in enumerate(TASKS.items()):
                found = split.targets[task][i].double().permute(1, 2, 0).numpy()
                assert bool(split.available[i, t]) == (task in sample.labels)
                wanted = np.full((*SIZE, kind.target_channels), float(kind.ignore))
                if task in sample.labels:
                    nearest = sample.labels[task][rows][:, columns]
                    wanted[: inner[0], : inner[1]] = nearest.reshape(*inner, -1)
                off = {"depth": 9.9 * 2**-11, "normals": 0.5 / 127 + 1e-6}.get(kind.kind, 0)
                assert np.abs(found / (127 if kind.kind == "normals" else 1) - wanted).max() <= off
                assert np.array_equal((found != 0).any(-1), (wanted != 0).any(-1)), "known stays known"


def test_memory_and_disk_and_a_part_give_the_same_samples(tmp_path: Path) -> None:
    source = Memory()
    store = made(tmp_path, source)
    whole = store.arrays("train")
    stored, read = whole.split(TASKS, 3), pack(source, "train", TASKS, SIZE, "pad", limit=3).split(TASKS, 3)
    assert stored.fingerprint == read.fingerprint and len(stored) == 3 and stored.total == 5
    assert torch.equal(stored.images, read.images) and torch.equal(stored.available, read.available)
    for name, task in TASKS.items():
        assert torch.equal(task.maps.widen(stored.targets[name]), task.maps.widen(read.targets[name]))
    split = whole.split(TASKS, None)
    part = narrowed(split, 3, 5)
    assert part.ids.tolist() == [3, 4] and part.names == split.names[3:]
    assert len({part.fingerprint, split.fingerprint, stored.fingerprint}) == 3
    assert part.images.data_ptr() == split.images[3:].data_ptr(), "a view"
    assert part.extents is not None and torch.equal(part.extents, split.extents[3:])
    assert torch.equal(part.targets["depth"], split.targets["depth"][3:])
    split.images.zero_()
    split.targets["depth"].fill_(3)
    assert store.verify() == [], "nothing that a run does changes a store"


def test_the_fingerprint_is_that_of_the_content_and_availability_is_per_image(mtan: Path) -> None:
    read = NYUv2(mtan).split("train", SIZE)
    first, ids = read.fingerprint, [0, 1, 2]
    assert (
        read.names == tuple(f"train/{i}" for i in ids) and read.ids.tolist() == ids and read.extents is None
    )
    assert NYUv2(mtan).split("train", (64, 80)).fingerprint != first
    for kind, value in {"image": 0.123, "label": 12.0, "depth": 1.25, "normal": (0, 0, 1)}.items():
        path = mtan / "train" / kind / "2.npy"
        before = np.load(path)
        after = before.copy()
        after[5, 5] = value
        np.save(path, after)
        assert (after != before).any() and NYUv2(mtan).split("train", SIZE).fingerprint != first, kind
        np.save(path, before)
    assert NYUv2(mtan).split("train", SIZE).fingerprint == first
    np.save(mtan / "train/label/0.npy", np.full(SIZE, -1.0))
    np.save(mtan / "train/depth/1.npy", np.zeros((*SIZE, 1)))
    np.save(mtan / "train/normal/2.npy", np.zeros((*SIZE, 3)))
    available = NYUv2(mtan).split("train", SIZE).available
    assert available.tolist() == [[False, True, True], [True, False, True], [True, True, False]]


def test_images_are_resized_without_aliasing(tmp_path: Path) -> None:
    """Stripes finer than the new pixels turn grey; a smooth image stays what it is."""
    write_mtan(tmp_path, height=96, width=128)
    stripes = np.zeros((96, 128, 3), np.float32)
    stripes[:, 1::4] = stripes[:, 2::4] = 1  # what a new pixel's centre lies between
    ramp = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32)[None, :, None], (96, 128, 3))
    np.save(tmp_path / "train/image/0.npy", stripes)
    np.save(tmp_path / "train/image/1.npy", ramp)
    images = NYUv2(tmp_path).split("train", (24, 32)).images.double() / 255
    assert (images[0, :, :, 1:-1] - 0.5).abs().max() < 0.05
    centres = torch.from_numpy(ramp[:24].astype(np.float64)).view(24, 32, 4, 3).mean(2).permute(2, 0, 1)
    assert (images[1] - centres)[:, :, 1:-1].abs().max() < 0.01


def test_a_variant_is_part_of_the_name(mtan: Path, tmp_path: Path) -> None:
    def variant(name: str, place: Path) -> str:
        return registry.open_dataset(name, place).variant

    (mtan / "SOURCE.json").write_text(json.dumps({"dataset": "nyuv2", "variant": "derived-normals"}))
    data, own = tmp_path / "data", "nyuv2-13-derived-normals"
    prepare(mtan, data, own)
    assert {variant(name, place) for name in ("nyuv2", "nyuv2-13") for place in (mtan, data)} == {own}
    planned = plan.make(["nyuv2-smoke"], [], tmp_path / "none").cells[0]  # before its data came
    with pytest.raises(UserError, match=f"are '{own}' but the run was planned for 'nyuv2-13'"):
        Data(data).split(planned, "train")
    prepare(mtan, data, "nyuv2-13-mine")
    with pytest.raises(UserError, match="holds nyuv2-13-derived-normals, nyuv2-13-mine; name one of them as"):
        variant("nyuv2-13", data)
    assert variant("nyuv2-13-mine", data) == "nyuv2-13-mine"
    prepare(mtan, data)
    assert variant("nyuv2-13", data) == "nyuv2-13", "an exact name is never ambiguous"
    assert len(NYUv2(data).here()) == 3
    for other in ("downloads/x", "cityscapes-7/128x256"):
        (data / other).mkdir(parents=True)
        (data / other / "manifest.json").write_text("{")
    assert variant("nyuv2-13", data) == "nyuv2-13", "other folders are not looked at"
    with pytest.raises(UserError, match=r"cityscapes-7.*is damaged"):
        variant("cityscapes", data)


@pytest.mark.parametrize(
    ("name", "split", "limit", "message"),
    [
        ("nyuv2", "tset", None, "unknown split of nyuv2 'tset'; did you mean 'test'"),
        ("nyuv2", "train", 0, "limit is 0; expected at least 1 image"),
        ("nyuv2-40", "train", None, "is an MTAN folder, which holds 13 classes"),
        ("cityscapes", "train", None, r"there is no cityscapes in .*`bench data prepare cityscapes-7 PATH`"),
        ("pascal-context", "test", None, "there is no pascal-context in .*from a PASCAL_MT folder"),
    ],
)  # fmt: skip
def test_what_cannot_be(tmp_path: Path, name: str, split: str, limit: Any, message: str) -> None:
    write_mtan(tmp_path / "nyuv2")  # the folder itself, or its parent
    with pytest.raises(UserError, match=message) as caught:
        registry.open_dataset(name, tmp_path).split(split, SIZE, limit)
    assert "\n" not in str(caught.value)


def test_a_published_split_holds_for_these_images_and_for_a_part_of_them(tmp_path: Path) -> None:
    folder, data = write_mtan(tmp_path / "mtan", 6, 2), tmp_path / "data"
    prepare(folder, data)
    whole, few = NYUv2(data).split("train", SIZE), NYUv2(data).split("train", SIZE, 4)
    frozen = whole.frozen(("depth", "semseg"))
    assert frozen is not None and NYUv2(data).split("test", SIZE).frozen(("depth",)) is None
    with pytest.raises(UserError, match=r"published:one.*not imported"):
        frozen("one")
    rows = torch.eye(3)[[2, 0, 1, 1, 0, 2]]
    torch.save({"labels_weights": rows}, tmp_path / "one.pth")
    import_file(tmp_path / "one.pth", data)
    assert torch.equal(frozen("one"), rows[:, [1, 0]].bool())
    parts = ((narrowed(whole, 4, 6), rows[4:]), (narrowed(few, 1, 3), rows[1:3]))
    for split, wanted in ((whole, rows), (few, rows[:4]), *parts):
        found = labels.sample(split.ids, split.available, "published:one", 0, split.frozen(THREE))
        assert torch.equal(found, wanted.bool())
    torch.save({"labels_weights": rows[:4]}, tmp_path / "four.pth")
    import_file(tmp_path / "four.pth", data, replace=True)
    with pytest.raises(UserError, match=r"split for other images: it has 4 rows and .* of nyuv2 6 images"):
        frozen("one")


def test_published_rows_follow_official_numbers() -> None:
    split = tiny_split(3)
    official = replace(split, names=("0004", "0003", "nyu_0006"))  # the official split starts 3, 4, 5, 6
    assert NYUv2.published_rows(official).tolist() == [1, 0, 3]
    of_mtan = replace(split, ids=torch.tensor([5, 6, 7]), names=("train/5", "train/6", "train/7"))
    assert NYUv2.published_rows(of_mtan).tolist() == [5, 6, 7]
    with pytest.raises(UserError, match="train image kitchen has no number of NYUv2's official split"):
        NYUv2.published_rows(replace(split, names=("0003", "kitchen", "0004")))


def test_padding_never_reaches_batches_or_evaluation() -> None:
    split = replace(tiny_split(), extents=torch.tensor([[32, 40]] * 12))
    garbage = {name: values.clone() for name, values in split.targets.items()}
    for values in garbage.values():
        values[..., 40:] = 1  # as a resampled border would smear labels
    split = replace(split, targets=garbage)
    protocol = tiny_protocol(scales=(1.0,), flip=False, colour=0.0)
    chosen, normal = {n: TINY_TASKS[n] for n in THREE}, ((0.5,) * 3, (0.2,) * 3)
    options: dict[str, Any] = {"seed": 0, "views": 0, "normalisation": normal, "device": "cpu"}
    feed = Feed(split, split.available[:, :3], chosen, protocol, **options)
    for step in range(3):
        batch = feed.batch(step)
        empty = (batch.images == 0).all(1)  # content is 40 of 64 columns wide, wherever the crop puts it
        assert (empty.sum(2) >= 24).all()
        for name, task in chosen.items():
            assert not (task.valid(batch.targets[name])[:, 0] & empty).any()
    images, _ = TestSet(split, chosen, normal, 4, "cpu").rows(0)
    assert not images[..., 40:].any() and images[..., :40].any()


@pytest.mark.parametrize(("largest", "most"), [(packing.LARGE, 2), (1, 1)])
def test_of_large_images_one_is_in_memory_at_a_time(
    largest: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LARGE", largest)
    source, read, open_now, seen = Memory(9), Memory.read, list[int](), list[int]()

    def slow(self: Memory, split: str, i: int) -> Any:
        open_now.append(i)
        seen.append(len(open_now))
        time.sleep(0.05)
        open_now.remove(i)
        return read(self, split, i)

    monkeypatch.setattr(Memory, "read", slow)
    pack(source, "train", source.tasks, SIZE, "pad")
    assert len(seen) == 9 and max(seen) == most
