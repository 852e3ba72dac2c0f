"""Several hosts on one folder: dead and revived holders, clocks that differ, workers that share a plan."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.execute import attempt
from benchmark.execute.data import Data
from benchmark.files import read_json
from benchmark.runs import claim as claims
from benchmark.runs import rundir
from benchmark.runs.claim import Claim, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec
from benchmark.training.loop import Run
from tests.commands import fork, records, sets, start
from tests.executors.common import Log, cells, held_elsewhere, holder, record, run


@pytest.mark.parametrize("skew", [-90.0, 0.0, 90.0])
def test_staleness_goes_by_the_folders_clock(
    skew: float, tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This host's clock is wrong by more than the time after which a claim is stale."""
    now = time.time
    monkeypatch.setattr("benchmark.system.time.time", lambda: now() + skew)
    fresh, old = cells(data_folder, seeds=2)
    held_elsewhere(tmp_path, fresh, age=5)
    held_elsewhere(tmp_path, old, age=claims.STALE_SECONDS + 5)
    assert RunDir(tmp_path, fresh.folder).state() == "running"
    assert RunDir(tmp_path, old.folder).state() == "stale"
    assert RunDir(tmp_path, fresh.folder).claim(fresh) is None
    claim = RunDir(tmp_path, old.folder).claim(old)
    assert claim is not None
    claim.release()


