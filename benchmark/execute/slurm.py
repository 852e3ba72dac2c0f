"""Ask Slurm about a results folder: its submissions, and the runs of them that Slurm still holds.

    <results>/.slurm/  TOKEN.json  TOKEN/ (submitit's files and the logs)

A submission is one array job called `bench-TOKEN`, so `squeue` tells which runs wait without accounting, from
any host that has it, even where the submitting process died before it learnt the job's id.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.errors import UserError
from benchmark.execute.options import Options
from benchmark.files import read_json, write_json, writing
from benchmark.spec.run import RunSpec

FOLDER = ".slurm"
PREFIX = "bench-"
ANSWER_SECONDS = 60.0  # that Slurm, or a submission under way, gets to answer
# Each time limit that a run reaches moves it on by what it trained, so only a run that does not move should
# end here.
REQUEUES = 1000


@dataclass(frozen=True)
class Queued:
    """A run that Slurm holds. task: for `scancel` (`12_3`); state, reason: Slurm's words."""

    folder: str
    task: str
    state: str
    reason: str

    @property
    def ending(self) -> bool:
        """Whether its process has ended."""
        return self.state == "COMPLETING"


def call(*command: str) -> str:
    """Return what a command of Slurm prints. Raises `UserError` if it is absent, silent or refuses."""
    if shutil.which(command[0]) is None:
        raise UserError(f"{command[0]} is not on this host; run this on the cluster, such as its login node.")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{command[0]} did not answer in {ANSWER_SECONDS:.0f} s; try again when Slurm does."
        ) from None
    if done.returncode:
        raise UserError(f"{command[0]} failed ({_first_line(done.stderr)}); try again when Slurm answers.")
    return done.stdout


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else "without a word"


def submitted(results: Path) -> list[Path]:
    """List the file of every submission for a results folder."""
    return sorted((results / FOLDER).glob("*.json"))


def queue(results: Path) -> list[Queued]:
    """List the runs that Slurm holds, waiting, running or ending. Raises `UserError` if `squeue` fails."""
    files = {PREFIX + file.stem: file for file in submitted(results)}
    if not files:
        return []
    names = ",".join(files)
    lines = call("squeue", "--noheader", "--array", f"--name={names}", "--format=%j|%i|%T|%r").splitlines()
    cells: dict[str, list[str]] = {}
    found = []
    for line in lines:
        name, task, state, reason = line.strip().split("|", 3)
        if name not in cells:
            cells[name] = read_json(files[name])["folders"]
        index = int(task.partition("_")[2] or 0)  # an array of one is no array
        found.append(Queued(cells[name][index], task, state, "" if reason == "None" else reason))
    return found


@contextlib.contextmanager
def submitting(results: Path) -> Iterator[None]:
    """Hold the right to submit for a results folder: the next command sees this one's runs in the queue."""
    folder = results / FOLDER
    with writing(results):
        new = next((path for path in (*reversed(results.parents), results) if not path.exists()), None)
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
            if new is not None:
                _remove_empty(results, new)


def _remove_empty(folder: Path, top: Path) -> None:
    with contextlib.suppress(OSError):
        while folder != top.parent:
            folder.rmdir()
            folder = folder.parent


def submit(cells: Sequence[RunSpec], options: Options, parameters: dict[str, Any]) -> tuple[str, Path]:
    """Submit one array job with a task a run; (its id, the folder of its logs).

    parameters: of `submitit.SlurmExecutor`. Raises `UserError`, and leaves nothing, if `sbatch` refuses.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    from benchmark.execute.slurm_task import Task

    token = uuid.uuid4().hex[:8]
    results = options.results.resolve()
    file, logs = results / FOLDER / f"{token}.json", results / FOLDER / token
    content = {"folders": [cell.folder for cell in cells]}
    weights = {name: path.resolve() for name, path in options.weights.items()}
    options = replace(options.beginning(), results=results, data=options.data.resolve(), weights=weights)
    executor = SlurmExecutor(folder=logs, max_num_timeout=REQUEUES)
    executor.update_parameters(job_name=PREFIX + token, **parameters)
    with writing(results):
        write_json(file, content)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what sbatch says, and raises it
                jobs = executor.submit_array([Task(cell, cell.id, options) for cell in cells])
        except FailedJobError as error:
            file.unlink()
            shutil.rmtree(logs, ignore_errors=True)
            reason = _first_line(str(error))
            raise UserError(
                f"sbatch refused ({reason}); correct the --slurm values, nothing was submitted."
            ) from None
        job = str(jobs[0].job_id).partition("_")[0]
        write_json(file, content | {"job": job})
    return job, logs


def cancel(tasks: Sequence[Queued]) -> None:
    """Ask Slurm to cancel; a run under way is sent SIGTERM and has Slurm's KillWait to checkpoint."""
    if tasks:
        call("scancel", *(task.task for task in tasks))
