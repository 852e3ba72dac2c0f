"""Full, read-only and damaged disks: one sentence, nothing partial, and the same command goes on."""

import errno
import os
import re
import resource
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec
from tests.commands import fork, sets, waiting
from tests.conftest import Bench, run_here
from tests.executors.common import Log, cells, computed, record, run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system does not let the tests mount a small file system (they need root for that)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_at_a_checkpoint_is_reported_and_loses_nothing(
    workers: int, calm: Path, data_folder: Path, small_disk: Path
) -> None:
    chosen = cells(data_folder, seeds=2)
    with pytest.raises(UserError, match=os.strerror(errno.ENOSPC)) as refusal:
        run(chosen, small_disk, data_folder, workers=workers)
    assert "the same command goes on" in str(refusal.value) and "\n" not in str(refusal.value)
    assert not list(small_disk.rglob("*.pt")) and not list(small_disk.rglob("record.json"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    found, _ = run(chosen, small_disk, data_folder, workers=workers)
    assert len(found["done"]) == 2
    assert all(record(small_disk, spec) == record(calm, spec) for spec in chosen)


def test_a_full_disk_without_root(waited: Path, gate: Path, data_folder: Path, tmp_path: Path) -> None:
    """The system's own limit on file size stands in for a full disk; the cure is the same command."""
    gate.write_text("1000")

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        return run_here(*waiting(gate, tmp_path), "--data", data_folder)

    process = fork(limited)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and os.strerror(errno.EFBIG) in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("*/*/checkpoint.*")) and not list(tmp_path.glob("*/*/record.json"))
    assert run_here(*waiting(gate, tmp_path), "--data", data_folder) == 0
    ((name, found),) = computed(tmp_path).items()
    assert found == computed(waited)[name]


@pytest.mark.parametrize("call", ["link", "write"])
def test_a_full_disk_at_the_record_leaves_none(
    call: str, calm: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    link, write = os.link, Path.write_text

    def no_link(source: Any, target: Any) -> None:
        if Path(target).name == "record.json":
            raise full
        link(source, target)

    def half(self: Path, text: str, *rest: Any, **more: Any) -> int:
        if self.name.endswith(".record"):
            write(self, text[: len(text) // 2], *rest, **more)
            raise full
        return write(self, text, *rest, **more)

    monkeypatch.setattr(*((os, "link", no_link) if call == "link" else (Path, "write_text", half)))
    (spec,) = cells(data_folder)
    with pytest.raises(UserError, match=os.strerror(errno.ENOSPC)):
        run((spec,), tmp_path, data_folder, workers=0)
    folder = RunDir(tmp_path, spec.folder)
    assert folder.state() == "stale" and not folder.file("record.json").exists()
    assert not list(folder.path.glob(".*"))
    monkeypatch.undo()
    found, _ = run((spec,), tmp_path, data_folder, workers=0)
    assert found["done"] == [spec] and record(tmp_path, spec) == record(calm, spec)


def test_a_read_only_results_folder_is_one_sentence(bench: Bench, small_disk: Path) -> None:
    command = ["run", "multi_task", *sets("seeds=3"), "--results", small_disk / "runs"]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for more in ([], ["--workers", 2]):
        code, _, err = bench(*command, *more)
        assert code == 2 and err.count("\n") == 1, err
        assert err.startswith(f"bench: could not write in {small_disk}") and os.strerror(errno.EROFS) in err


def interrupted(spec: RunSpec, results: Path, data: Path) -> Path:
    """The checkpoint of a run that was stopped half-way."""
    stop = Log(lambda spec, what: os.kill(os.getpid(), signal.SIGTERM) if what == 5 else None)
    with pytest.raises(KeyboardInterrupt):
        run((spec,), results, data, stop, workers=0, checkpoint_every=500)
    return RunDir(results, spec.folder).file("checkpoint.pt")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_checkpoint_with_one_wrong_byte_is_noticed_and_named(
    workers: int, calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    chosen = cells(data_folder, seeds=2)
    checkpoint = interrupted(chosen[0], tmp_path, data_folder)
    good = checkpoint.read_bytes()
    with zipfile.ZipFile(checkpoint) as content:
        largest = max(content.infolist(), key=lambda info: info.file_size)
    damaged = bytearray(good)
    middle = good.index(b"FB", largest.header_offset) + largest.file_size // 2  # torch pads with this
    damaged[middle] ^= 1
    checkpoint.write_bytes(damaged)
    reason = f"{checkpoint} is damaged (the checksum of {largest.filename} is wrong); remove it"
    with pytest.raises(UserError, match=re.escape(reason)):
        run(chosen, tmp_path, data_folder, workers=workers)
    states = [RunDir(tmp_path, spec.folder).state() for spec in chosen]
    assert states == ["stale", "done"] and checkpoint.read_bytes() == damaged  # the other run went on
    checkpoint.write_bytes(good)
    found, _ = run(chosen, tmp_path, data_folder, workers=workers)
    assert len(found["done"]) == 2
    assert all(record(tmp_path, spec) == record(calm, spec) for spec in chosen)
