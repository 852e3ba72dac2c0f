"""Run directories: claims are exclusive, dead claims are taken over, a revived process can write nothing."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.files import read_json
from benchmark.runs import claim as claims
from benchmark.runs import rundir
from benchmark.runs.claim import Lost
from benchmark.runs.rundir import RunDir
from tests.helpers import tiny_spec

SPEC = tiny_spec()


def make(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path, SPEC.folder)


def rewrite(claim: claims.Claim, **holder: str) -> None:
    """Change what a claim says of its holder."""
    claim.path.write_text(json.dumps(json.loads(claim.path.read_text()) | holder))


def test_states_follow_the_files(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert run.state() == "missing"
    claim = run.claim(SPEC)
    assert claim is not None and run.state() == "running"
    assert run.claim(SPEC) is None  # ours is alive
    holder = claim.path.read_text()
    rewrite(claim, started="1")  # another process has its number now
    assert run.state() == "stale"
    claim.path.write_text(holder)
    run.file("checkpoint.pt").write_bytes(b"")
    claim.release()
    assert run.state() == "stale"
    run.file("error.txt").write_text("bad")
    assert run.state() == "failed"
    claim = run.claim(SPEC)
    assert claim is not None
    claim.publish_record({"id": SPEC.id})
    claim.release()
    assert run.state() == "done" and read_json(run.file("record.json")) == {"id": SPEC.id}
    assert run.claim(SPEC) is None
    assert [r.name for r in rundir.every_run(tmp_path)] == [run.name]


def _race(folder: str, queue: "multiprocessing.Queue[bool]", start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    claim = make(Path(folder)).claim(SPEC)
    queue.put(claim is not None)
    start.wait()  # type: ignore[attr-defined]  # nobody leaves before everybody has tried


def test_a_run_is_found_by_its_folder_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, spec = RunDir(tmp_path, tiny_spec().folder), tiny_spec()
    claim = run.claim(spec)
    assert claim is not None
    claim.release()
    monkeypatch.chdir(run.path)
    found = rundir.find_run(tmp_path / "elsewhere", ".")
    assert (found.path, found.name) == (run.path, run.name)
    with pytest.raises(UserError, match="names no run in"):
        rundir.find_run(tmp_path / "elsewhere", "..")


def test_of_many_processes_one_gets_the_claim(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        folder = tmp_path / str(round_)
        queue: multiprocessing.Queue[bool] = context.Queue()
        barrier = context.Barrier(4)
        people = [context.Process(target=_race, args=(str(folder), queue, barrier)) for _ in range(4)]
        for p in people:
            p.start()
        won = [queue.get(timeout=300) for _ in people]
        for p in people:
            p.join()
        assert sum(won) == 1


def test_a_claim_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        make(tmp_path).claim(SPEC)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    run = make(tmp_path)
    assert run.state() == "stale" and len(run.claims()) == 1
    claim = run.claim(SPEC)
    assert claim is not None
    assert run.claims() == [claim.path]
    claim.release()


def test_a_revived_process_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path)
    old = run.claim(SPEC)
    assert old is not None
    monkeypatch.setattr(rundir, "alive", lambda claim: False)  # as if its host had been cut off
    new = run.claim(SPEC)
    assert new is not None
    with pytest.raises(Lost):
        old.check()
    with pytest.raises(Lost):
        old.publish_record({})
    old.release()
    run.discard_if_untouched(old)
    new.check()  # releasing or discarding a lost claim leaves the new one alone
    new.publish_record({"by": "new"})
    with pytest.raises(Lost):
        new.publish_record({"by": "again"})
    assert read_json(run.file("record.json")) == {"by": "new"}
    new.release()
    assert not list(run.path.glob(".*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match=r"could not write in .*--results"):
        RunDir(blocked, SPEC.folder).claim(SPEC)


def test_a_slow_process_takes_no_run_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked while the first claim was dead; another took the run, gave it back, and a third took it."""
    run = make(tmp_path)
    dead = run.claim(SPEC)
    assert dead is not None
    dead.path.write_text(json.dumps({"token": "x", "host": "gone", "pid": 1, "started": "1"}))
    long_ago = dead.path.stat().st_mtime - claims.STALE_SECONDS - 1
    os.utime(dead.path, (long_ago, long_ago))
    seen = run.claims()
    second = make(tmp_path).claim(SPEC)
    assert second is not None
    second.release()
    assert run.state() == "missing"  # given back: nothing under way, nothing to resume
    third = make(tmp_path).claim(SPEC)
    assert third is not None and third.path != second.path
    looks = iter([seen])
    now = RunDir.claims
    monkeypatch.setattr(RunDir, "claims", lambda self: next(looks, None) or now(self))
    slow = make(tmp_path)
    assert slow.claim(SPEC) is None
    monkeypatch.undo()
    third.check()
    third.release()


def test_an_untouched_folder_goes_while_it_is_held_and_can_be_taken_again(tmp_path: Path) -> None:
    run = make(tmp_path)
    claim = run.claim(SPEC)
    assert claim is not None
    run.discard_if_untouched(claim)
    assert not run.path.exists() and not list(tmp_path.iterdir())
    again = run.claim(SPEC)
    assert again is not None
    claim.release()  # of the folder that has gone: the new claim stands
    again.check()
    run.file("error.txt").write_text("reason")
    run.discard_if_untouched(again)
    assert run.state() == "running"
    again.release()
    assert run.state() == "failed"


def test_a_folder_gone_before_the_claim_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path)
    create, tries = claims.Claim.create, iter([True])

    def interrupted(self: claims.Claim) -> bool:
        if next(tries, False):
            run.path.rmdir()
        return create(self)

    monkeypatch.setattr(claims.Claim, "create", interrupted)
    claim = run.claim(SPEC)
    assert claim is not None
    claim.check()
    claim.release()


def test_a_claim_of_the_same_number_in_a_folder_made_anew_is_anothers(tmp_path: Path) -> None:
    run = make(tmp_path)
    old = run.claim(SPEC)
    shutil.rmtree(run.path)
    new = run.claim(SPEC)
    assert old and new and old.path == new.path
    with pytest.raises(Lost, match="was taken over by another process"):
        old.check()
    old.release()
    new.check()
    new.release()
