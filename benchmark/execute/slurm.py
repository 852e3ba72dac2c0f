"""Runs as tasks of a Slurm array job: submit them, ask for those that Slurm still holds, carry one out.

    <results>/.slurm/  TOKEN.json  TOKEN/ (what the tasks carry out, and their logs)

A submission is one array job called `bench-TOKEN`, so `squeue` tells which runs wait without accounting, from
any host that has it, even where the submitting process died before it learnt the job's id.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmark.errors import UserError
from benchmark.execute.attempt import attempt, note_failure
from benchmark.execute.data import Data
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress
from benchmark.files import read_json, write_json, writing
from benchmark.runs.claim import HEARTBEAT_SECONDS, STALE_SECONDS, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec
from benchmark.system import filesystem_now
from benchmark.typed import convert

FOLDER = ".slurm"
PREFIX = "bench-"
TASKS = "tasks.json"
MODULE = "benchmark.execute.slurm"
ANSWER_SECONDS = 60.0  # that Slurm, or a submission under way, gets to answer
ENDED_SECONDS = 3600.0  # after which a submission that Slurm does not hold is forgotten
LOOK_SECONDS = 5.0  # between a task's looks at a run that another host seems to hold
WARNING = signal.SIGUSR2  # comes before the time limit: ample for a step, and for a checkpoint on a slow disk
WARNING_SECONDS = 90
MOST_REQUEUES = 1000  # by a task itself
# Set by bench itself: a task is one process that runs one cell, or its states would be wrong.
OWN = (
    "array", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "requeue",
    "signal", "wait", "wrap",
)  # fmt: skip


@dataclass(frozen=True)
class Queued:
    """A run that Slurm holds. task: for `scancel` (`12_3`); state, reason: Slurm's words."""

    folder: str
    task: str
    state: str
    reason: str


class NoAnswer(UserError):
    """Slurm did not answer in time, and may have done what it was asked for."""


def call(*command: str, cure: str = "try again when Slurm answers") -> str:
    """Return what a command of Slurm prints. Raises `UserError` if it is absent, silent or refuses."""
    name = command[0]
    if shutil.which(name) is None:
        raise UserError(f"{name} is not on this host; run this on the cluster, such as its login node.")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{name} did not answer in {ANSWER_SECONDS:.0f} s; try again later.") from None
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0].strip().rstrip(".")
        raise UserError(f"{name} failed ({reason}); {cure}.")
    return done.stdout


def submitted(results: Path) -> list[Path]:
    """List the file of every submission for a results folder."""
    return sorted((results / FOLDER).glob("*.json"))


def queue(results: Path) -> list[Queued]:
    """List the runs that Slurm holds, waiting, running or ending. Raises `UserError` if `squeue` fails."""
    folders, ended = dict[str, list[str]](), dict[str, Path]()
    for file in submitted(results):
        content, name = read_json(file, "remove it"), PREFIX + file.stem
        folders[name] = convert(content.get("folders"), list[str], str(file), "remove it", "folders")
        ended |= {name: file} if "job" in content else {}
    found, asked = [], ("squeue", "--noheader", "--array", f"--name={','.join(folders)}")
    for line in call(*asked, "--format=%j|%i|%T|%r").splitlines() if folders else ():
        name, task, state, reason = line.strip().split("|", 3)
        ended.pop(name, None)
        folder = folders[name][int(task.partition("_")[2] or 0)]
        found.append(Queued(folder, task, state, "" if reason == "None" else reason))
    for file in ended.values():  # what has ended for an hour need not be asked for again
        with contextlib.suppress(OSError):
            if filesystem_now(results) - file.stat().st_mtime > ENDED_SECONDS:
                file.unlink()
    return found


@contextlib.contextmanager
def submitting(results: Path) -> Iterator[None]:
    """Hold the right to submit for a results folder: the next command sees this one's runs in the queue."""
    from filelock import FileLock, Timeout

    folder = results / FOLDER
    new = [path for path in (results, *results.parents) if not path.exists()]
    with writing(results):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=ANSWER_SECONDS):
            folder.mkdir(parents=True, exist_ok=True)  # the one before may have removed it
            yield
    except Timeout:
        raise UserError(
            f"another command is submitting for {results}; run the same command when it is through."
        ) from None
    finally:
        if not submitted(results):  # nothing was submitted: leave no trace
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                for path in new:
                    path.rmdir()


def submit(
    cells: Sequence[RunSpec], options: Options, parameters: Sequence[str], most: str
) -> tuple[str, Path]:
    """Submit one array job with a task a run; (its id, the folder of its logs).

    parameters, most: of `parameters`. Raises `UserError`, and leaves nothing, if `sbatch` refuses.
    """
    token = uuid.uuid4().hex[:8]
    results = options.results.resolve()
    file, logs = results / FOLDER / f"{token}.json", results / FOLDER / token
    content = {"folders": [cell.folder for cell in cells]}
    weights = {name: path.resolve() for name, path in options.weights.items()}
    options = replace(options.beginning(), results=results, data=options.data.resolve(), weights=weights)
    own = [f"--job-name={PREFIX}{token}", f"--array=0-{len(cells) - 1}{f'%{most}' if most else ''}"]
    # Where JobRequeue is off in slurm.conf, only a job that says so may be queued again.
    own += [
        "--requeue",
        f"--signal=USR2@{_warning(parameters)}",
        f"--output={logs}/%A_%a.txt",
        "--open-mode=append",
    ]
    # srun has not taken the cores over from sbatch since Slurm 22.05.
    cores = "${SLURM_CPUS_PER_TASK:+--cpus-per-task=$SLURM_CPUS_PER_TASK}"
    wrap = f"--wrap=exec srun {cores} {shlex.join([sys.executable, '-P', '-u', '-m', MODULE, str(logs)])}"
    with writing(results):
        logs.mkdir()
        specs = [cell.as_dict() | {"id": cell.id} for cell in cells]
        plain = msgspec.to_builtins(options, enc_hook=str)
        write_json(logs / TASKS, {"specs": specs, "options": plain})
        write_json(file, content)
        try:
            said = call("sbatch", "--parsable", *own, *parameters, wrap, cure="nothing was submitted")
            job = said.strip().partition(";")[0]
            if not job.isdecimal():
                raise UserError(f"sbatch submitted nothing: it printed {said.strip()[:80]!r} and no job.")
        except NoAnswer:
            raise  # it may have taken the job, whose tasks then need the file
        except UserError:
            file.unlink()
            shutil.rmtree(logs, ignore_errors=True)
            raise
        write_json(file, content | {"job": job})
    return job, logs


