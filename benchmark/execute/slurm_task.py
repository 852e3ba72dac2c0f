"""What one task of a Slurm array does: one cell, as any other process would run it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute import slurm
from benchmark.execute.progress import Progress, make_console
from benchmark.files import read_json
from benchmark.runs.claim import HEARTBEAT_SECONDS, STALE_SECONDS, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec

LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Task:
    """A cell of a submission, by reference: what submitit pickles. submission: the submission's file,
    absolute.
    """

    submission: str
    index: int

    def __call__(self) -> None:
        """Run the cell. Ends the process with 1 where it ends without a record, so that Slurm calls the task
        failed too.

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
        outcome = self._outcome(stop)
        if outcome == "interrupted" and (warning in warned or _job_goes_on()):
            signal.signal(warning, queue_again)
            signal.raise_signal(warning)  # submitit's handler: it requeues the job and ends this process
        print(f"bench: {outcome}", flush=True)
        if outcome != "done":
            sys.exit(1)

    def checkpoint(self) -> DelayedSubmission:
        """Submitit's question before it requeues: what to run next time. The run itself is checkpointed by
        then.
        """
        return DelayedSubmission(self)

    def _outcome(self, stop: threading.Event) -> str:
        file = Path(self.submission)
        results = file.parent.parent
        content = read_json(file)
        for plugin in content["plugins"]:
            plugins.use(Path(plugin))
        spec = RunSpec.from_dict(content["cells"][self.index], str(file))
        try:
            return _run(spec, results, Path(content["data"]), content["options"], stop)
        except UserError as error:
            sys.stderr.write(f"bench: {error}\n")
            _leave_error(spec, results, str(error))
            return "failed"


def _run(spec: RunSpec, results: Path, data: Path, options: dict[str, Any], stop: threading.Event) -> str:
    from benchmark.cli.runs import pick_device
    from benchmark.training.loop import Interrupted, Options

    weights = {content: Path(path) for content, path in options["weights"].items()}
    made = Options(**options | {"device": pick_device(options["device"]), "weights": weights, "stop": stop})
    run = RunDir(results, spec.folder)
    # Requeued to another host, it finds its own claim there until that is stale.
    deadline = time.monotonic() + STALE_SECONDS + 2 * HEARTBEAT_SECONDS
    try:
        with Progress([spec], make_console()) as progress:
            loaded = execute.Data(data, progress.note)
            while True:
                outcomes = execute.run_cells(
                    [spec], results, loaded, made, progress, force=False, retry_failed=True
                )
                outcome = next(name for name, specs in outcomes.items() if specs)
                if outcome != "elsewhere" or time.monotonic() > deadline:
                    return outcome
                if stop.wait(LOOK_SECONDS):
                    return "interrupted"
    except (Interrupted, KeyboardInterrupt):
        return "done" if run.state() == "done" else "interrupted"


def _leave_error(spec: RunSpec, results: Path, message: str) -> None:
    """Wrong input, left as a failed run's error: a task has no terminal to say it in."""
    run = RunDir(results, spec.folder)
    with suppress(UserError, Lost):
        claim = run.claim(spec)
        if claim is None:
            return
        try:
            execute.note_failure(run, claim, message)
        finally:
            claim.release()


def _job_goes_on() -> bool:
    """Whether Slurm still counts this job as running: after SIGTERM it does when the job is preempted with
    grace, and then does not queue it again by itself; a job that is cancelled, requeued or out of time is not
    running any more."""
    task = JobEnvironment().job_id  # 12_3: the number in SLURM_JOB_ID may stand for a whole array
    with suppress(UserError):
        return slurm.call("squeue", "--noheader", f"--jobs={task}", "--format=%T").strip() == "RUNNING"
    return False
