"""Runs as tasks of a Slurm array job: submit them, ask for those that Slurm still holds, carry one out.

    <results>/.slurm/  TOKEN.json  TOKEN/ (submitit's files and the logs)

A submission is one array job called `bench-TOKEN`, so `squeue` tells which runs wait without accounting, from
any host that has it, even where the submitting process died before it learnt the job's id.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.execute.attempt import attempt, note_failure
from benchmark.execute.data import Data
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress, make_console
from benchmark.files import read_json, write_json, writing
from benchmark.runs.claim import HEARTBEAT_SECONDS, STALE_SECONDS, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec
from benchmark.system import filesystem_now
from benchmark.typed import convert

FOLDER = ".slurm"
PREFIX = "bench-"
ANSWER_SECONDS = 60.0  # that Slurm, or a submission under way, gets to answer
ENDED_SECONDS = 3600.0  # after which a submission that Slurm does not hold is forgotten
LOOK_SECONDS = 5.0  # between a task's looks at a run that another host seems to hold
WARNING_SECONDS = 90  # before the time limit: ample for a step, and for a checkpoint on a slow disk
REQUEUES = 1000  # each time limit that a run reaches moves it on by what it trained
# Set by bench itself: a task is one process that runs one cell, or its states would be wrong.
OWN = (
    "array", "error", "job_name", "nodes", "ntasks", "ntasks_per_node", "open_mode", "output", "requeue",
    "setup", "signal", "signal_delay_s", "srun_args", "stderr_to_stdout", "teardown", "use_srun", "wait",
)  # fmt: skip


@dataclass(frozen=True)
class Queued:
    """A run that Slurm holds. task: for `scancel` (`12_3`); state, reason: Slurm's words."""

    folder: str
    task: str
    state: str
    reason: str


def call(*command: str) -> str:
    """Return what a command of Slurm prints. Raises `UserError` if it is absent, silent or refuses."""
    name = command[0]
    if shutil.which(name) is None:
        raise UserError(f"{name} is not on this host; run this on the cluster, such as its login node.")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{name} did not answer in {ANSWER_SECONDS:.0f} s; try again later.") from None
    if done.returncode:
        raise UserError(f"{name} failed ({_first_line(done.stderr)}); try again when Slurm answers.")
    return done.stdout


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip().rstrip(".")


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
        folder = folders[name][int(task.partition("_")[2] or 0)]  # an array of one is no array
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