def _warning(parameters: Sequence[str]) -> int:
    """Return how many seconds before its limit a task is warned: a quarter of a short one."""
    minutes = next((p.partition("=")[2] for p in parameters if p.startswith("--time=")), "")
    return min(WARNING_SECONDS, 15 * int(minutes)) if minutes.isdecimal() else WARNING_SECONDS


def parameters(settings: Sequence[str], cells: Sequence[RunSpec]) -> tuple[list[str], str]:
    """Return (options of sbatch, how many tasks may run at a time) for `--slurm key=value`.

    Keys and values are Slurm's own, which checks them. Raises `UserError`.
    """
    values: dict[str, str] = {}
    for setting in settings:
        key, _, text = (part.strip() for part in setting.partition("="))
        name = key.replace("_", "-")
        if not text or not re.fullmatch("[a-z][a-z-]*", name):
            raise UserError(f"--slurm {setting!r} is not key=value; write for example --slurm partition=gpu.")
        if name in OWN:
            raise UserError(f"--slurm {key} is set by bench itself, one process a run; leave it out.")
        values[name] = text
    if "time" not in values:
        raise UserError("--slurm time=... is missing; give a limit in minutes or as 1-12:00:00.")
    most = values.pop("max-parallel", "")
    if most and (not most.isdecimal() or int(most) < 1):
        raise UserError(f"--slurm max_parallel={most} is not a number of tasks of 1 or more.")
    if not values.keys() & {"cpus-per-task", "cpus-per-gpu"}:
        values["cpus-per-task"] = str(max(cell.protocol.threads for cell in cells))
    return [f"--{name}" if text == "true" else f"--{name}={text}" for name, text in values.items()], most


def main(folder: Path, job: str, number: str) -> None:
    """Be a task: carry a run out, and exit with 1 where it leaves no record, so that Slurm calls it failed.

    Slurm warns of the time limit by `WARNING`, and of preemption, cancelling and requeuing by SIGTERM. All of
    them stop the run at a step's end, with a checkpoint; where Slurm has not ended the job itself, it is then
    queued again.
    """
    stop, warned = threading.Event(), list[int]()

    def ask(signum: int, frame: object) -> None:
        warned.append(signum)
        stop.set()

    signal.signal(WARNING, ask)
    signal.signal(signal.SIGTERM, ask)
    content, task = read_json(folder / TASKS, "submit the plan again"), f"{job}_{number}"
    options = msgspec.convert(content["options"], Options, dec_hook=lambda kind, value: kind(value))
    outcome = carry_out(content["specs"][int(number)], options, stop)
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) < MOST_REQUEUES
    if outcome == "interrupted" and again and (WARNING in warned or _goes_on(task)):
        call("scontrol", "requeue", task)
    print(f"bench: {outcome}", flush=True)
    sys.exit(outcome != "done")


def carry_out(submitted: dict[str, Any], options: Options, stop: threading.Event) -> str:
    """Attempt a run: "done", "failed", "elsewhere", or "interrupted" after `stop`.

    submitted: its spec and id as plain values.
    """
    from benchmark.training.loop import Interrupted

    for file in options.plugins:
        plugins.use(file)
    # Requeued to another host, it finds its own claim there until that is stale.
    deadline = time.monotonic() + STALE_SECONDS + 2 * HEARTBEAT_SECONDS
    try:
        spec = RunSpec.from_dict(submitted, "this job")
        with Progress([spec]) as progress:
            data = Data(options.data, progress.note)
            while True:
                outcome = attempt(spec, options, data, progress, stop)
                if outcome != "elsewhere" or time.monotonic() > deadline:
                    return outcome
                if stop.wait(LOOK_SECONDS):
                    return "interrupted"
    except Interrupted:
        return "interrupted"
    except UserError as error:  # a task has no terminal to show wrong input in
        sys.stderr.write(f"bench: {error}\n")
        with contextlib.suppress(UserError, Lost):
            values = {key: value for key, value in submitted.items() if key not in ("schema", "id")}
            planned = convert(values, RunSpec, "this job")
            claim = RunDir(options.results, planned.folder).claim(planned)
            if claim is not None:
                note_failure(claim, str(error))
                claim.release()
        return "failed"


def _goes_on(task: str) -> bool:
    """Tell whether Slurm still counts a task as running.

    After SIGTERM it does when the job is preempted with grace, and then does not queue it again by itself; a
    job that is cancelled, requeued or out of time is not running any more.
    """
    with contextlib.suppress(UserError):
        return call("squeue", "--noheader", f"--jobs={task}", "--format=%T").strip() == "RUNNING"
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ["SLURM_ARRAY_JOB_ID"], os.environ["SLURM_ARRAY_TASK_ID"])
