"""The packed store: what it holds, that it is whole or absent, and what it says of what is not as it was
packed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from datasets import fit, packed, tasks
from datasets.base import widen
from datasets.layouts.base import Sample
from datasets.packing import narrowed, pack
from datasets.tasks import Task
from tests.conftest import ROOT

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
    broken: int | None = None

    @property
    def tasks(self) -> dict[str, Task]:
        return TASKS

    def names(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i}" for i in range(self.count if split == "train" else 2))

    def read(self, split: str, i: int) -> Sample:
        if i == self.broken:
            raise UserError(f"{split}/{i} is damaged.")
        random = np.random.default_rng([i, split == "train"])
        height, width = self.sizes[i % len(self.sizes)]
        vectors = random.normal(size=(height, width, 3)).astype(np.float32)
        known = random.random((height, width)) > 0.2
        labels: dict[str, Any] = {
            "semseg": np.where(known, random.integers(0, 3, (height, width)), 255).astype(np.uint8),
            "depth": np.where(known, random.uniform(0.3, 9.9, (height, width)), 0).astype(np.float32),
            "normals": np.where(
                known[..., None], vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), 0
            ),
            "edge": random.integers(0, 2, (height, width)).astype(np.uint8),
        }
        if i % 3 == 2:
            del labels["depth"]
        return Sample(random.integers(0, 256, (height, width, 3), dtype=np.uint8), labels)


def made(tmp_path: Path, source: Memory | None = None, **options: Any) -> packed.Store:
    store, fresh = packed.prepare(
        source or Memory(), tmp_path, "made-up", "made-up-1", SIZE, "pad", **options
    )
    assert fresh
    return store


def test_a_store_holds_what_the_source_gave(tmp_path: Path) -> None:
    store = made(tmp_path)
    assert packed.find(tmp_path, "made-up")[0].folder == store.folder == tmp_path / "made-up-1" / "32x40"
    for name in packed.SPLITS:
        split, source = store.arrays(name).split(TASKS, None), Memory()
        assert len(split) == split.total == len(source.names(name)) and split.names == source.names(name)
        for i in range(len(split)):
            sample, (h, w) = source.read(name, i), source.sizes[i % 4]
            shrunk = h > SIZE[0]  # the one image that does not fit is scaled down
            inner = (32, 20) if shrunk else (h, w)
            assert split.extents is not None and tuple(split.extents[i].tolist()) == inner
            assert not split.images[i, :, inner[0] :].any() and not split.images[i, :, :, inner[1] :].any()
            if not shrunk:
                assert np.array_equal(split.images[i, :, :h, :w].permute(1, 2, 0), sample.image)
            for t, (task, kind) in enumerate(TASKS.items()):
                target = split.targets[task][i]
                assert bool(split.available[i, t]) == (task in sample.labels)
                for y in range(SIZE[0]):
                    for x in range(SIZE[1]):
                        pixel = target[:, y, x].double().numpy()
                        if y >= inner[0] or x >= inner[1] or task not in sample.labels:
                            assert (pixel == kind.ignore).all()
                            continue
                        # The nearest source pixel: the one that the centre of this one lies in.
                        v = np.atleast_1d(
                            sample.labels[task][int((y + 0.5) * h / inner[0]), int((x + 0.5) * w / inner[1])]
                        )
                        tolerance = {"depth": 9.9 * 2**-11, "normals": 0.5 / 127 + 1e-6}.get(kind.kind, 0)
                        assert np.abs(pixel / (127 if kind.kind == "normals" else 1) - v).max() <= tolerance
                        assert (pixel != 0).any() == (np.asarray(v) != 0).any()  # known stays known


@pytest.mark.parametrize(
    ("image", "size", "how", "inner"),
    [
        ((288, 384), (144, 192), "scale", (144, 192)),
        ((426, 560), (288, 384), "scale", (288, 384)),  # 1.4 % of stretch
        ((425, 560), (448, 576), "pad", (425, 560)),
        ((400, 560), (448, 576), "scale", (411, 576)),
        ((375, 500), (512, 512), "pad", (375, 500)),
        ((600, 500), (512, 512), "pad", (512, 427)),
        ((100, 400), (512, 512), "scale", (128, 512)),
        ((1, 4000), (32, 512), "scale", (1, 512)),
    ],
)
def test_how_an_image_meets_a_frame(image: Any, size: Any, how: Any, inner: tuple[int, int]) -> None:
    assert fit.extent(*image, size, how) == inner


def test_memory_and_disk_give_the_same_split(tmp_path: Path) -> None:
    source = Memory()
    stored = made(tmp_path, source).arrays("train").split(TASKS, 3)
    read = pack(source, "train", TASKS, SIZE, "pad", limit=3).split(TASKS, 3)
    assert stored.fingerprint == read.fingerprint
    assert (
        stored.fingerprint != made(tmp_path / "other", Memory(4)).arrays("train").split(TASKS, 4).fingerprint
    )
    assert torch.equal(stored.images, read.images) and torch.equal(stored.available, read.available)
    for name, task in TASKS.items():
        assert torch.equal(widen(task, stored.targets[name]), widen(task, read.targets[name]))
    assert len(stored) == 3 and stored.total == 5


def test_a_part_of_a_split_is_a_view(tmp_path: Path) -> None:
    split = made(tmp_path).arrays("train").split(TASKS, None)
    part = narrowed(split, 3, 5)
    assert (
        part.ids.tolist() == [3, 4]
        and part.names == split.names[3:]
        and part.fingerprint != split.fingerprint
    )
    assert part.images.data_ptr() == split.images[3:].data_ptr()
    assert torch.equal(part.targets["depth"], split.targets["depth"][3:])
    assert (
        part.extents is not None
        and split.extents is not None
        and torch.equal(part.extents, split.extents[3:])
    )


def test_preparing_twice_does_nothing(tmp_path: Path) -> None:
    store = made(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    again, fresh = packed.prepare(Memory(), tmp_path, "made-up", "made-up-1", SIZE, "pad")
    assert not fresh and again.manifest == store.manifest
    assert before == {p: p.stat().st_mtime_ns for p in store.folder.iterdir()}


def test_other_samples_need_a_word(tmp_path: Path) -> None:
    store = made(tmp_path)
    with pytest.raises(
        UserError, match=r"is prepared already, from memory with 5 \+ 2 images .*4 \+ 2.*--force"
    ):
        packed.prepare(Memory(4), tmp_path, "made-up", "made-up-1", SIZE, "pad")
    assert len(store.arrays("train").names) == 5
    replaced, fresh = packed.prepare(Memory(4), tmp_path, "made-up", "made-up-1", SIZE, "pad", replace=True)
    assert fresh and len(replaced.arrays("train").names) == 4


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train/3 is damaged"):
        made(tmp_path, Memory(broken=3))
    assert [p.name for p in tmp_path.rglob("*") if not p.name.endswith(".lock")] == ["made-up-1"]
    made(tmp_path)


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("train-depth.npy", lambda b: b[:-1], r"train-depth.npy has \d+ bytes, not the \d+ that were packed"),
        (
            "test-edge.npy",
            lambda b: b[:-1] + bytes([b[-1] ^ 1]),
            "test-edge.npy was changed since it was packed",
        ),
        ("manifest.json", lambda b: b[:100], "manifest.json is damaged"),
        ("manifest.json", lambda b: b"[]", "manifest.json is damaged"),
        (
            "manifest.json",
            lambda b: b.replace(b'"size"', b'"site"'),
            "manifest.json is damaged .size is missing",
        ),
        (
            "manifest.json",
            lambda b: b.replace(b'"format": 1', b'"format": 9'),
            "in format 9, and this version .* format 1",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, how: Callable[[bytes], bytes], message: str) -> None:
    store = made(tmp_path)
    damage(store.folder / name, how)
    with pytest.raises(UserError, match=message + ".*bench data prepare"):
        for split in packed.SPLITS:
            packed.Store(store.folder).arrays(split)
    if name != "manifest.json":
        assert any(name in problem for problem in store.verify())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    store = made(tmp_path)
    (store.folder / "train-image.npy").unlink()
    with pytest.raises(UserError, match=r"train-image.npy could not be read \(No such file"):
        store.arrays("train")


def test_damage_that_leaves_no_trace_is_found_by_a_check(tmp_path: Path) -> None:
    store = made(tmp_path)
    path = store.folder / "train-image.npy"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    damage(path, lambda b: b[:-1] + bytes([b[-1] ^ 1]))
    os.utime(path, ns=times)
    store.arrays("train")
    assert [p for p in store.verify() if "train-image.npy is damaged" in p]


def test_a_copied_store_is_as_good(tmp_path: Path) -> None:
    store = made(tmp_path)
    for path in store.folder.iterdir():
        os.utime(path)
    assert store.verify() == [] and len(store.arrays("train").names) == 5


SLOW = """
import sys, time
from pathlib import Path
from datasets import packed
from tests.datasets.test_packed import Memory, SIZE
class Slow(Memory):
    def read(self, split, i):
        print(split, i, flush=True)
        time.sleep(0.3)
        return super().read(split, i)