def test_deaths_are_counted_by_claims_until_a_checkpoint_or_return(data_folder: Path, tmp_path: Path) -> None:
    """By whoever takes a run over, so that it ends though every holder is another process."""
    (spec,) = cells(data_folder)
    folder = RunDir(tmp_path, spec.folder)

    def take(dead: bool = True) -> int:
        claim = folder.claim(spec)
        assert claim is not None
        claim._done.set()  # no heartbeat
        if dead:
            claim.path.write_text(json.dumps(claims.holder_of(claim.path) | {"host": "another"}))
            os.utime(claim.path, (1, 1))
        else:
            claim.release()
        return claim.deaths

    assert [take(), take(), take()] == [0, 1, 2]
    folder.file("checkpoint.pt").write_text("progress")
    assert [take(), take(dead=False), take()] == [0, 1, 0]
    assert [take(), take()] == [1, 2]
    found, log = run((spec,), tmp_path, data_folder, workers=0)
    assert found["failed"] == [spec] and folder.file("checkpoint.pt").exists()
    reason = "its process ended, 3 times in a row without a new checkpoint"
    assert folder.reason == reason and log.reasons(spec) == [reason]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_another_host_holds_is_waited_for_and_taken_up_when_it_dies(
    workers: int, calm: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LOOK_SECONDS", 0.1)
    first, second = cells(data_folder, seeds=2)
    claim = held_elsewhere(tmp_path, first)
    found, _ = run((first, second), tmp_path, data_folder, workers=workers)
    assert found["done"] == [second] and found["elsewhere"] == [first]
    RunDir(tmp_path, second.folder).file("record.json").unlink()

    def die(spec: RunSpec, what: object) -> None:
        """As if the other host had died a while ago."""
        if (spec, what) == (second, "done") and claim.exists():
            os.utime(claim, (1, 1))

    log = Log(die)
    found, _ = run((first, second), tmp_path, data_folder, log, workers=workers, to_the_end=True)
    assert found["done"] == [first, second] and log.count(first, "elsewhere") >= 1
    assert record(tmp_path, first) == record(calm, first)


@pytest.mark.parametrize(("file", "state"), [("record.json", "done"), ("error.txt", "failed")])
def test_how_another_host_ends_a_run_is_how_it_ends(
    file: str, state: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LOOK_SECONDS", 0.1)
    (spec,) = cells(data_folder)
    claim = held_elsewhere(tmp_path, spec)

    def end(spec: RunSpec, what: object) -> None:
        if what == "elsewhere":
            claim.write_text("{}")
            RunDir(tmp_path, spec.folder).file(file).write_text("{}")

    found, log = run((spec,), tmp_path, data_folder, Log(end), workers=0, retry_failed=True, to_the_end=True)
    assert found[state] == [spec] and not log.count(spec, "running")


def test_two_workers_share_a_plan_and_one_may_die(data_folder: Path, tmp_path: Path) -> None:
    command = ["run", "thin", "multi_task", "--worker", *sets("seeds=4", "epochs=6"), "--results", tmp_path]
    command += ["--checkpoint-every", 2, "--workers", 0, "--json"]
    victim, survivor = (start(*command, data=data_folder) for _ in range(2))
    while not holder(tmp_path, victim.pid) or not list(tmp_path.glob("*/*/checkpoint.pt")):
        assert victim.poll() is None, victim.communicate()
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    before = victim.communicate()[1]
    out, err = survivor.communicate(timeout=600)
    assert survivor.returncode == 0, err
    shown = json.loads(out)
    assert set(shown["states"].values()) == {"done"} and len(records(tmp_path)) == len(shown["states"]) == 4
    assert len(re.findall(r": done in", before + err)) == 4  # no cell twice
    assert "4/4" in err  # it waited for all of it


def sleeper(results: Path, data: Path) -> None:
    """Carry a run out as another host does, slowly."""
    socket.gethostname = lambda: "another"
    claims.HEARTBEAT_SECONDS = 0.2
    log = Log(lambda spec, what: time.sleep(0.1) if isinstance(what, int) else None)
    found, _ = run(cells(data), results, data, log, workers=0, checkpoint_every=2)
    print([name for name, runs in found.items() if runs], log.states[1][1:])


def test_a_stopped_process_whose_run_was_taken_over_writes_nothing(
    calm: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_SECONDS", 3.0)
    (spec,) = cells(data_folder)
    folder = RunDir(tmp_path / "shared", spec.folder)
    process = fork(lambda: sleeper(tmp_path / "shared", data_folder))
    while not folder.file("checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGSTOP)
    assert folder.state() == "running"
    while folder.state() == "running":
        time.sleep(0.1)
    assert folder.state() == "stale"
    mine = folder.claim(spec)
    assert mine is not None
    before = folder.file("checkpoint.pt").read_bytes()
    os.kill(process.pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=300)
    assert out.strip() == f"['elsewhere'] ('elsewhere', '{folder.name} was taken over by another process')"
    assert folder.file("checkpoint.pt").read_bytes() == before and folder.state() == "running"
    assert not folder.file("record.json").exists() and not folder.file("error.txt").exists()
    mine.release()
    run((spec,), tmp_path / "shared", data_folder, workers=0)
    assert record(tmp_path / "shared", spec) == record(calm, spec)


@pytest.mark.parametrize("moment", ["before the check", "after the check"])
@pytest.mark.parametrize("what", ["checkpoint.pt", "record.json"])
def test_no_moment_is_late_enough_to_lose_a_run_unnoticed(
    what: str, moment: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = cells(data_folder)
    folder = RunDir(tmp_path, spec.folder)
    old = folder.claim(spec)
    assert old is not None
    folder.file("checkpoint.pt").write_text("first")
    new: list[Claim | None] = []

    def take_over() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rundir, "alive", lambda claim: False)
            new.append(folder.claim(spec))

    check, checks = Claim.check, []

    def slow(self: Claim) -> None:
        checks.append(self)
        if self is old and len(checks) == (1 if what == "checkpoint.pt" else 2):  # the one after the draft
            if moment == "before the check":
                take_over()
            check(self)
            if moment == "after the check":
                take_over()
        else:
            check(self)

    monkeypatch.setattr(Claim, "check", slow)
    with pytest.raises(Lost, match="was taken over by another process"):
        if what == "checkpoint.pt":
            with old.replacing(folder.file(what)) as draft:
                draft.write_text("second")
        else:
            old.publish_record({"by": "old"})
    (claim,) = new
    assert claim is not None
    assert folder.file("checkpoint.pt").read_text() == "first" and not folder.file("record.json").exists()
    assert not [p for p in folder.path.iterdir() if p.name.startswith(".")]
    old.release()
    claim.check()
    claim.release()


def test_what_a_killed_process_was_writing_goes_with_its_claim(data_folder: Path, tmp_path: Path) -> None:
    (spec,) = cells(data_folder)
    claim = held_elsewhere(tmp_path, spec, age=claims.STALE_SECONDS + 5)
    (claim.parent / ".theirs.checkpoint.pt").write_text("half")
    (claim.parent / ".other.checkpoint.pt").write_text("half")
    found, _ = run((spec,), tmp_path, data_folder, workers=0)
    assert found["done"] == [spec]
    assert [p.name for p in claim.parent.glob(".*")] == [".other.checkpoint.pt"]


def test_who_lost_a_run_has_nothing_to_complain_about(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even of a full disk."""
    (spec,) = cells(data_folder)
    new: list[Claim | None] = []

    def full(self: Run, folder: RunDir) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rundir, "alive", lambda claim: False)
            new.append(folder.claim(spec))
        raise UserError("no space left")

    monkeypatch.setattr(Run, "start", full)
    found, log = run((spec,), tmp_path, data_folder, workers=0)
    assert found["elsewhere"] == [spec] and "was taken over by another process" in log.states[1][2]
    (claim,) = new
    assert claim is not None
    claim.release()


def test_force_takes_nothing_from_who_took_the_run_while_data_were_read(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = cells(data_folder)
    split, folder = Data.split, RunDir(tmp_path, spec.folder)

    def slow(self: Data, *arguments: str) -> object:
        if folder.claims() and not folder.file("record.json").exists():
            with monkeypatch.context() as patch:
                patch.setattr(rundir, "alive", lambda claim: False)
                claim = folder.claim(spec, again=True)
            assert claim is not None
            claim.publish_record({"by": "another"})
            claim.release()
        return split(self, *arguments)

    monkeypatch.setattr(Data, "split", slow)
    found, log = run((spec,), tmp_path, data_folder, workers=0, force=True)
    assert read_json(folder.file("record.json")) == {"by": "another"} and found["done"] == [spec], log.states
    assert "was taken over by another process" in log.states[1][2]
