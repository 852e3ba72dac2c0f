"""Packed stores: what they hold, that they are whole or absent, which data a name means, every refusal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.spec import registry
from benchmark.training.batches import Feed
from benchmark.training.evaluate import TestSet
from datasets import labels, packed, preparing, tasks
from datasets.base import widen
from datasets.layouts.base import Sample
from datasets.layouts.mtan import MtanNYUv2
from datasets.nyuv2 import NYUv2
from datasets.packing import narrowed, pack
from datasets.published import import_file
from datasets.tasks import Task
from tests.conftest import ROOT
from tests.datasets.folders import write_mtan
from tests.datasets.test_numbers import NORMALS, UP, npy, source
from tests.helpers import TASKS as TINY_TASKS
from tests.helpers import THREE, tiny_protocol, tiny_split

TASKS: dict[str, Task] = {
    "semseg": tasks.semseg(("a", "b", "c")), "depth": tasks.depth(), "normals": tasks.normals(),
    "edge": tasks.edge(),
}  # fmt: skip
SIZE = (32, 40)


@dataclass
class Memory:
    """A source of made-up samples, each of its own size; every third without a depth label."""

    count: int = 5
    sizes: tuple[tuple[int, int], ...] = ((32, 40), (24, 30), (20, 40), (48, 30))
    layout: ClassVar[str] = "memory"
    path: Path = Path("memory")
    variant: str | None = None
    notes: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    broken: int | None = None
    kept: tuple[str, ...] = tuple(TASKS)

    @property
    def tasks(self) -> dict[str, Task]:
        return {name: TASKS[name] for name in self.kept}

    def names(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i}" for i in range(self.count if split == "train" else 2))

    def read(self, split: str, i: int) -> Sample:
        if i == self.broken:
            raise UserError(f"{split}/{i} is damaged.")
        random = np.random.default_rng([i, split == "train"])
        height, width = self.sizes[i % len(self.sizes)]
        vectors = random.normal(size=(height, width, 3)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        known = random.random((height, width)) > 0.2
        found: dict[str, Any] = {
            "semseg": np.where(known, random.integers(0, 3, (height, width)), 255).astype(np.uint8),
            "depth": np.where(known, random.uniform(0.3, 9.9, (height, width)), 0).astype(np.float32),
            "normals": np.where(known[..., None], vectors, 0),
            "edge": random.integers(0, 2, (height, width)).astype(np.uint8),
        }
        if i % 3 == 2:
            del found["depth"]
        return Sample(random.integers(0, 256, (height, width, 3), dtype=np.uint8), found)


def made(tmp_path: Path, source: Memory | None = None, **options: Any) -> packed.Store:
    given = source or Memory()
    store, fresh = preparing.prepare(given, tmp_path, "made-up", "made-up-1", SIZE, "pad", **options)
    assert fresh
    return store


def prepare(
    folder: Path, data: Path, variant: str = "nyuv2-13", size: tuple[int, int] = SIZE, **options: bool
) -> tuple[packed.Store, bool]:
    return preparing.prepare(MtanNYUv2(folder), data, "nyuv2", variant, size, "scale", **options)


@pytest.fixture
def mtan(tmp_path: Path) -> Path:
    return write_mtan(tmp_path / "mtan")


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
    whole = made(tmp_path, source).arrays("train")
    stored, read = whole.split(TASKS, 3), pack(source, "train", TASKS, SIZE, "pad", limit=3).split(TASKS, 3)
    assert stored.fingerprint == read.fingerprint and len(stored) == 3 and stored.total == 5
    assert torch.equal(stored.images, read.images) and torch.equal(stored.available, read.available)
    for name, task in TASKS.items():
        assert torch.equal(widen(task, stored.targets[name]), widen(task, read.targets[name]))
    split = whole.split(TASKS, None)
    part = narrowed(split, 3, 5)
    assert part.ids.tolist() == [3, 4] and part.names == split.names[3:]
    assert len({part.fingerprint, split.fingerprint, stored.fingerprint}) == 3
    assert part.images.data_ptr() == split.images[3:].data_ptr(), "a view"
    assert part.extents is not None and torch.equal(part.extents, split.extents[3:])
    assert torch.equal(part.targets["depth"], split.targets["depth"][3:])


def test_an_unprepared_folder_and_a_store_are_the_same(mtan: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    store, _ = prepare(mtan, data)
    for split, number, folder in (("train", 3, "train"), ("test", 2, "val")):
        for limit in (None, 2):
            read, stored = NYUv2(mtan).split(split, SIZE, limit), NYUv2(data).split(split, SIZE, limit)
            assert stored.fingerprint == read.fingerprint and torch.equal(stored.images, read.images)
            assert all(torch.equal(stored.targets[name], read.targets[name]) for name in read.targets)
        read = NYUv2(mtan).split(split, SIZE)
        assert len(read) == read.total == number and read.ids.tolist() == list(range(number))
        assert read.names == tuple(f"{folder}/{i}" for i in range(number)) and read.extents is None
        assert list(read.targets) == ["semseg", "depth", "normals"] and read.ids.dtype == torch.int64
    split = NYUv2(data).split("train", SIZE)
    split.images.zero_()
    split.targets["depth"].fill_(3)
    assert store.verify() == [], "nothing that a run does changes a store"


def test_the_fingerprint_is_that_of_the_content_and_availability_is_per_image(mtan: Path) -> None:
    first = NYUv2(mtan).split("train", SIZE).fingerprint
    assert NYUv2(mtan).split("train", (64, 80)).fingerprint != first
    for kind, value in {"image": 0.123, "label": 12.0, "depth": 1.25, "normal": (0, 0, 1)}.items():
        path = mtan / "train" / kind / "2.npy"
        before = np.load(path)
        after = before.copy()
        after[5, 5] = value
        assert (after != before).any()
        np.save(path, after)
        assert NYUv2(mtan).split("train", SIZE).fingerprint != first, kind
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


def test_preparing_twice_does_nothing_and_a_copy_is_as_good(mtan: Path, tmp_path: Path) -> None:
    store = made(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    again, fresh = preparing.prepare(Memory(), tmp_path, "made-up", "made-up-1", SIZE, "pad")
    assert not fresh and again.manifest == store.manifest
    assert before == {p: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    for path in store.folder.iterdir():
        os.utime(path)
    assert store.verify() == [] and len(store.arrays("train").names) == 5
    store, _ = prepare(mtan, tmp_path)
    for path in mtan.rglob("*.npy"):
        os.utime(path, ns=(1, 1))
    again, fresh = prepare(mtan, tmp_path)
    assert not fresh and again.manifest["state"] != store.manifest["state"] and again.verify() == []
    assert again.manifest["splits"] == store.manifest["splits"]


def test_other_samples_tasks_and_files_need_a_word(mtan: Path, tmp_path: Path) -> None:
    made(tmp_path)
    for other, message in (
        (Memory(4), r"is prepared already, from memory with 5 \+ 2 images .*4 \+ 2.*--force"),
        (Memory(kept=("semseg", "depth")), "is prepared already, with other tasks"),
    ):
        with pytest.raises(UserError, match=message):
            preparing.prepare(other, tmp_path, "made-up", "made-up-1", SIZE, "pad")
    assert len(made(tmp_path, Memory(4), replace=True).arrays("train").names) == 4
    prepare(mtan, tmp_path)
    np.save(mtan / "train/depth/1.npy", np.ones((*SIZE, 1)))
    with pytest.raises(UserError, match=r"files that held something else than .*mtan does now; --force repl"):
        prepare(mtan, tmp_path)
    store, fresh = prepare(mtan, tmp_path, replace=True)
    assert fresh and not prepare(mtan, tmp_path)[1]
    (store.folder / "test-depth.npy").unlink()
    with pytest.raises(UserError, match=r"test-depth.npy could not be read .*--force"):
        prepare(mtan, tmp_path)
    (store.folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"is no prepared data, as it has no manifest.json; .* or --force"):
        prepare(mtan, tmp_path)
    assert (store.folder / "train-depth.npy").exists() and prepare(mtan, tmp_path, replace=True)[1]
    store.folder.rename(store.folder.with_name(f".{store.folder.name}.old"))  # killed between two renames
    assert not prepare(mtan, tmp_path)[1]


def test_a_source_that_fails_or_shares_a_sample_leaves_nothing(mtan: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(UserError, match="train/3 is damaged"):
        made(data, Memory(broken=3))
    assert not data.exists()
    for kind in ("image", "label", "depth", "normal"):
        shutil.copy(mtan / "train" / kind / "2.npy", mtan / "val" / kind / "1.npy")
    with pytest.raises(UserError, match=r"has 1 of its test samples .*, such as val/1, which is train/2"):
        prepare(mtan, data)
    assert packed.find(data, "nyuv2") == []
    data.mkdir()
    (data / "made-up-2").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*made-up-2.*name another folder with --data"):
        preparing.prepare(Memory(), data, "made-up", "made-up-2", SIZE, "pad")


@pytest.mark.parametrize("inside", [".", "data"])
def test_a_store_inside_its_source_does_not_count_as_a_change(mtan: Path, inside: str) -> None:
    assert prepare(mtan, mtan / inside)[1] and not prepare(mtan, mtan / inside)[1]


def unsealed(content: bytes, key: str, value: Any) -> bytes:
    """A manifest of before there was a hash of it."""
    found = json.loads(content) | {key: value}
    del found["sha256"]
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("train-depth.npy", lambda b: b[:-1], r"train-depth.npy has \d+ bytes, not the \d+ that were packed"),
        ("test-edge.npy", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "test-edge.npy was changed since it was"),
        ("manifest.json", lambda b: b[:100], "manifest.json is damaged"),
        ("manifest.json", lambda b: b.replace(b'"memory"', b'"memorz"'), "damaged: it was changed since it"),
        ("manifest.json", lambda b: unsealed(b, "splits", {}), "damaged: splits.train is missing"),
        ("manifest.json", lambda b: unsealed(b, "tasks", ["depth"]), "damaged: it was changed since it was"),
        ("manifest.json", lambda b: b"[]", "manifest.json is damaged"),
        ("manifest.json", lambda b: b.replace(b'"size"', b'"site"'), "manifest.json is damaged: size is mis"),
        ("manifest.json", lambda b: b.replace(b'"format": 1', b'"format": 9'), "in format 9, and .*format 1"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, name: str, how: Callable[[bytes], bytes], message: str) -> None:
    store = made(tmp_path)
    (store.folder / name).write_bytes(how((store.folder / name).read_bytes()))
    with pytest.raises(UserError, match=message + ".*bench data prepare"):
        for split in packed.SPLITS:
            packed.Store(store.folder).arrays(split)
    if name != "manifest.json":
        assert any(name in problem for problem in store.verify())


def test_damage_that_leaves_no_trace_is_found_by_a_check_and_a_missing_file_is_named(tmp_path: Path) -> None:
    store = made(tmp_path)
    path = store.folder / "train-image.npy"
    times, content = (path.stat().st_atime_ns, path.stat().st_mtime_ns), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=times)
    store.arrays("train")
    for old, new in ((b"NUMPY", b"NUMPX"), (b"'shape': (5", b"'shape': (4"), (b"'descr'", b"'desc('")):
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        os.utime(path, ns=times)
        with pytest.raises(UserError, match=r"train-image.npy is damaged \(.*\); prepare .* --force"):
            store.arrays("train")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=times)
    assert [p for p in store.verify() if "train-image.npy is damaged" in p]
    path.unlink()
    with pytest.raises(UserError, match=r"train-image.npy could not be read \(No such file"):
        store.arrays("train")


SLOW = """
import sys, time
from pathlib import Path
from datasets import packed, preparing
from tests.datasets.test_stores import Memory, SIZE
class Slow(Memory):
    def read(self, split, i):
        sys.stdout.write(f"{split} {i}\\n")  # in one piece: two threads read
        sys.stdout.flush()
        time.sleep(0.01 if i < 5 else 600)  # until it is killed
        return super().read(split, i)
