"""Where runs happen: this process, one after another."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmark.errors import UserError
from benchmark.files import writing
from benchmark.runs.claim import Claim, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.run import RunSpec

if TYPE_CHECKING:
    from benchmark.training.loop import Options
    from datasets.base import Split
    from datasets.tasks import Task


PATIENCE_SECONDS = 5.0


class Watcher(Protocol):
    """Who is told how runs fare; `benchmark.execute.progress` shows it to people."""

    def state(self, spec: RunSpec, state: str, message: str = "") -> None: ...

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None: ...

    def note(self, message: str) -> None: ...


class Data:
    """Splits by data set and size, each read once a process."""

    def __init__(self, folder: Path, note: Callable[[str], None] = lambda message: None) -> None:
        self.folder, self.note = folder, note
        self._splits: dict[Any, Split] = {}

    def tasks(self, spec: RunSpec) -> dict[str, Task]:
        tasks = registry.open_dataset(spec.variant, self.folder).tasks
        metrics = {"edge": spec.protocol.edge_metric}
        chosen = {name: tasks[name] for name in spec.protocol.tasks}
        return {
            name: replace(task, metric=metrics.get(task.kind, task.metric)) for name, task in chosen.items()
        }

    def split(self, spec: RunSpec, name: str) -> Split:
        """A split of a run's data set. Raises `UserError` where it is absent, damaged or another variant than
        planned.

        For tuning, "train" is the first part of the train images and "test" the rest of them, which is set
        aside.
        """
        if spec.protocol.judge == "holdout":
            from datasets.packing import narrowed  # torch comes with it

            train = self._whole(spec, "train")
            kept = len(train) - max(1, round(spec.protocol.holdout * len(train)))
            if kept < 1:
                share = f"holdout = {spec.protocol.holdout}"
                raise UserError(f"{share} sets all {len(train)} train images aside; use a smaller share.")
            return narrowed(train, *((0, kept) if name == "train" else (kept, len(train))))
        return self._whole(spec, name)

    def _whole(self, spec: RunSpec, name: str) -> Split:
        limit = spec.protocol.train_images if name == "train" else spec.protocol.test_images
        key = (spec.variant, name, spec.protocol.size, limit)
        if key not in self._splits:
            dataset = registry.open_dataset(spec.variant, self.folder)
            if dataset.variant != spec.variant:
                raise UserError(
                    f"the data in {self.folder} are {dataset.variant!r} but the run was planned for "
                    f"{spec.variant!r}; "
                    f"name the right folder with --data or plan again."
                )
            began = time.perf_counter()
            dataset.progress = self._progress(f"{dataset.variant}: {name} images")
            split = self._splits[key] = dataset.split(name, spec.protocol.size, limit)
            size = "x".join(map(str, spec.protocol.size))
            self.note(
                f"{dataset.variant}: {len(split)} {name} images at {size} ready in "
                f"{time.perf_counter() - began:.1f} s"
            )
        return self._splits[key]

    def _progress(self, what: str) -> Callable[[int, int], None]:
        """A line now and then about a split that takes its time."""
        said = time.monotonic()

        def progress(done: int, wanted: int) -> None:
            nonlocal said
            if time.monotonic() - said > PATIENCE_SECONDS:
                said = time.monotonic()
                self.note(f"{what}: {done} of {wanted}")

        return progress


def run_cells(
    cells: Sequence[RunSpec],
    results: Path,
    data: Data,
    options: Options,
    watcher: Watcher,
    *,
    force: bool,
    retry_failed: bool,
) -> dict[str, list[RunSpec]]:
    """Run every cell that is not done, in order; {outcome: cells} with outcomes done, failed, elsewhere.

    A run that diverges or raises leaves error.txt and the others go on. Raises `UserError` for wrong input
    and
    `train.Interrupted` or `KeyboardInterrupt` when the user stops; what was under way can then be resumed.
    """
    outcomes: dict[str, list[RunSpec]] = {"done": [], "failed": [], "elsewhere": []}
    check(cells, results, data, force=force)
    for spec in cells:
        state = RunDir(results, spec.folder).state()
        if (state == "done" and not force) or (state == "failed" and not retry_failed and not force):
            outcomes[state].append(spec)
            watcher.state(spec, state)
            continue
        with _stopping(options.stop):
            outcome = attempt(spec, results, data, options, watcher, anew=force)
        outcomes["failed" if outcome == "memory" else outcome].append(spec)
    return outcomes


def check(cells: Sequence[RunSpec], results: Path, data: Data, *, force: bool) -> None:
    """Raise the `UserError` that the keywords, labels or data of any cell deserve, before the first run
    leaves a trace.
    """
    pending = [spec for spec in cells if force or RunDir(results, spec.folder).state() != "done"]
    check_keywords(pending, data)
    if not pending:
        here = {spec.variant for spec in cells if registry.open_dataset(spec.variant, data.folder).present()}
        _check_done([spec for spec in cells if spec.variant in here], results, data)
        return
    from benchmark.training.build import check_labels

    for spec in pending:
        check_labels(spec, data.split(spec, "train"), data.split(spec, "test"))
    if not force:
        _check_done([spec for spec in cells if spec not in pending], results, data)


def _check_done(cells: Sequence[RunSpec], results: Path, data: Data) -> None:
    """Raise `UserError` where a finished run of the plan used other data than are here: no board could hold
    both.
    """
    for spec in cells:
        record = RunDir(results, spec.folder).record
        if record and record["hashes"]["data"] != data.split(spec, "train").fingerprint:
            raise UserError(
                f"{spec.folder} was computed on other data than those of {spec.variant} in {data.folder} "
                f"now, so no board could "
                f"hold both: --force runs the plan anew, --results names another folder."
            )


def check_keywords(cells: Sequence[RunSpec], data: Data) -> None:
    """Raise the `UserError` that a method's keywords deserve, for each kind of run once, before anything is
    written.
    """
    from benchmark.training.build import check_method

    checked = set()
    for spec in cells:
        p = spec.protocol
        method = (spec.method, repr(spec.hyperparameters), spec.balance, spec.tasks)
        kind = (method, p.tasks, p.encoder, p.width, p.size, p.decoder_blocks)
        if kind not in checked:
            check_method(spec, data.tasks(spec))
            checked.add(kind)


def attempt(
    spec: RunSpec, results: Path, data: Data, options: Options, watcher: Watcher, *, anew: bool
) -> str:
    """Claim one run and carry it out: "done", "failed", "memory" (failed for lack of it) or "elsewhere"
    (another process has it). anew: forget what an earlier run of it left. Raises as `run_cells` does."""
    run = RunDir(results, spec.folder)
    claim = run.claim(spec, again=anew)
    if claim is None:
        outcome = "done" if run.state() == "done" else "elsewhere"
        watcher.state(spec, outcome)
        return outcome
    try:
        return _under(claim, spec, run, data, options, watcher, anew=anew)
    except Lost as error:
        watcher.state(spec, "elsewhere", str(error))
        return "elsewhere"
    finally:
        run.discard_if_untouched(claim)
        claim.release()


def _under(
    claim: Claim, spec: RunSpec, run: RunDir, data: Data, options: Options, watcher: Watcher, *, anew: bool
) -> str:
    from benchmark.training.loop import Diverged, Interrupted, Run

    watcher.state(spec, "running")
    try:
        current = replace(options, note=watcher.note, report=lambda *progress: watcher.step(spec, *progress))
        work = Run(spec, data.split(spec, "train"), data.split(spec, "test"), data.tasks(spec), current)
        claim.check()  # reading may have taken long, and another host the run
        if anew:  # only now that the run can be built
            run.reset()
        run.file("error.txt").unlink(missing_ok=True)
        work.start(run)
        work.train(run, claim)
        work.finish(run, claim)
    except UserError:
        claim.check()  # who lost the run meanwhile has nothing to complain about
        raise
    except (Lost, Interrupted):
        raise
    except Exception as error:  # a method's own failure must not take the other runs with it
        memory = out_of_memory(error)
        reason = str(error) if isinstance(error, Diverged) else f"{type(error).__name__}: {error}"
        details = "" if isinstance(error, Diverged) else "\n" + traceback.format_exc()
        note_failure(run, claim, ("out of memory: " if memory else "") + reason, details)
        watcher.state(spec, "failed", ("out of memory: " if memory else "") + reason.splitlines()[0])
        return "memory" if memory else "failed"
    watcher.state(spec, "done")
    return "done"


def note_failure(run: RunDir, claim: Claim, reason: str, details: str = "") -> None:
    """Write error.txt, which makes a run count as failed. Raises `Lost` where another process has the run."""
    with writing(run.path), claim.replacing(run.file("error.txt")) as draft:
        draft.write_text(reason + "\n" + details, encoding="utf-8")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device or the host has no memory left; torch has no class for the
    host's.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask for a stop at the next step's end; a second Ctrl-C interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        if stop.is_set():  # asked for after the last step: this run is done, the next must not start
            raise KeyboardInterrupt
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