def submit(cells: Sequence[RunSpec], options: Options, parameters: dict[str, Any]) -> tuple[str, Path]:
    """Submit one array job with a task a run; (its id, the folder of its logs).

    parameters: of `submitit.SlurmExecutor`. Raises `UserError`, and leaves nothing, if `sbatch` refuses.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

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


def parameters(settings: Sequence[str], cells: Sequence[RunSpec]) -> dict[str, Any]:
    """Return the parameters of `submitit.SlurmExecutor` for `--slurm key=value`. Raises `UserError`.

    Keys and values are Slurm's own; a key that submitit does not know goes to sbatch as it is, which checks
    it.
    """
    if find_spec("submitit") is None:
        raise UserError("--slurm needs the package submitit; pip install -e '.[slurm]' installs it.")
    from submitit import SlurmExecutor

    values: dict[str, Any] = {}
    for setting in settings:
        key, _, text = (part.strip() for part in setting.partition("="))
        name = key.replace("-", "_")
        if not text or not re.fullmatch("[a-z][a-z_]*", name) or not text.isprintable():
            raise UserError(f"--slurm {setting!r} is not key=value; write for example --slurm partition=gpu.")
        if name in OWN:
            raise UserError(f"--slurm {key} is set by bench itself, one process a run; leave it out.")
        values[name] = True if text == "true" else text  # a flag, such as exclusive
    if "time" not in values:
        raise UserError("--slurm time=... is missing; give a limit in minutes or as 1-12:00:00.")
    values["time"] = _minutes(str(values["time"]))
    if "max_parallel" in values:
        most = str(values.pop("max_parallel"))
        if not most.isdecimal() or int(most) < 1:
            raise UserError(f"--slurm max_parallel={most} is not a number of tasks of 1 or more.")
        values["array_parallelism"] = int(most)
    if not values.keys() & {"cpus_per_task", "cpus_per_gpu"}:
        values["cpus_per_task"] = max(cell.protocol.threads for cell in cells)
    known = SlurmExecutor._valid_parameters()
    result = {name: value for name, value in values.items() if name in known}
    # Where JobRequeue is off in slurm.conf, only a job that says so may be queued again.
    others = {name: value for name, value in values.items() if name not in known}
    result["additional_parameters"] = others | {"requeue": True}
    result["signal_delay_s"] = min(WARNING_SECONDS, values["time"] * 60 // 4)
    if "cpus_per_task" in result:  # srun has not taken this over from sbatch since Slurm 22.05
        result["srun_args"] = [f"--cpus-per-task={result['cpus_per_task']}"]
    return result


def _minutes(text: str) -> int:
    """Read Slurm's M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; whole minutes, rounded up."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    days, *parts = match.groups() if match else (None, "0")
    numbers = [int(part) for part in parts if part]
    if days is None and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, seconds = (*numbers, 0, 0)[:3]
    seconds += ((int(days or 0) * 24 + hours) * 60 + minutes) * 60
    if seconds < 1:
        raise UserError(f"--slurm time={text} is not a time limit; write minutes, 4:00:00 or 1-12:00:00.")
    return -(-seconds // 60)


@dataclass(frozen=True)
class Task:
    """A run and how to carry it out; submitit pickles it. id: that of the spec when it was submitted."""

    spec: RunSpec
    id: str
    options: Options

    def __call__(self) -> None:
        """Carry the run out. Exits with 1 where it leaves no record, so that Slurm calls the task failed too.

        Slurm warns of the time limit by submitit's signal, and of preemption, cancelling and requeuing by
        SIGTERM. All of them stop the run at a step's end, with a checkpoint; where Slurm has not ended the
        job itself, it is then queued again.
        """
        from submitit.core.job_environment import JobEnvironment

        stop = threading.Event()
        warned: list[int] = []

        def ask(number: int, frame: object) -> None:
            warned.append(number)
            stop.set()

        warning = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        queue_again = signal.signal(warning, ask)
        signal.signal(signal.SIGTERM, ask)
        outcome = self.outcome(stop)
        if outcome == "interrupted" and (warning in warned or _job_goes_on(JobEnvironment().job_id)):
            signal.signal(warning, queue_again)
            signal.raise_signal(warning)  # submitit's handler: it requeues the job and ends this process
        print(f"bench: {outcome}", flush=True)
        if outcome != "done":
            sys.exit(1)

    def checkpoint(self) -> Any:
        """Return the task for the next time, when it is requeued; its run is checkpointed by then."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)

    def outcome(self, stop: threading.Event) -> str:
        """Attempt the run: "done", "failed", "elsewhere", or "interrupted" after `stop`."""
        from benchmark.training.loop import Interrupted

        for file in self.options.plugins:
            plugins.use(file)
        # Requeued to another host, it finds its own claim there until that is stale.
        deadline = time.monotonic() + STALE_SECONDS + 2 * HEARTBEAT_SECONDS
        try:
            spec = RunSpec.from_dict(self.spec.as_dict() | {"id": self.id}, "this job")
            with Progress([spec], make_console()) as progress:
                data = Data(self.options.data, progress.note)
                while True:
                    outcome = attempt(spec, self.options, data, progress, stop)
                    if outcome != "elsewhere" or time.monotonic() > deadline:
                        return outcome
                    if stop.wait(LOOK_SECONDS):
                        return "interrupted"
        except Interrupted:
            return "interrupted"
        except UserError as error:  # a task has no terminal to show wrong input in
            sys.stderr.write(f"bench: {error}\n")
            with contextlib.suppress(UserError, Lost):
                claim = RunDir(self.options.results, self.spec.folder).claim(self.spec)
                if claim is not None:
                    note_failure(claim, str(error))
                    claim.release()
            return "failed"


def _job_goes_on(task: str) -> bool:
    """Tell whether Slurm still counts this job as running.

    After SIGTERM it does when the job is preempted with grace, and then does not queue it again by itself; a
    job that is cancelled, requeued or out of time is not running any more. task: such as 12_3, as the number
    in SLURM_JOB_ID may stand for a whole array.
    """
    with contextlib.suppress(UserError):
        return call("squeue", "--noheader", f"--jobs={task}", "--format=%T").strip() == "RUNNING"
    return False