preparing.prepare(Slow(20), Path(sys.argv[1]), "made-up", "made-up-1", SIZE, "pad")
"""


def test_killed_in_the_middle_it_starts_clean_and_two_do_not_meet(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    work = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert work.stdout is not None
    try:
        assert any(line.startswith("train 5") for line in work.stdout)
        with pytest.raises(UserError, match="another process is preparing"):
            preparing.prepare(Memory(20), tmp_path, "made-up", "made-up-1", SIZE, "pad")
    finally:
        work.send_signal(signal.SIGKILL)
        work.wait()
        work.stdout.close()
    assert packed.find(tmp_path, "made-up") == []
    deadline, store = time.monotonic() + 20, None
    while store is None:
        try:
            store = made(tmp_path, Memory(20))
        except UserError:  # the lock of a killed process goes with its last thread
            assert time.monotonic() < deadline
    assert store.verify() == [] and not list(tmp_path.rglob("*.part"))


LARGE = """
import sys
from pathlib import Path
from datasets.layouts.toml_folder import TomlFolder
from datasets.packing import pack
own = TomlFolder(Path(sys.argv[1]))
def peak(split):
    pack(own, split, own.tasks, (40, 56), "scale", limit=1)
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
small = peak("test")
print((peak("train") - small) / (3 * 1600 * 2000))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux to tell the peak of memory")
def test_reading_takes_less_than_ten_times_the_size_of_an_image(tmp_path: Path) -> None:
    """Of the largest maps that there are, beside their photograph, in a process of its own."""
    source(tmp_path, NORMALS, lambda i: npy(UP), ".npy")
    Image.new("RGB", (2000, 1600)).save(tmp_path / "images" / "0.png")
    np.save(tmp_path / "m" / "0.npy", np.full((1600, 2000, 3), -(3**-0.5), np.float32))
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 4 < float(done.stdout) < 10, done


FULL = """
import sys
from pathlib import Path
from benchmark.cli.app import main
sys.argv = ["bench", "data", "prepare", "nyuv2", sys.argv[1], "--size", "256x320", "--data", sys.argv[2]]
main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system to fill needs root to mount it")
def test_a_full_disk_is_one_sentence_and_no_signal(tmp_path: Path) -> None:
    folder, disk = write_mtan(tmp_path / "mtan", 20, 2), tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        command = [sys.executable, "-c", FULL, str(folder), str(disk)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done
        assert "cannot write" in done.stderr and "No space left" in done.stderr
        assert not [p for p in disk.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_variant_is_part_of_the_name(mtan: Path, tmp_path: Path) -> None:
    def variant(name: str, place: Path) -> str:
        return registry.open_dataset(name, place).variant

    (mtan / "SOURCE.json").write_text(json.dumps({"dataset": "nyuv2", "variant": "derived-normals"}))
    data, own = tmp_path / "data", "nyuv2-13-derived-normals"
    prepare(mtan, data, own)
    assert {variant(name, place) for name in ("nyuv2", "nyuv2-13") for place in (mtan, data)} == {own}
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
