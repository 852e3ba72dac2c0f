"""Preparation is whole or absent: repeated, refused, killed, out of space; and damage of a store is named."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from datasets import packed
from datasets.layouts.base import Sample
from datasets.layouts.toml_folder import TomlFolder
from datasets.packing import pack
from tests.commands import fork
from tests.conftest import ROOT, run_here
from tests.datasets.folders import write_mtan
from tests.datasets.forms import NORMALS, UP, npy, source
from tests.datasets.memory import SIZE, Memory, made, prepare, prepared


def test_preparing_twice_does_nothing_and_a_copy_is_as_good(mtan: Path, tmp_path: Path) -> None:
    store = made(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    again, fresh = prepared(Memory(), tmp_path)
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
        (Memory(4), r"is prepared already, with other images: 'memory with 5 \+ 2 images .*4 \+ 2.*--force"),
        (Memory(kept=("semseg", "depth")), "is prepared already, with other tasks"),
    ):
        with pytest.raises(UserError, match=message):
            prepared(other, tmp_path)
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
    (data / "made-up-1").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*made-up-1.*name another folder with --data"):
        prepared(Memory(), data)


@pytest.mark.parametrize("inside", [".", "data"])
def test_a_store_inside_its_source_does_not_count_as_a_change(mtan: Path, inside: str) -> None:
    assert prepare(mtan, mtan / inside)[1] and not prepare(mtan, mtan / inside)[1]


def unsealed(content: bytes) -> bytes:
    """A manifest of before there was a hash of it, without its splits."""
    found = json.loads(content) | {"splits": {}}
    del found["sha256"]
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("train-depth.npy", lambda b: b[:-1], r"train-depth.npy has \d+ bytes, not the \d+ that were packed"),
        ("test-edge.npy", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "test-edge.npy is damaged: it was chang"),
        ("manifest.json", lambda b: b[:100], "manifest.json is damaged"),
        ("manifest.json", lambda b: b.replace(b'"memory"', b'"memorz"'), "damaged: it was changed since it"),
        ("manifest.json", unsealed, "damaged: splits.train is missing"),
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


class Slow(Memory):
    def read(self, split: str, i: int) -> Sample:
        sys.stdout.write(f"{split} {i}\n")  # in one piece: two threads read
        time.sleep(0.01 if i < 5 else 600)  # until it is killed
        return super().read(split, i)


def test_killed_in_the_middle_it_starts_clean_and_two_do_not_meet(tmp_path: Path) -> None:
    work = fork(lambda: prepared(Slow(20), tmp_path) and 0)
    assert work.stdout is not None
    try:
        assert any(line.startswith("train 5") for line in work.stdout)
        with pytest.raises(UserError, match="another process is preparing"):
            prepared(Memory(20), tmp_path)
    finally:
        work.kill()
        work.communicate()
    assert packed.find(tmp_path, "made-up") == []
    deadline, store = time.monotonic() + 20, None
    while store is None:
        try:
            store = made(tmp_path, Memory(20))
        except UserError:  # the lock of a killed process goes with its last thread
            assert time.monotonic() < deadline
    assert store.verify() == [] and not list(tmp_path.rglob("*.part"))


def peaks(folder: Path) -> None:
    """The peak of memory that a large image adds, in sizes of its map."""
    own = TomlFolder(folder)

    def peak(split: str) -> int:
        pack(own, split, own.tasks, (40, 56), "scale", limit=1)
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

    small = peak("test")
    print((peak("train") - small) / (3 * 1600 * 2000))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux to tell the peak of memory")
def test_reading_takes_less_than_ten_times_the_size_of_an_image(tmp_path: Path) -> None:
    """Of the largest maps that there are, beside their photograph."""
    source(tmp_path, NORMALS, lambda i: npy(UP))
    Image.new("RGB", (2000, 1600)).save(tmp_path / "images" / "0.png")
    np.save(tmp_path / "m" / "0.npy", np.full((1600, 2000, 3), -(3**-0.5), np.float32))
    # Not forked from here, where earlier tests' free memory would hold the image and hide it.
    code = f"import pathlib, {__name__} as own; own.peaks(pathlib.Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert 4 < float(done.stdout or "nan") < 10, done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system to fill needs root to mount it")
def test_a_full_disk_is_one_sentence_and_no_signal(tmp_path: Path) -> None:
    folder, disk = write_mtan(tmp_path / "mtan", 20, 2), tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        command = ("data", "prepare", "nyuv2", folder, "--size", "256x320", "--data", disk)
        process = fork(lambda: run_here(*command))
        _, err = process.communicate()
        assert process.returncode == 2 and err.count("\n") == 1, err
        assert "cannot write" in err and "No space left" in err
        assert not [p for p in disk.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
