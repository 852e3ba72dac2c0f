"""`bench run --slurm` and `bench cancel`: runs that wait for, and run on, a Slurm cluster."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmark.cli.runs import reason
from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute import slurm
from benchmark.execute.progress import make_console
from benchmark.execute.slurm_options import parameters
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins
from benchmark.spec.plan import Plan

IDLE = ("missing", "stale", "failed")  # states of run directories that no process is in
POLL_SECONDS = (1.0, 30.0)  # between two looks at the queue: at first, at last


def run(
    plan: Plan,
    results: Path,
    data: Path,
    settings: list[str],
    options: dict[str, Any],
    *,
    force: bool,
    retry_failed: bool,
    wait: bool,
) -> tuple[int, dict[str, Any]]:
    """Submit what is missing of a plan, and is not queued yet, as one array job; return at once, or `wait`
    for its end.

    options: device, checkpoint_every and keep, as `train.Options` takes them, but for a device that is yet to
    be found. Returns the exit code and, for --json, the runs' states and the job's id.
    """
    if not settings:
        raise UserError("--wait waits for a Slurm cluster; give --slurm too, or leave it out.")
    if force:
        raise UserError(
            "--force does not go with --slurm, for a requeued run would start anew; `bench clean` deletes "
            "runs."
        )
    if not re.fullmatch(
        r"auto|cpu|cuda(:\d+)?", options["device"]
    ):  # whether it is there only the node can tell
        raise UserError(f"--device {options['device']!r} is not one of auto, cpu, cuda, cuda:N.")
    values = parameters(settings, plan.cells)
    for command in ("sbatch", "srun"):
        slurm.call(command, "--version")
    execute.check_keywords(plan.cells, execute.Data(data))
    console = make_console()
    for note in plan.notes:
        console.print(f"note: {note}", soft_wrap=True)
    options |= {"weights": {content: str(file.resolve()) for content, file in plan.weights.items()}}
    with slurm.submitting(results):
        states = _states(plan, results)
        wanted = [state for state in IDLE if retry_failed or state != "failed"]
        cells = [spec for spec in plan.cells if states[spec.id] in wanted]
        others = [state for state in states.values() if state not in wanted]
        rest = (
            f" ({', '.join(f'{count} {state}' for state, count in Counter(others).items())})"
            if others
            else ""
        )
        job = None
        if cells:
            job, logs = slurm.submit(cells, results, data, options, plugins.files(), values)
            runs = f"{len(cells)} run{'s' if len(cells) > 1 else ''}"
            console.print(f"submitted {runs} as Slurm job {job}{rest}; logs: {logs}", soft_wrap=True)
        else:
            console.print(f"nothing to submit{rest}.", soft_wrap=True)
    if "failed" in others:
        console.print("--retry-failed submits what failed.")
    if wait:
        code, states = _wait(plan, results)
    else:
        code = 1 if "failed" in others else 0
        states |= {spec.id: "queued" for spec in cells}
        if cells:
            console.print("`bench status` shows how they fare, `bench cancel` stops them.")
    failed = {spec.id: RunDir(results, spec.folder) for spec in plan.cells if states[spec.id] == "failed"}
    failures = {name: reason(run_dir) or "unknown" for name, run_dir in failed.items()}
    return code, {"states": states, "failures": failures, "boards": [], "job": job}


def _states(plan: Plan, results: Path) -> dict[str, str]:
    """{id: state} by the run directories, and "queued" where Slurm holds what they do not call running or
    done.
    """
    held = {task.folder for task in slurm.queue(results)}
    states: dict[str, str] = {spec.id: RunDir(results, spec.folder).state() for spec in plan.cells}
    return states | {s.id: "queued" for s in plan.cells if s.folder in held and states[s.id] in IDLE}


def _wait(plan: Plan, results: Path) -> tuple[int, dict[str, str]]:
    """Until Slurm holds no run of the plan any more; the exit code and the states then."""
    console = make_console()
    pause, last = POLL_SECONDS
    folders = {spec.folder for spec in plan.cells}
    try:
        while any(task.folder in folders for task in slurm.queue(results)):
            time.sleep(pause)
            pause = min(1.5 * pause, last)
    except KeyboardInterrupt:
        console.print("interrupted: the runs stay in Slurm's queue; `bench cancel` takes them out.")
        return 130, _states(plan, results)
    states = _states(plan, results)
    console.print(", ".join(f"{count} {state}" for state, count in Counter(states.values()).items()))
    return 0 if set(states.values()) == {"done"} else 1, states


def mark(rows: list[dict[str, Any]], results: Path) -> str:
    """Put what Slurm holds into the rows of `bench status`: "queued", with a reason, for runs that wait
    there, and rows for those that have no folder yet. Returns a sentence where the queue cannot be seen, else
    nothing."""
    try:
        waiting = [task for task in slurm.queue(results) if not task.ending]
    except UserError as error:
        return f"what waits in Slurm's queue is not shown: {error}"
    known = {row["run"]: row for row in rows}
    for task in waiting:
        row = known.get(task.folder)
        if row is None:
            rows.append(row := {"run": task.folder, "id": task.folder.rpartition("-")[2], "state": "missing"})
        if row["state"] in IDLE:
            row |= {"state": "queued", "task": task.task, "reason": task.reason or "starting"}
    rows.sort(key=lambda row: str(row["run"]))
    return ""


def cancel(names: list[str], everything: bool, results: Path, as_json: bool) -> int:
    """Take runs out of Slurm's queue; those under way stop with a checkpoint."""
    if bool(names) == everything:
        raise UserError("name the runs to cancel, as `bench status` prints them or by id, or give --all.")
    waiting = [task for task in slurm.queue(results) if not task.ending]
    chosen = list({task.task: task for name in names for task in _matching(name, waiting, results)}.values())
    if everything:
        chosen = waiting
    slurm.cancel(chosen)
    if as_json:
        rows = [{"run": task.folder, "task": task.task, "state": task.state} for task in chosen]
        print(json.dumps(rows, indent=1))
        return 0
    console = make_console()
    for task in chosen:
        console.print(
            f"cancelled {task.folder} (Slurm task {task.task}, {task.state.lower()})", soft_wrap=True
        )
    if not chosen:
        console.print(f"Slurm holds no run of {results}.")
    return 0


def _matching(name: str, waiting: list[slurm.Queued], results: Path) -> list[slurm.Queued]:
    found = [
        task
        for task in waiting
        if name in (task.folder, task.folder.rpartition("/")[2])
        or task.folder.rpartition("-")[2].startswith(name)
    ]
    if len({task.folder for task in found}) != 1:
        many = f"{len(found)} runs" if found else "no run"
        raise UserError(
            f"{name!r} names {many} that Slurm holds for {results}; `bench status` shows what is queued."
        )
    return found
