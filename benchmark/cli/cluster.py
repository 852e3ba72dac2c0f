"""`bench run --slurm` and `bench cancel`: runs that wait for, and run on, a Slurm cluster."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import RUNS, Answer, Results, say
from benchmark.errors import UserError
from benchmark.execute import slurm
from benchmark.runs.rundir import RunDir, means

if TYPE_CHECKING:
    from benchmark.execute.options import Options
    from benchmark.spec.plan import Plan

IDLE = ("missing", "stale", "failed")  # states of run directories that no process is in
POLL_SECONDS = (1.0, 30.0)  # between two looks at the queue: at first, at last


def submit(plan: Plan, options: Options, settings: list[str], wait: bool) -> Answer:
    """Submit what is missing of a plan, and not queued yet, as one array job; `wait` for its end.

    Returns the exit code and, for --json, the runs' states and the job's id.
    """
    from benchmark.execute.data import Data, check_keywords
    from benchmark.spec import plugins

    if not settings:
        raise UserError("--wait requires --slurm.")
    if options.force:
        raise UserError("--force does not go with --slurm; delete folders of runs to make them anew.")
    values = slurm.parameters(settings, plan.cells)
    slurm.call("sbatch", "--version")
    check_keywords(plan.cells, Data(options.data))
    files = tuple(file.resolve() for file in plugins.files())
    job = None
    with slurm.submitting(options.results):
        states = _states(plan, options.results)
        wanted = [state for state in IDLE if options.retry_failed or state != "failed"]
        cells = [spec for spec in plan.cells if states[spec.id] in wanted]
        others = Counter(state for state in states.values() if state not in wanted)
        said = "nothing to submit"
        if cells:
            job, logs = slurm.submit(cells, replace(options, weights=plan.weights, plugins=files), *values)
            said = f"submitted {len(cells)} run{'s' if len(cells) > 1 else ''} as Slurm job {job}"
    said += f" ({_counts(others)})" if others else ""
    say(said + (f"; logs: {logs}" if cells else "."))
    if "failed" in others:
        say("--retry-failed submits what failed.")
    code = 1 if "failed" in others else 0
    if wait:
        code, states = _wait(plan, options.results)
    elif cells:
        states |= {spec.id: "queued" for spec in cells}
        say("`bench status` shows how they fare, `bench cancel` stops them.")
    failed = [spec for spec in plan.cells if states[spec.id] == "failed"]
    failures = {spec.id: RunDir(options.results, spec.folder).reason or "unknown" for spec in failed}
    return code, {"states": states, "failures": failures, "boards": [], "job": job}


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _states(plan: Plan, results: Path) -> dict[str, str]:
    """{id: state} by the run directories; "queued" where Slurm holds what no process is in."""
    held = {task.folder for task in slurm.queue(results)}
    states: dict[str, str] = {spec.id: RunDir(results, spec.folder).state() for spec in plan.cells}
    return states | {s.id: "queued" for s in plan.cells if s.folder in held and states[s.id] in IDLE}


def _wait(plan: Plan, results: Path) -> tuple[int, dict[str, str]]:
    """Wait until Slurm holds no run of the plan; the exit code and the states then."""
    pause, last = POLL_SECONDS
    folders = {spec.folder for spec in plan.cells}
    try:
        while any(task.folder in folders for task in slurm.queue(results)):
            time.sleep(pause)
            pause = min(1.5 * pause, last)
    except KeyboardInterrupt:
        say("interrupted: the runs stay in Slurm's queue; `bench cancel` takes them out.")
        return 130, _states(plan, results)
    states = _states(plan, results)
    say(_counts(Counter(states.values())))
    return 0 if set(states.values()) == {"done"} else 1, states


def _waiting(results: Path) -> list[slurm.Queued]:
    return [task for task in slurm.queue(results) if task.state != "COMPLETING"]  # whose process has ended


def mark(rows: list[dict[str, Any]], results: Path) -> str:
    """Put what Slurm holds into the rows of `bench status`; a sentence where the queue cannot be seen.

    Runs that wait are "queued", with a reason; those without a folder get a row.
    """
    try:
        waiting = _waiting(results)
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


def cancel(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or folder names of runs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Cancel every run that Slurm holds.")] = False,
    results: Results = RUNS,
) -> Answer:
    """Cancel runs of the results folder that wait or run on a Slurm cluster; checkpoints stay."""
    if bool(names) == everything:
        raise UserError("name the runs to cancel, as `bench status` prints them or by id, or give --all.")
    tasks = waiting = _waiting(results)
    if names:
        tasks = []
        for name in dict.fromkeys(names):
            found = [task for task in waiting if means(name, task.folder)]
            if len({task.folder for task in found}) != 1:
                many = f"{len(found)} runs" if found else "no run"
                raise UserError(
                    f"{name!r} names {many} that Slurm holds for {results}; `bench status` shows what is "
                    "queued."
                )
            tasks += [task for task in found if task not in tasks]
    if tasks:  # a run under way is sent SIGTERM, and has Slurm's KillWait to checkpoint
        slurm.call("scancel", *(task.task for task in tasks))
    for task in tasks:
        say(f"cancelled {task.folder} (Slurm task {task.task}, {task.state.lower()})")
    if not tasks:
        say(f"Slurm holds no run of {results}.")
    return 0, [{"run": t.folder, "task": t.task, "state": t.state} for t in tasks]
