"""Runs by workers are those of one process, and what befalls one of them touches no other."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.execute import workers as pool
from benchmark.runs.rundir import RunDir
from tests.executors.common import Log, cells, error, record, run


def test_records_are_as_of_one_process_and_made_once(calm: Path, data_folder: Path, tmp_path: Path) -> None:
    chosen = cells(data_folder, seeds=2)
    found, log = run(chosen, tmp_path, data_folder)
    assert {s.id for s in found["done"]} == {s.id for s in chosen}
    assert not found["failed"] + found["elsewhere"]
    for spec in chosen:
        assert record(tmp_path, spec) == record(calm, spec)
        assert log.count(spec, "running") == 1
    leftovers = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert leftovers == {p.name for p in calm.rglob("*") if p.is_file()}
    assert not leftovers & {"checkpoint.pt", "progress.json"}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    found, log = run(chosen, tmp_path, data_folder)
    assert len(found["done"]) == 2 and not log.count(chosen[0], "running")
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    found, log = run(chosen[:1], tmp_path, data_folder, force=True)
    assert log.count(chosen[0], "running") == 1 and record(tmp_path, chosen[0]) == record(calm, chosen[0])
    assert RunDir(tmp_path, chosen[0].folder).file("record.json").stat().st_mtime_ns not in before.values()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_fails_fails_alone(workers: int, calm: Path, data_folder: Path, tmp_path: Path) -> None:
    reasons = {"raise": "ValueError: broken on purpose", "nan": "is not finite at step 5"}
    bad, good = [cells(data_folder, fault)[0] for fault in reasons], cells(data_folder, seeds=1)
    found, log = run((*bad, *good), tmp_path, data_folder, workers=workers)
    assert {s.id for s in found["failed"]} == {s.id for s in bad} and found["done"] == list(good)
    for spec, reason in zip(bad, reasons.values(), strict=True):
        assert reason in error(tmp_path, spec).splitlines()[0] and reason in log.reasons(spec)[0]
        assert log.count(spec, "running") == 1
    assert record(tmp_path, good[0]) == record(calm, good[0])
    found, log = run(tuple(bad), tmp_path, data_folder, workers=workers)  # final until it is asked for again
    assert len(found["failed"]) == 2 and not log.count(bad[0], "running")
    _, log = run((bad[0],), tmp_path, data_folder, workers=workers, retry_failed=True)
    assert log.count(bad[0], "running") == 1


@pytest.mark.parametrize(("fault", "how"), [("segfault", "signal SIGSEGV"), ("exit", "exit code 3")])
def test_a_crash_is_taken_up_from_its_checkpoint(
    fault: str, how: str, calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    """Four processes come one step further each: with new checkpoints, it does not count as failed."""
    place = tmp_path / "place"
    (bad,), (good,) = cells(data_folder, fault, place=place, times=4, at=2), cells(data_folder)
    found, log = run((bad, good), tmp_path, data_folder, checkpoint_every=1)
    assert {s.id for s in found["done"]} == {bad.id, good.id}
    assert len(place.read_text().splitlines()) == 5
    said = f"{bad.folder}: its process ended by {how}; it is taken up again."
    assert [note for note in log.notes if bad.folder in note] == [said] * 4
    assert record(tmp_path, good) == record(calm, good)
    one, two = record(tmp_path, bad), record(calm, good)
    assert one["metrics"] == two["metrics"] and one["curve"] == two["curve"]


def test_a_run_that_killed_three_workers_fails_with_the_signal(data_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (bad,), good = cells(data_folder, "segfault", place=place), cells(data_folder)
    found, log = run((bad, *good), tmp_path, data_folder, checkpoint_every=100)
    assert found["failed"] == [bad] and found["done"] == list(good)
    reason = "its process ended by signal SIGSEGV, 3 times in a row without a new checkpoint"
    assert error(tmp_path, bad) == reason + "\n" and log.reasons(bad) == [reason]
    assert len(place.read_text().splitlines()) == 3 and RunDir(tmp_path, bad.folder).state() == "failed"
    _, log = run((bad,), tmp_path, data_folder, workers=1, checkpoint_every=100, retry_failed=True)
    assert len(place.read_text().splitlines()) == 6  # with all its lives back


def test_workers_that_end_at_once_are_not_started_for_ever(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.execute.worker.work", lambda *arguments: os._exit(7))
    with pytest.raises(pool.UserError, match="workers end at once, by exit code 7; run with --workers 0"):
        run(cells(data_folder, seeds=2), tmp_path, data_folder)


def test_a_run_out_of_memory_is_tried_again_alone_once(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    start = pool.Workers.run
    monkeypatch.setattr(pool.Workers, "run", lambda self, p: (places.append(len(p)), start(self, p)))
    (bad,), good = cells(data_folder, "memory"), cells(data_folder)
    (once,) = cells(data_folder, "memory", place=tmp_path / "place", times=1)
    found, log = run((bad, once, *good), tmp_path, data_folder)
    assert found["failed"] == [bad] and {s.id for s in found["done"]} == {once.id, good[0].id}
    assert places == [2, 1] and log.count(bad, "running") == log.count(once, "running") == 2
    assert error(tmp_path, bad).startswith("out of memory: RuntimeError: ")
    assert any("it is tried once more, with no other run beside it" in note for note in log.notes)


def test_a_process_killed_for_want_of_memory_is_told_from_others(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's counter stands in for the kernel: it has risen by one whenever a worker died."""
    counts = iter(range(10))
    monkeypatch.setattr(pool, "out_of_memory_kills", lambda: next(counts))
    (bad,) = cells(data_folder, "kill")
    found, log = run((bad,), tmp_path, data_folder, workers=1, checkpoint_every=100)
    reason = "out of memory: its process ended by signal SIGKILL, and the system counted such a kill"
    assert found["failed"] == [bad] and error(tmp_path, bad) == reason + "\n" and log.reasons(bad) == [reason]


