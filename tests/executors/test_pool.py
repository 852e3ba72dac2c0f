"""A pool's runs are those of one process, and what befalls one of them touches no other."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import ForkContext
from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute import child, pool
from benchmark.runs.rundir import RunDir
from benchmark.spec.plugins import forget
from benchmark.training.loop import Interrupted, Options
from tests.executors.common import Log, cells, error, record, run
from tests.executors.trouble import resident


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    yield
    forget()


@pytest.fixture(scope="module")
def calm(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs without a fault, in this process."""
    results = tmp_path_factory.mktemp("calm")
    chosen = cells(data_folder, seeds=4)
    data = execute.Data(data_folder)
    found = execute.run_cells(chosen, results, data, Options(), Log(), force=False, retry_failed=False)
    assert len(found["done"]) == 4
    forget()
    return results


def test_records_are_those_of_one_process_and_nothing_is_done_twice(
    calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    chosen = cells(data_folder, seeds=4)
    found, log = run(chosen, tmp_path, data_folder)
    assert {s.id for s in found["done"]} == {s.id for s in chosen} and not found["failed"] + found[
        "elsewhere"
    ]
    for spec in chosen:
        assert record(tmp_path, spec) == record(calm, spec)
        assert log.count(spec, "running") == log.count(spec, "done") == 1
    assert (
        log.steps >= 4 and not list(tmp_path.rglob("claim-*")) and not list(tmp_path.rglob("checkpoint.pt"))
    )
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    found, log = run(chosen, tmp_path, data_folder)
    assert len(found["done"]) == 4 and not log.steps
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    found, log = run(chosen[:1], tmp_path, data_folder, force=True)
    assert log.count(chosen[0], "running") == 1 and record(tmp_path, chosen[0]) == record(calm, chosen[0])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "ValueError: broken on purpose"),
        ("nan", "is not finite at step 5"),
    ],
)
def test_a_run_that_fails_fails_alone(
    fault: str, reason: str, calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    (bad,), good = cells(data_folder, fault), cells(data_folder, seeds=2)
    found, log = run((bad, *good), tmp_path, data_folder)
    assert found["failed"] == [bad] and {s.id for s in found["done"]} == {s.id for s in good}
    assert reason in error(tmp_path, bad).splitlines()[0]
    assert [reason in message for i, state, message in log.states if (i, state) == (bad.id, "failed")] == [
        True
    ]
    assert log.count(bad, "running") == 1
    assert all(record(tmp_path, spec) == record(calm, spec) for spec in good)
    found, log = run((bad,), tmp_path, data_folder)  # a failure is final until it is asked for again
    assert found["failed"] == [bad] and not log.count(bad, "running")
    _, log = run((bad,), tmp_path, data_folder, retry_failed=True)
    assert log.count(bad, "running") == 1


@pytest.mark.parametrize(("fault", "how"), [("segfault", "signal SIGSEGV"), ("exit", "exit code 3")])
def test_a_crash_is_taken_up_from_its_checkpoint(
    fault: str, how: str, calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    """Four processes come one step further each: as long as there are new checkpoints, it does not count as
    failed.
    """
    place = tmp_path / "place"
    (bad,), (good, _) = cells(data_folder, fault, place=place, times=4, at=2), cells(data_folder, seeds=2)
    found, log = run((bad, good), tmp_path, data_folder, every=1)
    assert {s.id for s in found["done"]} == {bad.id, good.id}
    assert len(place.read_text().splitlines()) == 5
    said = f"{bad.folder}: its process ended by {how}; it is taken up again."
    assert [note for note in log.notes if bad.folder in note] == [said] * 4
    assert record(tmp_path, good) == record(calm, good)
    one, two = record(tmp_path, bad), record(calm, good)
    assert one["metrics"] == two["metrics"] and one["curve"] == two["curve"]


def test_a_run_that_crashes_again_and_again_fails_with_the_signals_name(
    data_folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    (bad,), good = cells(data_folder, "segfault", place=place), cells(data_folder, seeds=2)
    found, _ = run((bad, *good), tmp_path, data_folder, every=100)
    assert found["failed"] == [bad] and len(found["done"]) == 2
    assert (
        error(tmp_path, bad)
        == "its process ended by signal SIGSEGV, 3 times in a row without a new checkpoint\n"
    )
    assert len(place.read_text().splitlines()) == 3 and RunDir(tmp_path, bad.folder).state() == "failed"


def test_a_disk_that_takes_no_reason_leaves_the_other_runs_going(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("no space left")

    monkeypatch.setattr(
        execute, "note_failure", full
    )  # in this process; the children that fork have it as well
    (bad,), good = cells(data_folder, "segfault", place=tmp_path / "place"), cells(data_folder, seeds=2)
    found, log = run((bad, *good), tmp_path / "runs", data_folder, every=100)
    assert found["failed"] == [bad] and {s.id for s in found["done"]} == {s.id for s in good}
    assert f"{bad.folder}: no space left" in log.notes


def test_a_run_out_of_memory_is_tried_again_alone_once(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside: list[int] = []
    start = pool.Pool._start

    def watched(self: pool.Pool, spec: object) -> None:
        if spec == bad:
            beside.append(len(self.children))
        start(self, spec)  # type: ignore[arg-type]

    monkeypatch.setattr(pool.Pool, "_start", watched)
    (bad,), good = cells(data_folder, "memory"), cells(data_folder, seeds=3)
    found, log = run((good[0], bad, *good[1:]), tmp_path, data_folder)
    assert found["failed"] == [bad] and len(found["done"]) == 3
    assert beside == [1, 0] and log.count(bad, "running") == 2
    assert error(tmp_path, bad).startswith(
        "out of memory: RuntimeError: "
    ) and "can't allocate memory" in error(tmp_path, bad)
    assert any("it is tried once more at the end, with no other run beside it" in n for n in log.notes)
    place = tmp_path / "place"
    (once,) = cells(data_folder, "memory", place=place, times=1)
    found, log = run((once,), tmp_path, data_folder)
    assert found["done"] == [once] and log.count(once, "failed") == 1
    assert not RunDir(tmp_path, once.folder).file("error.txt").exists()


def test_a_process_killed_for_want_of_memory_is_told_from_others(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's counter stands in for the kernel: it has risen by one whenever a child died."""
    counts = iter(range(10))
    monkeypatch.setattr(pool, "out_of_memory_kills", lambda: next(counts))
    (slow,) = cells(data_folder, "slow")

    class Killing(Log):
        def step(self, spec: object, step: int, steps: int, loss: float) -> None:
            if step == 5 and len(killed) < 2:
                (one,) = chosen.children
                killed.append(one.process.pid)
                os.kill(one.process.pid or 0, signal.SIGKILL)

    killed: list[int | None] = []
    log = Killing()
    job = pool.Job(tmp_path, data_folder, checkpoint_every=100)
    chosen = pool.Pool(job, execute.Data(data_folder), [None], log, hang_after=60)
    found = chosen.run((slow,))
    assert len(killed) == 2 and found["failed"] == [slow]
    reason = (
        "out of memory: its process ended by signal SIGKILL, and the system counted an out-of-memory kill"
    )
    assert sum(s[1:] == ("failed", reason) for s in log.states) == 2
    assert error(tmp_path, slow) == reason + "\n"


def test_a_long_evaluation_is_no_hang(data_folder: Path, tmp_path: Path) -> None:
    (slow,) = cells(data_folder, "judging")
    assert (
        slow.protocol.test_images is not None and slow.protocol.test_images >= 2 * slow.protocol.batch
    )  # 5 s in all
    found, _ = run((slow,), tmp_path, data_folder, hang=4)
    assert found["done"] == [slow]


def test_a_run_that_is_stopped_while_it_is_judged_goes_on_there(data_folder: Path, tmp_path: Path) -> None:
    (spec,) = cells(data_folder, "stop", place=tmp_path / "place")
    spec = replace(spec, protocol=replace(spec.protocol, evaluations=0))
    data, log = execute.Data(data_folder), Log()
    results = tmp_path / "runs"
    with pytest.raises(Interrupted, match="after all 12 steps, before the run was judged"):
        execute.run_cells([spec], results, data, Options(), log, force=False, retry_failed=False)
    folder = RunDir(results, spec.folder)
    assert folder.state() == "stale" and not folder.file("record.json").exists()
    before = log.steps
    found = execute.run_cells([spec], results, data, Options(), log, force=False, retry_failed=False)
    assert found["done"] == [spec] and log.steps == before  # nothing was trained again


def test_a_run_that_hangs_is_killed_and_named(data_folder: Path, tmp_path: Path) -> None:
    (bad,), good = cells(data_folder, "hang"), cells(data_folder, seeds=2)
    began = time.monotonic()
    found, _ = run((bad, *good), tmp_path, data_folder, hang=4)
    assert time.monotonic() - began < 40
    assert found["failed"] == [bad] and len(found["done"]) == 2
    assert (
        error(tmp_path, bad) == "hung: no step, evaluation or note for 4 s (--hang-after), so it was killed\n"
    )


def test_a_leak_ends_with_its_run(data_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    before = resident()
    leaking, after = (
        cells(data_folder, "leak", place=place, seeds=2),
        cells(data_folder, place=place, seeds=1),
    )
    found, _ = run((*leaking, *after), tmp_path, data_folder, workers=1)
    assert len(found["done"]) == 3
    sizes = [int(line.split()[1]) for line in place.read_text().splitlines()]
    leak = 12 * 32 * 2**20
    assert len({line.split()[0] for line in place.read_text().splitlines()}) == 3
    assert max(sizes) - min(sizes) < leak / 4 and resident() - before < leak / 2


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_the_protocols(threads: int, data_folder: Path, tmp_path: Path) -> None:
    (one,) = cells(data_folder, "threads", threads=threads)
    spec = replace(one, protocol=replace(one.protocol, threads=threads))
    torch.set_num_threads(2)  # OpenMP's threads are there, and a fork would wait for them for ever
    torch.randn(2000, 2000).exp().sum()
    torch.set_num_threads(1)
    found, log = run((spec,), tmp_path, data_folder, workers=1)
    assert found["done"] == [spec], log.states


def test_a_cell_costs_less_than_50_ms_beside_its_process(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells that end as soon as they are claimed, against processes that do nothing; where nothing else
    runs.
    """

    def nothing(claim: object, spec: object, folder: RunDir, *rest: object, **more: object) -> str:
        folder.file("error.txt").write_text("nothing\n")
        return "failed"

    monkeypatch.setattr(execute, "_under", nothing)
    chosen = cells(data_folder, seeds=20)
    child.prepare()
    began = time.monotonic()
    for _ in chosen:
        process = ForkContext().Process(target=int)
        process.start()
        process.join()
    bare = time.monotonic() - began
    data = execute.Data(data_folder)
    execute.check(chosen, tmp_path, data, force=False)
    began = time.monotonic()
    found = pool.Pool(pool.Job(tmp_path, data_folder), data, [None], Log(), hang_after=60).run(chosen)
    whole = time.monotonic() - began
    assert len(found["failed"]) == 20
    assert (whole - bare) / 20 < 0.05 * (1 + os.getloadavg()[0] / (os.cpu_count() or 1))
