"""What the commands say on a host without Slurm, or with one that does not answer; a task in this process."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.cli import cluster
from benchmark.errors import UserError
from benchmark.execute import slurm
from benchmark.execute.options import Options
from benchmark.files import write_json
from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec
from tests.commands import sets
from tests.conftest import Bench
from tests.helpers import tiny_spec

Host = Callable[..., None]
PLAN = ["run", "thin", "multi_task", *sets("seeds=6"), "--device", "cpu"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    """A host whose PATH has only the commands given: what each prints, and with which exit code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, out: str = "", err: str = "", code: int = 0) -> None:
        file = folder / name
        file.write_text(f"#!/bin/sh\nprintf %s '{out}'\nprintf %s '{err}' >&2\nexit {code}\n")
        file.chmod(0o755)

    return put


def submission(results: Path, *specs: RunSpec) -> None:
    file = results.resolve() / slurm.FOLDER / "0123abcd.json"
    file.parent.mkdir(parents=True)
    write_json(file, {"folders": [spec.folder for spec in specs]})


def attempted(spec: RunSpec, results: Path, name: str = "", stop: threading.Event | None = None) -> str:
    """The outcome of a task that carries a run out."""
    options = Options(results, results / "data", "cpu", "none")
    values = spec.as_dict() | {"id": name or spec.id}
    return slurm.carry_out(values, options, stop or threading.Event())


BAD: dict[str, tuple[list[str], str]] = {
    "no value": (["--slurm", "partition"], "--slurm 'partition' is not key=value"),
    "own key": (["--slurm", "time=5", "--slurm", "job-name=mine"], "--slurm job-name is set by bench itself"),
    "no time": (["--slurm", "partition=gpu"], "--slurm time=... is missing"),
    "parallel": (["--slurm", "time=5", "--slurm", "max_parallel=0"], "max_parallel=0 is not a number"),
    "force": (["--slurm", "time=5", "--force"], "--force does not go with --slurm"),
    "waiting for nothing": (["--wait"], "--wait requires --slurm"),
    "no sbatch": (["--slurm", "time=5"], "sbatch is not on this host; run this on the cluster"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str, bench: Bench, host: Host, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    code, out, err = bench(*PLAN, *arguments, "--results", tmp_path / "r")
    assert code == 2 and message in err and err.count("\n") == 1, out + err
    assert not (tmp_path / "r").exists()


def test_the_queue_must_be_seen_before_submitting(
    bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host("sbatch")
    host("squeue", err="error: Unable to contact slurm controller", code=1)
    submission(tmp_path, tiny_spec())
    code, _, err = bench(*PLAN, "--slurm", "time=5", "--results", tmp_path)
    assert code == 2 and "squeue failed (error: Unable to contact slurm controller); try again" in err
    assert len(slurm.submitted(tmp_path)) == 1
    host("squeue", out="'; exec /bin/sleep 5; '")
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 0.2)
    with pytest.raises(UserError, match="squeue did not answer in 0 s"):
        slurm.queue(tmp_path)


def test_two_commands_do_not_submit_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 0.1)
    refused = []

    def another() -> None:
        with pytest.raises(UserError, match="another command is submitting"), slurm.submitting(results):
            pass
        refused.append(True)

    results = tmp_path / "deep" / "r"
    with slurm.submitting(results):
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        assert results.exists()
    assert refused and not results.parent.exists()


def test_status_tells_what_it_cannot_see(bench: Bench, host: Host, tmp_path: Path) -> None:
    assert "note" not in bench("status", "--results", tmp_path)[1]  # nothing was submitted
    submission(tmp_path, tiny_spec())
    code, out, err = bench("status", "--results", tmp_path, "--json")
    assert code == 0 and json.loads(out) == []
    assert "note: what waits in Slurm's queue is not shown: squeue is not on this host" in err
    code, _, err = bench("cancel", "--all", "--results", tmp_path)
    assert code == 2 and "squeue is not on this host" in err


def test_states_come_from_the_queue_and_the_run_directories(bench: Bench, host: Host, tmp_path: Path) -> None:
    specs = [tiny_spec(seed=seed) for seed in range(5)]
    submission(tmp_path, *specs)
    claims = [RunDir(tmp_path, spec.folder).claim(spec) for spec in (specs[0], specs[4])]
    lines = ["7_0|RUNNING|None", "7_1|PENDING|Priority", "7_2|RUNNING|None", "7_3|COMPLETING|None"]
    host("squeue", out="".join(f"bench-0123abcd|{line}\n" for line in lines))
    rows = {row["run"]: row for row in json.loads(bench("status", "--results", tmp_path, "--json")[1])}
    found = [(rows.get(s.folder, {}).get("state"), rows.get(s.folder, {}).get("reason")) for s in specs]
    running, queued = ("running", None), [("queued", "Priority"), ("queued", "starting")]
    assert found == [running, *queued, (None, None), running]
    host("scancel", err="scancel: error: Invalid job id", code=1)
    code, _, err = bench("cancel", specs[1].id, "--results", tmp_path)
    assert code == 2 and "scancel failed (scancel: error: Invalid job id)" in err
    host("scancel")
    code, out, _ = bench("cancel", "--all", "--results", tmp_path)
    assert code == 0 and [line.split()[1] for line in out.splitlines()] == [spec.folder for spec in specs[:3]]
    for names, message in (
        ([specs[0].id, "--all"], "name the runs to cancel"),
        (["nothing"], "'nothing' names no run that Slurm holds"),
        ([""], "'' names 3 runs that Slurm holds"),
    ):
        code, _, err = bench("cancel", *names, "--results", tmp_path)
        assert code == 2 and message in err, err
    for claim in claims:
        assert claim
        claim.release()


def test_parameters_are_slurms_own() -> None:
    cells = [tiny_spec(threads=3), tiny_spec(threads=2)]
    settings = ["time=2:30:01", "gres=gpu:1", "gpus_per_task=1", "exclusive=true", "max_parallel=7"]
    wanted = ["--time=2:30:01", "--gres=gpu:1", "--gpus-per-task=1", "--exclusive", "--cpus-per-task=3"]
    assert slurm.parameters(settings, cells) == (wanted, "7")
    assert slurm.parameters(["time=1", "cpus-per-gpu=4"], cells) == (["--time=1", "--cpus-per-gpu=4"], "")


def test_a_task_has_the_options_of_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights, plugins = {"sha256:0": tmp_path / "w.pth"}, (tmp_path / "mine.py",)
    options = Options(tmp_path / "runs", tmp_path / "data", "cpu", weights=weights, plugins=plugins)
    options = replace(options, retry_failed=True)
    given: list[Any] = []
    monkeypatch.setattr(slurm, "call", lambda *command, **rest: "12")
    monkeypatch.setattr(slurm, "carry_out", lambda *task: given.extend(task) or "done")
    monkeypatch.setattr(slurm.signal, "signal", lambda *handler: None)
    with slurm.submitting(options.results):
        job, logs = slurm.submit([tiny_spec(), tiny_spec(seed=1)], options, ["--time=5"], "")
    with pytest.raises(SystemExit) as ended:
        slurm.main(logs, job, "1")
    assert not ended.value.code and given[0]["id"] == tiny_spec(seed=1).id
    assert given[1].began > 0 and replace(given[1], began=0.0) == options


def test_a_task_leaves_wrong_input_as_a_failed_run(tmp_path: Path) -> None:
    lost, changed = tiny_spec(), tiny_spec(seed=1)
    assert attempted(lost, tmp_path) == "failed"  # of a data set that there is none of
    run = RunDir(tmp_path, lost.folder)
    assert run.state() == "failed" and "unknown data set 'tiny-v1'" in run.reason
    assert attempted(changed, tmp_path, "0123456789ab") == "failed"  # by code that has changed since
    assert "0123456789ab" in RunDir(tmp_path, changed.folder).reason


def test_a_task_waits_for_the_claim_of_a_dead_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcomes = ["elsewhere", "elsewhere", "done"]
    monkeypatch.setattr(slurm, "attempt", lambda *arguments: outcomes.pop(0))
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.01)
    assert attempted(tiny_spec(), tmp_path) == "done" and not outcomes
    outcomes += ["elsewhere"]
    stop = threading.Event()
    stop.set()
    assert attempted(tiny_spec(), tmp_path, stop=stop) == "interrupted"
    monkeypatch.setattr(slurm, "STALE_SECONDS", -100.0)
    outcomes += ["elsewhere"]
    assert attempted(tiny_spec(), tmp_path) == "elsewhere"


