"""Carry out runs in this process: `attempt` is the one way to do so, here, in workers and on Slurm."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from benchmark.errors import UserError
from benchmark.execute.data import Data
from benchmark.execute.events import Log
from benchmark.execute.options import Options, pick_device
from benchmark.files import writing
from benchmark.runs.claim import Claim, Lost
from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec

DEATHS = 3  # of a run's processes, without a new checkpoint in between, until the run counts as failed
STAMP_SECONDS = 1.0  # between two stamps of a run under way
LOOK_SECONDS = 3.0  # between two looks at runs that other processes hold
MEMORY = "out of memory: "  # how the reason of a run that failed for lack of memory begins


class Watcher(Protocol):
    """Who is told how runs fare; `benchmark.execute.progress` shows it to people."""

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        """Take a run's new state, or "elsewhere" for one that another process holds."""

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        """Take a run's progress."""

    def note(self, message: str) -> None:
        """Take a sentence for people."""


def standing(run: RunDir, options: Options) -> str:
    """Return the state of a run as a command sees it: an old result that it is to replace is missing."""
    state = run.state()
    name, again = ("record.json", options.force) if state == "done" else ("error.txt", options.retry_failed)
    old = state in ("done", "failed") and not run.written_since(name, options.began)
    return "missing" if old and (again or options.force) else state


def work(
    cells: Sequence[RunSpec], options: Options, data: Data, watcher: Watcher, stop: threading.Event
) -> None:
    """Attempt runs in order until nothing is left that no other process holds.

    With `to_the_end` until nothing is left at all. A refused run does not keep the others from running.
    Raises the first run's `UserError` at the end, a full disk's at once, and `Interrupted` after `stop`.
    """
    from benchmark.training.loop import Interrupted

    refused: dict[str, UserError] = {}
    left = True
    while left:
        left = held = False
        for spec in cells:
            state = standing(RunDir(options.results, spec.folder), options)
            if state == "running":
                held = True
                watcher.state(spec, "elsewhere")
            elif state in ("missing", "stale") and spec.id not in refused:
                left = True
                try:
                    attempt(spec, options, data, watcher, stop)
                except UserError as error:
                    if isinstance(error.__cause__, OSError):
                        raise
                    refused[spec.id] = error
            if stop.is_set():  # asked for after the last step: this run is done, the next must not start
                raise Interrupted("")
        if held and options.to_the_end and not left:
            left = True
            stop.wait(LOOK_SECONDS)
    if refused:
        raise next(iter(refused.values()))


def attempt(spec: RunSpec, options: Options, data: Data, watcher: Watcher, stop: threading.Event) -> str:
    """Claim one run and carry it out: "done", "failed", or "elsewhere" where another process has it.

    A run that diverges, raises or has killed three processes leaves error.txt. Raises `UserError` for wrong
    input and a full disk, and `Interrupted` after `stop`; what was under way can then be resumed.
    """
    spec.check_code("this plan")  # a worker that starts later imports what a plug-in's file holds then
    run = RunDir(options.results, spec.folder)
    claim = run.claim(spec, again=options.force)
    if claim is None:
        state = standing(run, options)
        return state if state in ("done", "failed") else "elsewhere"
    try:
        again = options.retry_failed or options.force
        if options.force and run.written_since("record.json", options.began):
            return "done"  # by another process, between the look and the claim
        if run.written_since("error.txt", options.began if again else 0.0):
            return "failed"
        watcher.state(spec, "running")
        reason = _verdict(claim) or _train(claim, spec, run, options, data, watcher, stop)
        watcher.state(spec, "failed" if reason else "done", reason.splitlines()[0] if reason else "")
        return "failed" if reason else "done"
    except Lost as error:
        watcher.state(spec, "elsewhere", str(error))
        return "elsewhere"
    finally:
        with suppress(OSError, Lost):
            claim.check()  # another process's stamp is none of this one's
            run.file("progress.json").unlink()
        run.discard_if_untouched(claim)
        claim.release()


def _verdict(claim: Claim) -> str:
    """Fail the run that has killed its processes so far, and return why; "" for any other."""
    if "failure" not in claim.last and claim.deaths < DEATHS:
        return ""
    how = f" by {claim.last['ended']}" if "ended" in claim.last else ""
    died = f"its process ended{how}, {claim.deaths} times in a row without a new checkpoint"
    reason = str(claim.last.get("failure", died))
    note_failure(claim, reason)
    return reason


def _train(
    claim: Claim, spec: RunSpec, run: RunDir, options: Options, data: Data, watcher: Watcher,
    stop: threading.Event,
) -> str:  # fmt: skip
    """Train and evaluate a claimed run; return why it failed, "" when it is done."""
    from benchmark.training import loop

    loss, stamped, first = float("nan"), 0.0, (0.0, 0)
    log = Log(run.file("tensorboard"), options.log)

    def report(step: int, steps: int, mean: float) -> None:
        nonlocal loss
        loss = mean
        watcher.step(spec, step, steps, mean)

    def beat() -> None:
        """Stamp step and time: by the training thread itself, since any other outlives a step that hangs."""
        nonlocal stamped, first
        step, steps, now = under_way.step, under_way.feed.steps, time.monotonic()
        log.write(under_way.curve, before=step)  # the point of this very step may still be evaluated
        first = first if stamped else (now, step)
        if now - stamped > STAMP_SECONDS:
            stamped = now
            taken = step - first[1]
            left = (now - first[0]) / taken * (steps - step) if taken else float("nan")
            with suppress(OSError):
                run.file("progress.json").write_text(json.dumps([step, steps, loss, left]))

    try:
        device, every = pick_device(options.device), options.checkpoint_every
        hooks = loop.Options(device, every, options.keep, options.weights, stop, report, beat, watcher.note)
        under_way = loop.Run(
            spec, data.split(spec, "train"), data.split(spec, "test"), data.tasks(spec), hooks
        )
        claim.check()  # reading may have taken long, and another host the run
        if options.force and not run.written_since("checkpoint.pt", options.began):
            run.reset()  # only now that the run can be built
        run.file("error.txt").unlink(missing_ok=True)
        under_way.start(run)
        log.write(under_way.curve)  # now: to open the files takes seconds, which are not training's
        under_way.train(run, claim)
        log.write(under_way.curve)
        under_way.finish(run, claim)
    except UserError:
        claim.check()  # who lost the run meanwhile has nothing to complain about
        raise
    except (Lost, loop.Interrupted):
        raise
    except Exception as error:  # a method's own failure must not take the other runs with it
        diverged = isinstance(error, loop.Diverged)
        reason = (MEMORY if out_of_memory(error) else "") + ("" if diverged else f"{type(error).__name__}: ")
        note_failure(claim, reason + str(error), "" if diverged else "\n" + traceback.format_exc())
        return reason + str(error)
    finally:
        log.close()
    return ""


def note_failure(claim: Claim, reason: str, details: str = "") -> None:
    """Write error.txt, which makes a run count as failed. Raises `Lost` where another process has the run."""
    with writing(claim.folder), claim.replacing(claim.folder / "error.txt") as draft:
        draft.write_text(reason + "\n" + details, encoding="utf-8")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether the device or the host has no memory left; torch has no class for the host's."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
