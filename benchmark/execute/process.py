"""A child process as its parent sees it: started, heard, and ended."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext

from benchmark.execute import child
from benchmark.execute.attempt import Data, Watcher
from benchmark.execute.child import Job
from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec


def forks(job: Job, spec: RunSpec) -> bool:
    """Whether a run's process is a fork, which saves the seconds that importing torch takes: on Linux,
    without CUDA, whose context does not survive it, and with one thread, for OpenMP waits for ever for
    threads that a fork did not copy."""
    return sys.platform == "linux" and job.device == "cpu" and spec.protocol.threads == 1


class Child:
    """A process at work on a run."""

    def __init__(
        self,
        job: Job,
        spec: RunSpec,
        data: Data,
        slot: str | None,
        others: Sequence[Connection],
        *,
        anew: bool,
    ) -> None:
        """Start it. slot: the value of CUDA_VISIBLE_DEVICES, or None. others: the pipes of its siblings."""
        self.spec, self.slot = spec, slot
        self.outcome: tuple[str, str] | None = None  # and its reason
        self.silent, self.hung = 0.0, False  # seconds without a word; whether it was killed for that
        self._run = RunDir(job.results, spec.folder)
        self._before = {name: self._stamp(name) for name in ("record.json", "checkpoint.pt")}
        self.pipe, there = Pipe(duplex=False)
        fork = forks(job, spec)
        arguments = (
            job,
            spec,
            anew,
            slot,
            there,
            [self.pipe, *others] if fork else [],
            data if fork else None,
        )
        context = ForkContext() if fork else SpawnContext()
        self.process = context.Process(target=child.main, args=arguments, name=spec.folder)
        signal.pthread_sigmask(
            signal.SIG_BLOCK, child.STOP_SIGNALS
        )  # until the child has handlers of its own
        try:
            with (
                warnings.catch_warnings()
            ):  # of threads in the parent: those of BLAS, which start anew after a fork
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, child.STOP_SIGNALS)
        there.close()

    def hear(self, watcher: Watcher) -> None:
        """Pass on what it has said since the last time."""
        try:
            while self.pipe.poll():
                kind, *rest = self.pipe.recv()
                self.silent = 0.0
                if kind == "state":
                    watcher.state(self.spec, *rest)
                elif kind == "step":
                    watcher.step(self.spec, *rest)
                elif kind == "note":
                    watcher.note(*rest)
                elif kind == "end":
                    self.outcome = (rest[0], rest[1])
        except (EOFError, OSError):  # it ended, perhaps in the middle of a message
            return

    @property
    def ending(self) -> str:
        """How its process ended."""
        code = self.process.exitcode
        return f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"

    def left(self, name: str) -> bool:
        """Whether the run has another record.json or checkpoint.pt than when the process started."""
        return self._stamp(name) not in (None, self._before[name])

    def _stamp(self, name: str) -> tuple[int, int] | None:
        try:
            stat = self._run.file(name).stat()
        except OSError:
            return None
        return (stat.st_ino, stat.st_mtime_ns)
