"""A local pool: one process a run, on so many slots. What happens to one run does not touch the others."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute import child
from benchmark.execute.attempt import Data, Watcher
from benchmark.execute.child import Job
from benchmark.execute.process import Child, forks
from benchmark.files import writing
from benchmark.runs.claim import Lost
from benchmark.runs.liveness import out_of_memory_kills
from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec

DEATHS = 3  # of a run's process, without a new checkpoint in between, until the run counts as failed
POLL_SECONDS = 0.2  # between two looks at signals and silent children
LOOK_SECONDS = 3.0  # between two looks at runs that other processes hold


class Pool:
    """Runs cells in children, each on one of the slots: None for the CPU, or a value of
    CUDA_VISIBLE_DEVICES.
    """

    def __init__(
        self, job: Job, data: Data, slots: Sequence[str | None], watcher: Watcher, *,
        hang_after: float, force: bool = False, retry_failed: bool = False, to_the_end: bool = False,
    ) -> None:  # fmt: skip
        """data: what the checks before the first run read, which children of a fork share. hang_after:
        seconds without a word after which a child is killed. to_the_end: wait for runs that other processes
        hold, and take up those whose holder dies.
        """
        self.job, self.results, self.data, self.slots, self.watcher = (
            job,
            job.results,
            data,
            list(slots),
            watcher,
        )
        self.hang_after, self.force, self.retry_failed, self.to_the_end = (
            hang_after,
            force,
            retry_failed,
            to_the_end,
        )
        self.outcomes: dict[str, list[RunSpec]] = {"done": [], "failed": [], "elsewhere": []}
        self.queue: deque[RunSpec] = deque()
        self.alone: deque[RunSpec] = deque()  # what ran out of memory, to be tried again with no other child
        self.tried_alone: set[str] = set()
        self.others: list[RunSpec] = []  # held by other processes
        self.met: set[str] = set()  # what ever was: how others end it is how it ends
        self.looked = 0.0
        self.deaths: Counter[str] = Counter()
        self.advanced: set[str] = set()  # runs with a checkpoint of this pool's
        self.children: list[Child] = []
        self.kills = out_of_memory_kills()
        self.stopping, self.killing = False, False

    def run(self, cells: Sequence[RunSpec]) -> dict[str, list[RunSpec]]:
        """Run every cell that is not done; {outcome: cells} and exceptions as of `execute.run_cells`."""
        from benchmark.training.loop import Interrupted

        execute.check(cells, self.results, self.data, force=self.force)
        if self.force or any(RunDir(self.results, spec.folder).state() != "done" for spec in cells):
            with writing(self.results):  # one sentence now, instead of one from every child
                self.results.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=self.results).close()
        self.queue.extend(cells)
        if any(forks(self.job, spec) for spec in cells):
            child.prepare()
        with self._signals():
            try:
                told, before = False, time.monotonic()
                while self._fill() or (self.to_the_end and self.others and not self.stopping):
                    self._listen()
                    now = time.monotonic()
                    self._watch(
                        min(now - before, 5 * POLL_SECONDS)
                    )  # a pool that itself was stopped saw nothing
                    before = now
                    if self.stopping and not told:
                        told = True
                        self.watcher.note(
                            "stopping: runs under way are checkpointed at the end of their step; Ctrl-C "
                            "kills them."
                        )
                        self._tell_all(signal.SIGTERM)
                    if self.killing:
                        self._tell_all(signal.SIGKILL)
            finally:
                self._tell_all(signal.SIGKILL)
                for one in self.children:
                    one.process.join()
        if self.stopping:
            raise Interrupted("what was under way goes on from its last checkpoint")
        self.outcomes["elsewhere"] += self.others
        return self.outcomes

    def _fill(self) -> bool:
        """Give work to free slots; whether any child is at work then."""
        if self.to_the_end and self.others and time.monotonic() - self.looked > LOOK_SECONDS:
            self.looked = time.monotonic()
            self.queue.extend(self.others)
            self.others = []
        lonely = len(self.children) == 1 and self.children[0].spec.id in self.tried_alone
        while not self.stopping and not lonely and self.queue and len(self.children) < len(self.slots):
            spec = self.queue.popleft()
            state = RunDir(self.results, spec.folder).state()
            force, retry = (wanted and spec.id not in self.met for wanted in (self.force, self.retry_failed))
            if (state == "done" and not force) or (
                state == "failed" and not (force or retry or spec.id in self.deaths)
            ):
                self._end(spec, state)
            elif state == "running":
                self._elsewhere(spec)
            else:
                self._start(spec)
        if self.alone and not (self.stopping or self.queue or self.children):
            self.tried_alone.add(self.alone[0].id)
            self._start(self.alone.popleft())
        return bool(self.children)

    def _start(self, spec: RunSpec) -> None:
        used = Counter(one.slot for one in self.children)
        slot = min(self.slots, key=lambda s: used[s] - self.slots.count(s))
        anew = self.force and spec.id not in self.advanced
        self.children.append(
            Child(self.job, spec, self.data, slot, [one.pipe for one in self.children], anew=anew)
        )

    def _listen(self) -> None:
        """Pass on what children say, and see to those that ended."""
        ends = [end for one in self.children for end in (one.pipe, one.process.sentinel)]
        if not ends:
            time.sleep(POLL_SECONDS)
            return
        ready = set(wait(ends, POLL_SECONDS))
        for one in [c for c in self.children if c.pipe in ready or c.process.sentinel in ready]:
            one.hear(self.watcher)
            if one.process.sentinel in ready:
                one.hear(self.watcher)  # what it said between the two looks
                one.process.join()
                one.pipe.close()
                self.children.remove(one)
                self._over(one)

    def _watch(self, seconds: float) -> None:
        """Kill the children that have not been heard of for too long."""
        for one in self.children:
            one.silent += seconds
            if one.silent > self.hang_after and not one.hung:
                one.hung = True
                one.process.kill()

    def _over(self, one: Child) -> None:
        """Decide what becomes of a run whose process ended."""
        spec = one.spec
        outcome, reason = one.outcome or ("died", one.ending)
        if one.left("checkpoint.pt"):
            self.advanced.add(spec.id)
            self.deaths[spec.id] = -1  # the death of this process is not one without a checkpoint
        if outcome == "died" and one.left("record.json"):
            self._end(spec, "done")
        elif outcome == "elsewhere":
            self._elsewhere(spec)
        elif outcome in self.outcomes:
            self._end(spec, outcome, told=True)
        elif outcome == "refused":
            self._end(spec, "failed", reason)
        elif outcome == "memory":
            self._short_of_memory(spec)
        elif one.hung:
            self._fail(
                spec,
                f"hung: no step, evaluation or note for {self.hang_after:g} s (--hang-after), so it was "
                f"killed",
            )
        elif not self.stopping:
            self._died(spec, reason if outcome == "died" else "signal SIGTERM")

    def _died(self, spec: RunSpec, reason: str) -> None:
        kills, before = out_of_memory_kills(), self.kills
        self.kills = kills
        if reason == "signal SIGKILL" and kills > before:
            said = (
                f"out of memory: its process ended by {reason}, and the system counted an out-of-memory kill"
            )
            if self._leave(spec, said):
                self.watcher.state(spec, "failed", said)
                self._short_of_memory(spec)
            return
        self.deaths[spec.id] += 1
        if self.deaths[spec.id] >= DEATHS:
            self._fail(
                spec, f"its process ended by {reason}, {DEATHS} times in a row without a new checkpoint"
            )
        else:
            self.watcher.note(f"{spec.folder}: its process ended by {reason}; it is taken up again.")
            self.queue.appendleft(spec)

    def _short_of_memory(self, spec: RunSpec) -> None:
        if spec.id in self.tried_alone:
            self._end(spec, "failed", told=True)
        else:
            self.watcher.note(
                f"{spec.folder}: out of memory; it is tried once more at the end, with no other run beside "
                f"it."
            )
            self.alone.append(spec)

    def _fail(self, spec: RunSpec, reason: str) -> None:
        if self._leave(spec, reason):
            self._end(spec, "failed", reason)

    def _leave(self, spec: RunSpec, reason: str) -> bool:
        """Leave a dead child's reason in error.txt, where the disk takes it; False if another process was
        quicker to take the run up."""
        run = RunDir(self.results, spec.folder)
        try:
            claim = run.claim(spec, again=self.force)
            if claim is None:
                self.queue.append(spec)
                return False
            try:
                execute.note_failure(run, claim, reason)
            finally:
                claim.release()
        except Lost:
            self.queue.append(spec)
            return False
        except UserError as error:  # a full disk, say; the other runs go on
            self.watcher.note(f"{spec.folder}: {error}")
        return True

    def _end(self, spec: RunSpec, outcome: str, reason: str = "", told: bool = False) -> None:
        self.outcomes[outcome].append(spec)
        if not told:
            self.watcher.state(spec, outcome, reason)

    def _elsewhere(self, spec: RunSpec) -> None:
        self.others.append(spec)
        if spec.id not in self.met:
            self.met.add(spec.id)
            self.watcher.state(spec, "elsewhere")

    def _tell_all(self, number: signal.Signals) -> None:
        for one in self.children:
            if one.process.is_alive() and one.process.pid is not None:
                one.process.kill() if number == signal.SIGKILL else one.process.terminate()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask all children for a checkpoint; a second Ctrl-C kills them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: object) -> None:
            self.killing = self.killing or (self.stopping and number == signal.SIGINT)
            self.stopping = True

        old = {number: signal.signal(number, ask) for number in child.STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