def test_waiting_ends_with_the_queue_or_by_ctrl_c(
    bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = f"/usr/bin/printf '%s\\n' \"$@\" >>'{tmp_path / 'asked'}'"
    host("sbatch", out=f"5;cluster\\n'; {noted}; printf '")
    host("squeue")
    waiting = [*PLAN, "--slurm", "time=5", "--wait", "--results", tmp_path]
    code, out, _ = bench(*waiting)
    assert code == 1 and "submitted 6 runs as Slurm job 5; logs: " in out and "\n6 missing\n" in out
    (file,) = slurm.submitted(tmp_path)
    asked = (tmp_path / "asked").read_text().splitlines()
    for option in (f"job-name=bench-{file.stem}", "array=0-5", "time=5", "requeue", "signal=USR2@75"):
        assert f"--{option}" in asked
    host("squeue", out="".join(f"bench-{file.stem}|5_{index}|PENDING|Priority\n" for index in range(6)))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "time", SimpleNamespace(sleep=interrupt))  # `subprocess` sleeps by another
    code, out, _ = bench(*waiting)
    assert code == 130 and "nothing to submit (6 queued)." in out and "the runs stay in Slurm's queue" in out
    first = tmp_path / json.loads(file.read_text())["folders"][0]
    first.mkdir(parents=True)
    (first / "error.txt").write_text("it broke\n")
    host("squeue")
    code, out, err = bench(*(part for part in waiting if part != "--wait"), "--json")
    assert code == 1 and list(json.loads(out)["failures"].values()) == ["it broke"]
    assert "submitted 5 runs as Slurm job 5 (1 failed)" in err and "--retry-failed submits" in err