def test_a_run_that_hangs_is_killed_and_named(data_folder: Path, tmp_path: Path) -> None:
    (bad,) = cells(data_folder, "hang")
    found, log = run((bad,), tmp_path, data_folder, workers=1, hang_after=8.0)
    reason = "hung: no step, evaluation or note for 8 s (--hang-after)"
    assert found["failed"] == [bad]
    assert error(tmp_path, bad) == reason + "\n" and log.reasons(bad) == [reason]
    assert log.steps > 0  # read from the stamps


def test_steps_and_batches_of_an_evaluation_are_signs_of_life(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps: list[str] = []
    write = Path.write_text

    def watched(self: Path, text: str, *rest: Any, **more: Any) -> int:
        if self.name == "progress.json":
            stamps.append(text)
        return write(self, text, *rest, **more)

    monkeypatch.setattr(Path, "write_text", watched)
    monkeypatch.setattr("benchmark.execute.attempt.STAMP_SECONDS", -1.0)
    run(cells(data_folder), tmp_path, data_folder, workers=0)
    steps = [json.loads(stamp)[0] for stamp in stamps]
    assert steps[:1] == [1] and steps[-3:] == [12, 12, 12] and set(steps) == set(range(1, 13))


def test_a_run_that_is_stopped_while_it_is_judged_goes_on_there(data_folder: Path, tmp_path: Path) -> None:
    (spec,) = cells(data_folder, "stop", place=tmp_path / "place")
    spec = replace(spec, protocol=replace(spec.protocol, evaluations=0))
    with pytest.raises(KeyboardInterrupt, match="after all 12 steps, before the run was judged"):
        run((spec,), tmp_path / "runs", data_folder, workers=0)
    folder = RunDir(tmp_path / "runs", spec.folder)
    assert folder.state() == "stale" and not folder.file("record.json").exists()
    found, log = run((spec,), tmp_path / "runs", data_folder, workers=0)
    assert found["done"] == [spec] and not log.steps  # nothing was trained again


def test_threads_are_the_protocols(data_folder: Path, tmp_path: Path) -> None:
    """Of each run that a worker takes."""
    specs = []
    for threads in (2, 1):
        (one,) = cells(data_folder, "threads", threads=threads)
        changes = {"threads": threads, "train_images": 4, "epochs": 1.0, "evaluations": 0}  # one step
        specs.append(replace(one, protocol=replace(one.protocol, **changes)))
    torch.set_num_threads(2)  # OpenMP's threads are there, and a fork would wait for them for ever
    torch.randn(2000, 2000).exp().sum()
    torch.set_num_threads(1)
    found, log = run(tuple(specs), tmp_path, data_folder, workers=1)
    assert {spec.id for spec in found["done"]} == {spec.id for spec in specs}, log.states


def test_a_worker_sees_one_gpu(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.Options, "places", lambda self, pending, threads: ["GPU-a", "GPU-b"])
    found, _ = run(cells(data_folder, place=tmp_path / "place", seeds=2), tmp_path, data_folder)
    assert len(found["done"]) == 2 and "GPU" not in os.environ.get("CUDA_VISIBLE_DEVICES", "")
    assert {line.split()[2] for line in (tmp_path / "place").read_text().splitlines()} == {"GPU-a", "GPU-b"}


def test_a_worker_that_was_told_to_stop_is_replaced(data_folder: Path, tmp_path: Path) -> None:
    told: list[int] = []

    def stop(spec: object, what: object) -> None:
        if what == "running" and not told:
            (claim,) = tmp_path.glob("*/*/claim-*.json")
            told.append(pool.holder_of(claim)["pid"])
            os.kill(told[0], signal.SIGTERM)

    (spec,) = cells(data_folder, "slow")
    found, log = run((spec,), tmp_path, data_folder, Log(stop), workers=1)
    assert found["done"] == [spec] and told and log.count(spec, "running") == 2
