"""One worker: a process that claims runs, carries them out, and stops when its parent dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext

from benchmark.errors import UserError
from benchmark.execute.attempt import work
from benchmark.execute.data import Data
from benchmark.execute.options import Options, pick_device
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
GRACE_SECONDS = 300.0  # that a worker whose parent died has to the end of its step
REFUSED, STOPPED = 2, 130  # exit codes


class Worker:
    """A worker process as its parent sees it. place: of `Options.places`."""

    def __init__(self, place: str | None, cells: Sequence[RunSpec], options: Options, data: Data) -> None:
        self.place = place
        self.spec: RunSpec | None = None  # the run that it is at
        self.stamp, self.silent = 0, 0.0  # the run's last stamp, and the seconds since its last sign of life
        self.failure, self.refused = "", ""  # why its parent killed it; why it gave up
        self.pipe, there = Pipe(duplex=False)
        fork = forks(cells, options)
        arguments = (cells, options, place, there, os.getpid(), data if fork else None)
        self.process = (ForkContext() if fork else SpawnContext()).Process(target=_main, args=arguments)
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until the child has handlers of its own
        try:
            with warnings.catch_warnings():  # of threads in the parent: BLAS starts its own anew after a fork
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        there.close()

    def code(self) -> int | None:
        """Return its exit code, negative for a signal; it stays a zombie, which its siblings leave alone."""
        try:
            found = os.waitid(os.P_PID, self.process.pid or 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self.process.exitcode
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def forks(cells: Sequence[RunSpec], options: Options) -> bool:
    """Tell whether workers are forks, which saves the seconds that importing torch takes.

    On Linux, without CUDA, whose context does not survive a fork, and with one thread, for OpenMP waits for
    ever for threads that a fork did not copy.
    """
    cpu = sys.platform == "linux" and pick_device(options.device) == "cpu"
    return cpu and all(spec.protocol.threads == 1 for spec in cells)


def prepare() -> None:
    """Import in the parent what every fork would by itself, some seconds each time; no threads."""
    import torch
    from PIL import Image

    from benchmark.runs import provenance

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)  # imports the compiler
    Image.init()
    provenance.environment("cpu", threads=1)


class _Messenger:
    """A watcher that tells the parent of states and notes; steps it reads from the run's stamp."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        self.send("state", spec.id, state, message)

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        pass

    def note(self, message: str) -> None:
        self.send("note", message)

    def send(self, *message: str) -> None:
        with suppress(OSError):  # the parent died: `_exit_when_orphaned` stops the run
            self._pipe.send(message)


def _main(
    cells: Sequence[RunSpec], options: Options, place: str | None, pipe: Connection, parent: int,
    shared: Data | None,
) -> None:  # fmt: skip
    """Be a worker. shared: what a fork shares with its parent."""
    from benchmark.training.loop import Interrupted

    # What a method prints goes to standard error, past the parent's table; the parent's own streams may be
    # locked by a thread that a fork does not copy.
    os.dup2(2, 1)
    sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    stop, messenger = threading.Event(), _Messenger(pipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent passes it on
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_exit_when_orphaned, args=(parent, stop), daemon=True).start()
    if place is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place  # read when CUDA starts, which is later
        options = replace(options, device=options.device.partition(":")[0])  # it sees one GPU alone
    for file in options.plugins:
        plugins.use(file)
    data = shared or Data(options.data)
    data.note = messenger.note
    try:
        work(cells, options, data, messenger, stop)
    except UserError as error:
        messenger.send("refused", str(error))
        sys.exit(REFUSED)
    except Interrupted:
        sys.exit(STOPPED)


def _exit_when_orphaned(parent: int, stop: threading.Event) -> None:
    """Wait for the parent's death, ask for a checkpoint, and see to it that the process ends."""
    while os.getppid() == parent:
        time.sleep(1.0)
    stop.set()
    time.sleep(GRACE_SECONDS)
    os._exit(1)
