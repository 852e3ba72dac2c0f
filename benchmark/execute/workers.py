"""Carry out many runs: in this process, or by workers that claim runs and are restarted when they die."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait

from benchmark.errors import UserError
from benchmark.execute.attempt import DEATHS, MEMORY, Watcher, standing, work
from benchmark.execute.data import Data
from benchmark.execute.options import Options
from benchmark.execute.worker import REFUSED, STOP_SIGNALS, STOPPED, Worker, forks, prepare
from benchmark.files import write_json
from benchmark.runs.claim import holder_of
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins
from benchmark.spec.run import RunSpec
from benchmark.system import out_of_memory_kills

POLL_SECONDS = 0.5  # between two looks at signals and at the runs under way
Outcomes = dict[str, list[RunSpec]]


def carry_out(cells: Sequence[RunSpec], options: Options, watcher: Watcher) -> Outcomes:
    """Carry out the runs that are missing; {"done" | "failed" | "elsewhere": runs}.

    All rows of a seed come before the next: wherever it stops, the seeds that are whole compare all methods.
    Raises `UserError` for wrong input, and `KeyboardInterrupt` when it is stopped: the same command resumes.
    """
    from benchmark.training.loop import Interrupted

    cells = sorted(cells, key=lambda spec: (spec.label_seed, spec.train_seed))
    options = replace(options.beginning(), plugins=tuple(file.resolve() for file in plugins.files()))
    left = outcomes(cells, options, watcher)["elsewhere"]
    pending = [spec for spec in left if RunDir(options.results, spec.folder).state() != "running"]
    places = options.places(len(pending), max((spec.protocol.threads for spec in pending), default=1))
    data = Data(options.data, watcher.note)
    data.check(cells, options.results, force=options.force)
    try:
        with _stopping() as stop:
            if places and (pending or options.to_the_end):
                _by_workers(cells, places, options, data, watcher, stop)
            else:
                work(cells, options, data, watcher, stop)
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from None
    return outcomes(cells, options, watcher)


def outcomes(cells: Sequence[RunSpec], options: Options, watcher: Watcher) -> Outcomes:
    """Tell how runs ended; {"done" | "failed" | "elsewhere": runs}, the last for what is not here yet."""
    found: Outcomes = {"done": [], "failed": [], "elsewhere": []}
    for spec in cells:
        state = standing(RunDir(options.results, spec.folder), options)
        if state in found:
            watcher.state(spec, state)
        found[state if state in found else "elsewhere"].append(spec)
    return found


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask for a stop at the end of the step; a second Ctrl-C interrupts at once."""
    stop = threading.Event()

    def ask(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    main = threading.current_thread() is threading.main_thread()
    old = {number: signal.signal(number, ask) for number in STOP_SIGNALS} if main else {}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _by_workers(
    cells: Sequence[RunSpec], places: Sequence[str | None], options: Options, data: Data, watcher: Watcher,
    stop: threading.Event,
) -> None:  # fmt: skip
    """Carry runs out by workers, and those that ran out of memory once more, with no other beside them."""
    folders = {spec.id: RunDir(options.results, spec.folder) for spec in cells}
    failed = {name for name, run in folders.items() if standing(run, options) == "failed"}
    Workers(cells, options, data, watcher, stop).run(places)
    short = [s for s in cells if s.id not in failed and folders[s.id].reason.startswith(MEMORY)]
    short = [spec for spec in short if folders[spec.id].state() == "failed"]
    if short and len(places) > 1:
        for spec in short:
            watcher.note(f"{spec.folder}: out of memory; it is tried once more, with no other run beside it.")
        again = replace(options, force=False, retry_failed=True).beginning()
        Workers(short, again, data, watcher, stop).run(places[:1])


class Workers:
    """Workers under way, which carry out runs by claims until nothing is left."""

    def __init__(
        self, cells: Sequence[RunSpec], options: Options, data: Data, watcher: Watcher, stop: threading.Event
    ) -> None:
        self.cells, self.options, self.data, self.watcher, self.stop = cells, options, data, watcher, stop
        self.at_work: list[Worker] = []
        self.refusals: list[str] = []
        self.kills = out_of_memory_kills()
        self.strays = 0  # workers in a row that died without a word

    def run(self, places: Sequence[str | None]) -> None:
        """Start a worker a place and see them through; `UserError` and `Interrupted` as of `work`."""
        from benchmark.training.loop import Interrupted

        if forks(self.cells, self.options):
            prepare()
        try:
            for place in places[: len(self.cells)]:
                self.at_work.append(Worker(place, self.cells, self.options, self.data))
            told, before = False, time.monotonic()
            while self.at_work:
                wait([end for one in self.at_work for end in (one.pipe, one.process.sentinel)], POLL_SECONDS)
                for one in list(self.at_work):
                    code = one.code()
                    self._hear(one)  # all that it said before it ended
                    if code is not None:
                        self._bury(one, code)
                now = time.monotonic()
                self._watch(min(now - before, 5 * POLL_SECONDS))  # who was stopped itself saw nothing
                before = now
                if self.stop.is_set() and not told:
                    told = True
                    self.watcher.note(
                        "stopping: runs under way are checkpointed at their step's end; Ctrl-C kills them."
                    )
                    for one in self.at_work:
                        one.process.terminate()
        finally:
            for one in self.at_work:
                one.process.kill()
                one.process.join()
        if self.stop.is_set():
            raise Interrupted("what was under way goes on from its last checkpoint")
        if self.refusals:
            raise UserError(self.refusals[0])

    def _hear(self, one: Worker) -> None:
        """Pass on what a worker has told since the last time."""
        with suppress(EOFError, OSError):  # it ended, perhaps in the middle of a message
            while one.pipe.poll():
                kind, *rest = one.pipe.recv()
                one.silent, self.strays = 0.0, 0
                if kind == "note":
                    self.watcher.note(*rest)
                elif kind == "refused":
                    one.refused = rest[0]
                else:
                    spec = next(spec for spec in self.cells if spec.id == rest[0])
                    one.spec = spec if rest[1] == "running" else None
                    if rest[1] != "elsewhere" or rest[2] or not self._claimed(spec):
                        self.watcher.state(spec, *rest[1:])

    def _claimed(self, spec: RunSpec) -> bool:
        claims = RunDir(self.options.results, spec.folder).claims()
        return bool(claims) and holder_of(claims[0]).get("pid") in {one.process.pid for one in self.at_work}

    def _watch(self, seconds: float) -> None:
        """Read how far the runs under way are, and kill the workers whose runs hang."""
        limit = self.options.hang_after
        for one in self.at_work:
            if one.spec is None:
                continue
            stamp, step, steps, loss, _ = RunDir(self.options.results, one.spec.folder).progress
            if stamp != one.stamp:
                one.stamp, one.silent = stamp, 0.0
                if steps:
                    self.watcher.step(one.spec, step, steps, loss)
            one.silent += seconds
            if one.silent > limit and not one.failure:
                one.failure = f"hung: no step, evaluation or note for {limit:g} s (--hang-after)"
                one.process.kill()

    def _bury(self, one: Worker, code: int) -> None:
        """Note in the claim of a dead worker how it ended, before others see it dead, and start another."""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if one.spec and code not in (REFUSED, STOPPED):
            kills, before = out_of_memory_kills(), self.kills
            self.kills = kills
            if code == -signal.SIGKILL and kills > before and not one.failure:
                one.failure = f"{MEMORY}its process ended by {how}, and the system counted such a kill"
            for claim in RunDir(self.options.results, one.spec.folder).claims()[:1]:
                holder = holder_of(claim)
                if holder.get("pid") == one.process.pid:
                    failure = {"failure": one.failure} if one.failure else {}
                    with suppress(OSError):  # a full disk: the claim's next holder counts a death
                        write_json(claim, holder | {"ended": how} | failure)
            if not one.failure:
                self.watcher.note(f"{one.spec.folder}: its process ended by {how}; it is taken up again.")
        one.process.join()
        one.pipe.close()
        self.at_work.remove(one)
        if one.refused:
            self.refusals.append(one.refused)
        if code in (0, REFUSED) or self.stop.is_set():
            return
        self.strays += one.spec is None
        if self.strays > DEATHS:
            raise UserError(f"workers end at once, by {how}; run with --workers 0 to see why.")
        self.at_work.append(Worker(one.place, self.cells, self.options, self.data))