packed.prepare(Slow(20), Path(sys.argv[1]), "made-up", "made-up-1", SIZE, "pad")
"""


def test_killed_in_the_middle_it_starts_clean_and_two_do_not_meet(tmp_path: Path) -> None:
    work = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert work.stdout is not None
    for line in work.stdout:
        if line.startswith("train 5"):
            break
    with pytest.raises(UserError, match="another process is preparing"):
        packed.prepare(Memory(20), tmp_path, "made-up", "made-up-1", SIZE, "pad")
    work.send_signal(signal.SIGKILL)
    work.wait()
    work.stdout.close()
    assert packed.find(tmp_path, "made-up") == []
    deadline = time.monotonic() + 20
    while True:
        try:
            store = made(tmp_path, Memory(20))
            break
        except UserError:  # the lock of a killed process goes with its last thread
            assert time.monotonic() < deadline
    assert store.verify() == [] and not list(tmp_path.rglob("*.part"))


def test_a_full_or_forbidden_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "made-up-1").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*made-up-1.*name another folder with --data"):
        made(tmp_path)


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    dumps = json.dumps

    def spy(value: Any, **options: Any) -> str:
        if isinstance(value, dict) and "splits" in value:
            seen.append({p.name for p in (tmp_path / "made-up-1" / ".32x40.part").iterdir()})
        return dumps(value, **options)

    monkeypatch.setattr(json, "dumps", spy)
    store = made(tmp_path)
    assert seen == [{p.name for p in store.folder.iterdir()} - {"manifest.json"}]
