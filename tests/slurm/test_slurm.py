"""A plan on a real Slurm: killed, cancelled, requeued, warned, preempted; in the end as a calm run."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.commands import sets, waiting
from tests.conftest import Bench
from tests.executors.common import alive, computed
from tests.slurm.conftest import call, until


def test_a_plan_on_slurm_ends_as_in_process(cluster: None, bench: Bench, gate: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    plan = [*waiting(gate, results, "seeds=3", "epochs=20"), "--device", "cpu"]
    submit = [*plan, "--slurm", "time=10", "--slurm", "max_parallel=2"]
    code, out, err = bench(*submit)
    assert code == 0 and "submitted 3 runs as Slurm job" in out, out + err
    (file,) = (results / ".slurm").glob("*.json")
    job, folders = json.loads(file.read_text())["job"], json.loads(file.read_text())["folders"]
    assert f"job {job}" in out and str(file.with_suffix("")) in out and len(folders) == 3
    # Again at once: the queue holds all of them already, and the status says so before a run has a folder.
    code, out, _ = bench(*submit)
    assert code == 0 and "nothing to submit (3 queued)." in out

    def rows() -> dict[str, dict[str, Any]]:
        return {row["run"]: row for row in json.loads(bench("status", "--results", results, "--json")[1])}

    last = rows()[folders[2]]
    assert list(rows()) == sorted(folders) and last["state"] == "queued" and last["reason"]
    place = gate.with_suffix("")
    disturbed: list[int] = []

    def training(run: Path) -> int:
        """The process of a run that has begun its first step and was not disturbed yet; 0 for none."""
        claims = [json.loads(claim.read_text() or "{}") for claim in run.glob("claim-*.json")]
        begun = [int(line.split()[0]) for line in place.read_text().splitlines()] if place.exists() else []
        pids = {claim.get("pid") for claim in claims} & set(begun) - set(disturbed)
        return pids.pop() if pids and (run / "checkpoint.pt").exists() else 0

    # Two cells live on side by side. Slurm warns of the time limit by USR2, as the job asked for, and of
    # preemption with grace by TERM.
    faults = ((1, "killed"), (0, "warned"), (2, "requeued"), (0, "preempted"), (2, "cancelled"))
    signals = {"killed": signal.SIGKILL, "warned": signal.SIGUSR2, "preempted": signal.SIGTERM}
    step = 5
    for index, fault in faults:
        run, task = results / folders[index], f"{job}_{index}"
        pid = until(lambda run=run: training(run), f"a cell to be {fault}")
        disturbed.append(pid)
        if fault == "cancelled":
            code, out, _ = bench("cancel", run.name, "--results", results)
            assert code == 0 and out == f"cancelled {folders[index]} (Slurm task {task}, running)\n"
        elif fault == "requeued":
            call("scontrol", "requeue", task)
        else:
            os.kill(pid, signals[fault])
        while alive(pid):
            step += 1
            gate.write_text(str(step))
            time.sleep(1.0)
        assert step < 70 and (run / "checkpoint.pt").exists(), (fault, step)
    gate.write_text("1000")
    until(lambda: not call("squeue", "--noheader"), "the end of the job", 600)
    assert [rows()[folder]["state"] for folder in folders] == ["done", "stale", "stale"]
    for index, lives, ends in ((0, 3, 1), (2, 2, 0)):
        log = (file.with_suffix("") / f"{job}_{index}.txt").read_text()
        assert log.count(": running (") == lives and log.count("bench: done") == ends, log
    # The same command submits what is left, and no more.
    code, out, err = bench(*submit, "--wait")
    assert code == 0 and "submitted 2 runs as Slurm job" in out and "(1 done)" in out, out + err
    assert "3 done" in out
    calm = tmp_path / "calm"
    assert bench(*plan, "--results", calm)[0] == 0
    assert computed(results) == computed(calm) and len(computed(calm)) == 3
    # A finished plan, and nothing to cancel.
    code, out, _ = bench(*submit)
    assert code == 0 and "nothing to submit (3 done)." in out
    assert "Slurm holds no run" in bench("cancel", "--all", "--results", results)[1]
    assert bench("cancel", "--all", "--results", results, "--json")[1] == "[]\n"
    assert {row["state"] for row in rows().values()} == {"done"}


def test_a_single_run_and_what_sbatch_refuses(cluster: None, bench: Bench, tmp_path: Path) -> None:
    results = tmp_path / "deep" / "runs"
    one = ["run", "thin", "multi_task", *sets("seeds=1", "epochs=1"), "--device", "cpu"]
    one += ["--results", results, "--slurm", "time=10"]
    for refused in ("partition=gpu", "no-such-option=3"):
        code, out, err = bench(*one, "--slurm", refused)
        assert code == 2 and err.count("\n") == 1, out + err
        assert err.startswith("bench: sbatch failed (sbatch: ")
        assert refused.partition("=")[2 if "gpu" in refused else 0] in err and not results.parent.exists()
    code, out, err = bench(*one, "--slurm", "hold=true", "--json")
    assert code == 0 and "submitted 1 run as Slurm job" in err, out + err
    assert list(json.loads(out)["states"].values()) == ["queued"] and json.loads(out)["job"] in err
    (row,) = json.loads(bench("status", "--results", results, "--json")[1])
    assert row["state"] == "queued" and row["reason"] == "JobHeldUser" and not (results / row["run"]).exists()
    assert f"queued   {row['run']} (JobHeldUser)" in bench("status", "--results", results)[1]
    (cancelled,) = json.loads(bench("cancel", row["run"][-12:], "--results", results, "--json")[1])
    assert cancelled == {"run": row["run"], "task": row["task"], "state": "PENDING"}
    code, _, err = bench("cancel", row["run"][-12:], "--results", results)
    assert code == 2 and "names no run that Slurm holds" in err
    code, out, err = bench(*one, "--wait")
    assert code == 0 and "1 done" in out, out + err
