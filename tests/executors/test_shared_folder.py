"""Several hosts on one folder: dead holders, revived holders, clocks that differ, and workers that share a
plan.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute import pool
from benchmark.runs import claim as claims
from benchmark.runs import liveness, rundir
from benchmark.runs.claim import Claim, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec.plugins import forget
from benchmark.spec.run import RunSpec
from benchmark.training.loop import Options, Run
from tests.conftest import ROOT, Bench
from tests.executors.common import PLUGIN, Log, cells, children, record, run
from tests.test_cli import records, sets, start


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    yield
    forget()


def held_elsewhere(results: Path, spec: RunSpec, age: float = 0.0) -> Path:
    """A claim of another host, whose last heartbeat was `age` seconds ago by the folder's own clock."""
    folder = RunDir(results, spec.folder)
    folder.path.mkdir(parents=True)
    claim = folder.file("claim-000004.json")
    claim.write_text(json.dumps({"token": "theirs", "host": "another", "pid": 1, "started": "1"}))
    stamp = claim.stat().st_mtime - age
    os.utime(claim, (stamp, stamp))
    return claim


@pytest.mark.parametrize("skew", [-90.0, 0.0, 90.0])
def test_staleness_goes_by_the_folders_clock(
    skew: float, tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This host's clock is wrong by more than the time after which a claim is stale."""
    now = time.time
    monkeypatch.setattr(liveness.time, "time", lambda: now() + skew)
    fresh, old = cells(data_folder, seeds=2)
    held_elsewhere(tmp_path, fresh, age=5)
    held_elsewhere(tmp_path, old, age=claims.STALE_SECONDS + 5)
    assert RunDir(tmp_path, fresh.folder).state() == "running"
    assert RunDir(tmp_path, old.folder).state() == "stale"
    assert RunDir(tmp_path, fresh.folder).claim(fresh) is None
    claim = RunDir(tmp_path, old.folder).claim(old)
    assert claim is not None
    claim.release()


def test_what_another_host_holds_is_waited_for_and_taken_up_when_it_dies(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.1)
    first, second = cells(data_folder, seeds=2)
    claim = held_elsewhere(tmp_path, first)

    class Dying(Log):
        def state(self, spec: RunSpec, state: str, message: str = "") -> None:
            super().state(spec, state, message)
            if (spec, state) == (second, "done"):  # as if its host had died a while ago
                os.utime(claim, (1, 1))

    found, log = run((first, second), tmp_path, data_folder, to_the_end=False)
    assert found["done"] == [second] and found["elsewhere"] == [first]
    RunDir(tmp_path, second.folder).file("record.json").unlink()
    log = Dying()
    job = pool.Job(tmp_path, data_folder, plugins=(PLUGIN,))
    found = pool.Pool(job, execute.Data(data_folder), [None], log, hang_after=60, to_the_end=True).run(
        (first, second)
    )
    assert found["done"] == [second, first] and log.count(first, "elsewhere") == 1


@pytest.mark.parametrize("ending", ["record", "error"])
def test_how_another_host_ends_a_run_is_how_it_ends(
    ending: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.1)
    (spec,) = cells(data_folder)
    claim = held_elsewhere(tmp_path, spec)

    class Ending(Log):
        def state(self, spec: RunSpec, state: str, message: str = "") -> None:
            super().state(spec, state, message)
            if state == "elsewhere":
                claim.write_text("{}")
                file = {"record": "record.json", "error": "error.txt"}[ending]
                RunDir(tmp_path, spec.folder).file(file).write_text("{}")

    job, log = pool.Job(tmp_path, data_folder), Ending()
    workers = pool.Pool(
        job, execute.Data(data_folder), [None], log, hang_after=60, retry_failed=True, to_the_end=True
    )
    assert workers.run((spec,))[{"record": "done", "error": "failed"}[ending]] == [spec]
    assert not log.count(spec, "running")


def test_two_workers_share_a_plan_and_one_may_die(data_folder: Path, tmp_path: Path) -> None:
    command = ["worker", "thin", "multi_task", *sets("seeds=5", "epochs=6"), "--results", tmp_path]
    command += ["--checkpoint-every", 2, "--json"]
    processes = [start(*command, data=data_folder) for _ in range(2)]
    victim, survivor = processes
    while not children(victim.pid) or not list(tmp_path.glob("*/*/checkpoint.pt")):
        assert victim.poll() is None, victim.communicate()
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    out, err = survivor.communicate(timeout=120)
    assert survivor.returncode == 0, err
    shown = json.loads(out)
    assert set(shown["states"].values()) == {"done"} and len(records(tmp_path)) == len(shown["states"]) == 5
    assert not children(victim.pid)


def test_two_pools_that_start_the_same_plan_compute_each_cell_once(data_folder: Path, tmp_path: Path) -> None:
    command = ["worker", "thin", "multi_task", *sets("seeds=4"), "--results", tmp_path]
    outs = [p.communicate(timeout=120)[0] for p in [start(*command, data=data_folder) for _ in range(2)]]
    assert sum(len(re.findall(r": done in", out)) for out in outs) == 4 == len(records(tmp_path)), outs
    assert all("4/4" in out for out in outs)  # both waited for all of it


def test_a_worker_that_does_not_wait_says_who_has_the_rest(
    bench: Bench, data_folder: Path, tmp_path: Path
) -> None:
    (spec,) = cells(data_folder)
    forget()
    held_elsewhere(tmp_path, spec)
    command = [
        "worker",
        "trouble",
        "--plugin",
        PLUGIN,
        *sets("seeds=1", "hparams.trouble.fault=none"),
        "--results",
        tmp_path,
    ]
    code, out, _ = bench(*command, "--no-wait")
    assert code == 0 and f"{spec.folder} is being run by another process" in out
    code, out, err = bench(*command, "--no-wait", "--json")
    assert code == 0 and json.loads(out)["states"] == {spec.id: "elsewhere"} and "another process" in err


SLEEPER = """
import socket, sys, time
from pathlib import Path
socket.gethostname = lambda: "another"
from benchmark.execute import attempt as execute
from benchmark.runs import claim
claim.HEARTBEAT_SECONDS = 0.2
from benchmark.training.loop import Options, Run
from tests.executors.common import Log, cells

class Slow(Log):
    def step(self, spec, step, steps, loss):
        time.sleep(0.1)

data = Path(sys.argv[2])
log = Slow()
found = execute.run_cells(
    cells(data), Path(sys.argv[1]), execute.Data(data), Options(checkpoint_every=2), log,
    force=False, retry_failed=False,
)
print([name for name, runs in found.items() if runs], log.states[-1][1:])
"""


def test_a_stopped_process_whose_run_was_taken_over_writes_nothing(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_SECONDS", 1.0)
    (spec,) = cells(data_folder)
    folder = RunDir(tmp_path / "shared", spec.folder)
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path / "shared"), str(data_folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
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
    out, _ = process.communicate(timeout=60)
    assert out.strip() == f"['elsewhere'] ('elsewhere', '{folder.name} was taken over by another process')"
    assert folder.file("checkpoint.pt").read_bytes() == before and folder.state() == "running"
    assert not folder.file("record.json").exists() and not folder.file("error.txt").exists()
    mine.release()
    for results in (tmp_path / "shared", tmp_path / "calm"):
        run((spec,), results, data_folder)
    assert record(tmp_path / "shared", spec) == record(tmp_path / "calm", spec)


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
    found = execute.run_cells(
        (spec,), tmp_path, execute.Data(data_folder), Options(), Log(), force=False, retry_failed=False
    )
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
    log = Log()
    found = execute.run_cells(
        (spec,), tmp_path, execute.Data(data_folder), Options(), log, force=False, retry_failed=False
    )
    assert found["elsewhere"] == [spec] and "was taken over by another process" in log.states[-1][2]
    (claim,) = new
    assert claim is not None
    claim.release()


def test_force_takes_nothing_from_who_took_the_run_while_data_were_read(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = cells(data_folder)
    split, folder = execute.Data.split, RunDir(tmp_path, spec.folder)

    def slow(self: execute.Data, *arguments: str) -> object:
        if folder.claims() and not folder.file("record.json").exists():
            with monkeypatch.context() as patch:
                patch.setattr(rundir, "alive", lambda claim: False)
                claim = folder.claim(spec, again=True)
            assert claim is not None
            claim.publish_record({"by": "another"})
            claim.release()
        return split(self, *arguments)

    monkeypatch.setattr(execute.Data, "split", slow)
    log = Log()
    found = execute.run_cells(
        (spec,), tmp_path, execute.Data(data_folder), Options(), log, force=True, retry_failed=False
    )
    assert folder.record == {"by": "another"} and found["elsewhere"] == [spec], log.states
