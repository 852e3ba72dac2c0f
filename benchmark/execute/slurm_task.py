"""Carry out one run as a task of a Slurm array, as any other process would."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission

from benchmark.errors import UserError
from benchmark.execute import slurm
from benchmark.execute.attempt import attempt, note_failure
from benchmark.execute.data import Data
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress, make_console
from benchmark.runs.claim import HEARTBEAT_SECONDS, STALE_SECONDS, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec

LOOK_SECONDS = 5.0


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
        stop = threading.Event()
        warned: list[int] = []

        def ask(number: int, frame: object) -> None:
            warned.append(number)
            stop.set()

        warning = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        queue_again = signal.signal(warning, ask)
        signal.signal(signal.SIGTERM, ask)
        outcome = self.outcome(stop)
        if outcome == "interrupted" and (warning in warned or _job_goes_on()):
            signal.signal(warning, queue_again)
            signal.raise_signal(warning)  # submitit's handler: it requeues the job and ends this process
        print(f"bench: {outcome}", flush=True)
        if outcome != "done":
            sys.exit(1)

    def checkpoint(self) -> DelayedSubmission:
        """Return the task for the next time, when it is requeued; its run is checkpointed by then."""
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
        except UserError as error:
            sys.stderr.write(f"bench: {error}\n")
            self._leave_error(str(error))
            return "failed"

    def _leave_error(self, message: str) -> None:
        """Leave wrong input as a failed run's error: a task has no terminal to show it in."""
        with suppress(UserError, Lost):
            claim = RunDir(self.options.results, self.spec.folder).claim(self.spec)
            if claim is not None:
                try:
                    note_failure(claim, message)
                finally:
                    claim.release()


def _job_goes_on() -> bool:
    """Tell whether Slurm still counts this job as running.

    After SIGTERM it does when the job is preempted with grace, and then does not queue it again by itself; a
    job that is cancelled, requeued or out of time is not running any more.
    """
    task = JobEnvironment().job_id  # 12_3: the number in SLURM_JOB_ID may stand for a whole array
    with suppress(UserError):
        return slurm.call("squeue", "--noheader", f"--jobs={task}", "--format=%T").strip() == "RUNNING"
    return False
