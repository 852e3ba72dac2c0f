"""A plan on a real Slurm: killed, cancelled, requeued, warned and preempted, and in the end what a calm run
computes.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.conftest import Bench
from tests.executors.common import computed
from tests.slurm.conftest import call, until

STEPS = 60
PLAN = [
    "run", "thin", "multi_task", *(part for setting in (
        "seeds=6", "size=[32, 64]", "train_images=16", "test_images=8", "batch=4", f"epochs={STEPS // 4}",
        "width=8",
        "decoder_blocks=1",
    ) for part in ("--set", setting)), "--device", "cpu",
]  # fmt: skip


def test_a_plan_through_slurm_ends_as_in_process(cluster: None, bench: Bench, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    submit = [*PLAN, "--slurm", "time=10", "--slurm", "max_parallel=2", "--results", results]
    code, out, err = bench(*submit)
    assert code == 0 and "submitted 6 runs as Slurm job" in out, out + err
    (file,) = (results / ".slurm").glob("*.json")
    job, folders = json.loads(file.read_text())["job"], json.loads(file.read_text())["folders"]
    assert f"job {job}" in out and str(file.with_suffix("")) in out and len(folders) == 6
    # Again at once: the queue holds all of them already, and the status says so before a run has a folder.
    code, out, _ = bench(*submit)
    assert code == 0 and "nothing to submit (6 queued)." in out

    def rows() -> dict[str, dict[str, Any]]:
        return {row["run"]: row for row in json.loads(bench("status", "--results", results, "--json")[1])}

    assert (
        list(rows()) == sorted(folders)
        and rows()[folders[5]]["state"] == "queued"
        and rows()[folders[5]]["reason"]
    )

    def training() -> list[int]:
        """The cells under way that have taken steps and were not disturbed yet."""
        logs = (results / folder / "curve.jsonl" for folder in folders)
        begun = [index for index, log in enumerate(logs) if log.exists() and log.read_text()]
        return [index for index in begun if index not in faults.values() and not done(index)]

    def done(index: int) -> bool:
        return (results / folders[index] / "record.json").exists()

    # One fault a cell, in the order in which they come to train: two at a time.
    faults: dict[str, int] = {}
    for fault in ("killed", "requeued", "cancelled", "warned", "preempted"):
        index = faults[fault] = until(training, f"a cell to be {fault}")[0]
        run, task = results / folders[index], f"{job}_{index}"
        pid = json.loads(next(run.glob("claim-*.json")).read_text())["pid"]
        if fault == "cancelled":
            code, out, _ = bench("cancel", run.name, "--results", results)
            assert code == 0 and out == f"cancelled {folders[index]} (Slurm task {task}, running)\n"
        elif fault == "requeued":
            call("scontrol", "requeue", task)
        # Slurm warns of the time limit by USR2, as the job asked for, and of preemption with grace by TERM
        else:
            os.kill(
                pid, {"killed": signal.SIGKILL, "warned": signal.SIGUSR2, "preempted": signal.SIGTERM}[fault]
            )
        if fault == "killed":
            continue
        until((run / "checkpoint.pt").exists, f"a checkpoint of the {fault} cell")
    until(lambda: not call("squeue", "--noheader"), "the end of the job", 120)
    states = {folder: row["state"] for folder, row in rows().items()}
    assert states == {
        folder: "stale" if i in (faults["killed"], faults["cancelled"]) else "done"
        for i, folder in enumerate(folders)
    }
    for index in (faults["requeued"], faults["warned"], faults["preempted"]):
        log = (file.with_suffix("") / f"{job}_{index}_0_log.out").read_text()
        assert log.count("Starting with") == 2 and log.count("bench: done") == 1, log
    # The same command submits what is left, and no more.
    code, out, err = bench(*submit, "--wait")
    assert code == 0 and "submitted 2 runs as Slurm job" in out and "(4 done)" in out and "6 done" in out, (
        out + err
    )
    calm = tmp_path / "calm"
    assert bench(*PLAN, "--results", calm)[0] == 0
    assert computed(results) == computed(calm) and len(computed(calm)) == 6
    # A finished plan, and nothing to cancel.
    code, out, _ = bench(*submit)
    assert code == 0 and "nothing to submit (6 done)." in out
    assert "Slurm holds no run" in bench("cancel", "--all", "--results", results)[1]
    assert bench("cancel", "--all", "--results", results, "--json")[1] == "[]\n"
    assert {row["state"] for row in rows().values()} == {"done"}


def test_a_single_run_and_what_sbatch_refuses(cluster: None, bench: Bench, tmp_path: Path) -> None:
    results = tmp_path / "deep" / "runs"
    one = [*PLAN, "--set", "seeds=1", "--set", "epochs=1", "--results", results, "--slurm", "time=10"]
    for refused in ("partition=gpu", "no-such-option=3"):
        code, out, err = bench(*one, "--slurm", refused)
        assert code == 2 and err.startswith("bench: sbatch refused (sbatch: ") and err.count("\n") == 1, (
            out + err
        )
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
