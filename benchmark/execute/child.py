"""One run in a process of its own, which tells its parent how it fares and stops when that dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute.attempt import Data
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
BEAT_SECONDS = 1.0
GRACE_SECONDS = 300.0  # how long an orphan may take to the end of its step


@dataclass(frozen=True)
class Job:
    """How a pool's children carry out their runs; it can be pickled. The values are those of `train.Options`,
    and the files of plug-ins."""

    results: Path
    data: Path
    device: str = "cpu"
    checkpoint_every: int = 500
    keep: str = "weights"
    weights: dict[str, Path] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()
    parent: int = field(default_factory=os.getpid)


class Messenger:
    """A watcher that passes everything on through a pipe: ("state", state, text), ("step", step, steps,
    loss), ("note", text), ("beat",) and last ("end", outcome, text)."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._beaten = pipe, 0.0

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        self.send("state", state, message)

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        self.send("step", step, steps, loss)

    def note(self, message: str) -> None:
        self.send("note", message)

    def beat(self) -> None:
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.send("beat")

    def send(self, *message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError:  # the parent died: `_outlive` stops the run
            return


def prepare() -> None:
    """Import and look up in the parent what every forked child would by itself, some seconds each time. No
    threads: a fork does not copy them."""
    import torch
    from PIL import Image

    from benchmark.runs import provenance

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)  # imports the compiler
    Image.init()
    provenance.environment("cpu", threads=1)


def main(
    job: Job,
    spec: RunSpec,
    anew: bool,
    gpu: str | None,
    pipe: Connection,
    others: Sequence[Connection],
    loaded: Data | None,
) -> None:
    """The child's whole life. gpu: the value of CUDA_VISIBLE_DEVICES, where it is pinned to a GPU. others:
    ends of pipes that a fork copied. loaded: data that it shares with its parent."""
    for other in others:
        other.close()
    # What a method prints goes to standard error, past the parent's table; the parent's own streams may be
    # locked by a thread that a fork does not copy.
    os.dup2(2, 1)
    sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    stop = threading.Event()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends Ctrl-C to all; the parent passes on what it means
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_outlive, args=(job.parent, stop), daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA starts, which is later
    for path in job.plugins:
        plugins.use(path)
    messenger = Messenger(pipe)
    messenger.send("end", *_carry_out(job, spec, anew, messenger, loaded or Data(job.data), stop))
    pipe.close()


def _carry_out(
    job: Job, spec: RunSpec, anew: bool, messenger: Messenger, data: Data, stop: threading.Event
) -> tuple[str, str]:
    """(outcome, its reason): what `execute.attempt` returns, "interrupted" or "refused"."""
    from benchmark.training.loop import Interrupted, Options

    data.note = messenger.note
    options = Options(job.device, job.checkpoint_every, job.keep, job.weights, stop, beat=messenger.beat)
    try:
        return execute.attempt(spec, job.results, data, options, messenger, anew=anew), ""
    except Interrupted as error:
        return "interrupted", str(error)
    except UserError as error:
        return "refused", str(error)


def _outlive(parent: int, stop: threading.Event) -> None:
    """Wait for the parent's death, ask for a checkpoint at the step's end, and see to it that the process
    ends.
    """
    while os.getppid() == parent:
        time.sleep(BEAT_SECONDS)
    stop.set()
    time.sleep(GRACE_SECONDS)
    os._exit(1)
