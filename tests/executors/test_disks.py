"""Full, read-only and damaged disks: one sentence, nothing partial, and the same command goes on."""

import errno
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.runs.rundir import RunDir
from benchmark.spec.plugins import forget
from benchmark.spec.run import RunSpec
from benchmark.training.loop import Interrupted, Options
from tests.conftest import Bench
from tests.executors.common import Log, cells, record, run
from tests.test_cli import sets


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    yield
    forget()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this system does not let the tests mount a small file system (they need root for that)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_at_a_checkpoint_is_reported_and_loses_nothing(
    data_folder: Path, small_disk: Path, tmp_path: Path
) -> None:
    chosen = cells(data_folder, seeds=2)
    found, log = run(chosen, small_disk, data_folder)
    assert {s.id for s in found["failed"]} == {s.id for s in chosen}
    said = [message for _, state, message in log.states if state == "failed"]
    assert len(said) == 2 and all(
        os.strerror(errno.ENOSPC) in m and "the same command goes on" in m for m in said
    )
    assert not [p for p in small_disk.rglob("*.pt")] and not list(small_disk.rglob("record.json"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    found, _ = run(chosen, small_disk, data_folder)
    assert len(found["done"]) == 2
    run(chosen, tmp_path / "calm", data_folder)
    assert all(record(small_disk, spec) == record(tmp_path / "calm", spec) for spec in chosen)


@pytest.mark.parametrize("call", ["link", "write"])
def test_a_full_disk_at_the_record_leaves_none(
    call: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children are forks, so that they share the fault."""
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
    found, log = run((spec,), tmp_path / "full", data_folder)
    assert found["failed"] == [spec] and os.strerror(errno.ENOSPC) in log.states[-1][2]
    folder = RunDir(tmp_path / "full", spec.folder)
    assert (
        folder.state() == "stale"
        and not folder.file("record.json").exists()
        and not list(folder.path.glob(".*"))
    )
    monkeypatch.undo()
    found, log = run((spec,), tmp_path / "full", data_folder)
    assert found["done"] == [spec]
    run((spec,), tmp_path / "calm", data_folder)
    assert record(tmp_path / "full", spec) == record(tmp_path / "calm", spec)


def test_a_read_only_results_folder_is_one_sentence(bench: Bench, small_disk: Path) -> None:
    command = ["run", "multi_task", *sets("seeds=3"), "--results", small_disk / "runs"]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for more in ([], ["--workers", 2]):
        code, _, err = bench(*command, *more)
        assert code == 2 and err.count("\n") == 1, err
        assert err.startswith(f"bench: could not write in {small_disk}") and os.strerror(errno.EROFS) in err


def interrupted(spec: RunSpec, results: Path, data: Path) -> Path:
    """The checkpoint of a run that was stopped half-way."""
    stop = threading.Event()

    class Stopping(Log):
        def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
            if step == 5:
                stop.set()

    with pytest.raises((Interrupted, KeyboardInterrupt)):
        execute.run_cells(
            (spec,),
            results,
            execute.Data(data),
            Options(stop=stop),
            Stopping(),
            force=False,
            retry_failed=False,
        )
    return RunDir(results, spec.folder).file("checkpoint.pt")


def test_a_checkpoint_with_one_wrong_byte_is_noticed_and_named(
    bench: Bench, data_folder: Path, tmp_path: Path
) -> None:
    chosen = cells(data_folder, seeds=2)
    checkpoint = interrupted(chosen[0], tmp_path / "runs", data_folder)
    good = checkpoint.read_bytes()
    with zipfile.ZipFile(checkpoint) as content:
        largest = max(content.infolist(), key=lambda info: info.file_size)
    damaged = bytearray(good)
    damaged[good.index(b"FB", largest.header_offset) + largest.file_size // 2] ^= (
        1  # torch pads with this before the data
    )
    checkpoint.write_bytes(damaged)
    found, log = run(chosen, tmp_path / "runs", data_folder)
    assert found["failed"] == [chosen[0]] and found["done"] == [chosen[1]]
    (said,) = (message for _, state, message in log.states if state == "failed")
    assert said.startswith(
        f"the checkpoint {checkpoint} is damaged (the checksum of {largest.filename} is wrong); remove it"
    )
    assert checkpoint.read_bytes() == damaged
    with pytest.raises(UserError, match="is damaged"):
        execute.run_cells(
            chosen,
            tmp_path / "runs",
            execute.Data(data_folder),
            Options(),
            Log(),
            force=False,
            retry_failed=False,
        )
    checkpoint.write_bytes(good)
    found, _ = run(chosen, tmp_path / "runs", data_folder)
    assert len(found["done"]) == 2
    run(chosen, tmp_path / "calm", data_folder)
    assert all(record(tmp_path / "runs", spec) == record(tmp_path / "calm", spec) for spec in chosen)


def test_no_byte_of_a_checkpoint_is_beyond_notice(data_folder: Path, tmp_path: Path) -> None:
    """A changed byte is noticed, or it is one that reading does not depend on, such as padding."""
    checkpoint = interrupted(cells(data_folder)[0], tmp_path, data_folder)
    good, right = checkpoint.read_bytes(), str(torch.load(checkpoint, weights_only=True))
    noticed = 0
    for position in range(11, len(good), len(good) // 150):
        checkpoint.write_bytes(good[:position] + bytes([good[position] ^ 8]) + good[position + 1 :])
        try:
            with zipfile.ZipFile(checkpoint) as content:
                damaged = content.testzip()
            found = damaged or str(torch.load(checkpoint, weights_only=True))
        except Exception:
            noticed += 1
        else:
            noticed += damaged is not None
            assert damaged or found == right, position
    assert noticed > 100
