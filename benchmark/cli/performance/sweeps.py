"""Studies that vary one thing: batch, tasks, image size, and on a CPU threads and memory layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmark.cli.performance.case import Call, Case, Splits, bare, build
from benchmark.cli.performance.found import Column, Found
from benchmark.cli.performance.measure import Timing, exponent, interleaved, ratio
from benchmark.cli.performance.subject import Ground, Subject
from benchmark.execute.slots import cores
from benchmark.spec import registry
from methods.base import Batch

BATCHES = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 2, 4, 8, 16, 32, 64)}
SCALES = (0.5, 1.0, 1.5, 2.0)  # of the sides of the protocol's images
LEAST_SIDE = 32  # pixels, as protocols allow


def _table(
    name: str, title: str, header: str, rows: list[dict[str, Any]], notes: Sequence[str], *more: Column
) -> Found:
    columns = (Column("method", "name"), Column(header, "value"), Column("ms", "step_ms", "{:.1f}"), *more)
    return Found(name, title, columns, rows, tuple(dict.fromkeys(notes)))


def _swept(
    ground: Ground, what: str, values: Sequence[tuple[str, float, dict[str, Any]]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for every subject and value (its text, its number x, the protocol values that it changes), and
    notes. The values of a subject take turns; on a GPU each is alone, so that it has all of the memory. x of
    a row is what growth is measured in; each subject's last row says the exponent of its growth."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for subject in ground.subjects:
        splits = Splits()
        turns = [[value] for value in values] if ground.device.startswith("cuda") else [values]
        found = [row for turn in turns for row in _together(ground, subject, what, turn, splits, notes)]
        if found:
            found[-1]["exponent"] = exponent([row["x"] for row in found], [row["step_ms"] for row in found])
        rows += found
    return rows, notes


def _together(
    ground: Ground,
    subject: Subject,
    what: str,
    values: Sequence[tuple[str, float, dict[str, Any]]],
    splits: Splits,
    notes: list[str],
) -> list[dict[str, Any]]:
    """Rows of values that take turns."""
    cases = {}
    for text, x, changes in values:
        changed = subject.under(**changes)
        reason = registry.method(subject.method).skip({n: ground.tasks[n] for n in changed.protocol.tasks})
        if reason:
            notes.append(f"{subject.name} at {what} {text} is left out: {reason}")
        elif case := build(changed, ground.tasks, ground.device, splits, notes, f"{what} {text}"):
            cases[text, x] = case
    timed = interleaved({str(key): case.step for key, case in cases.items()}, ground.steps, ground.device)
    return [_row(subject, text, x, case, timed[str((text, x))]) for (text, x), case in cases.items()]


def _row(subject: Subject, text: str, x: float, case: Case, timing: Timing) -> dict[str, Any]:
    rate = case.subject.protocol.batch / timing.median * 1e3
    more = {"images_per_second": rate, "peak_gib": case.peak_gib, "captured": case.reason is None}
    return {"name": subject.name, "value": text, "x": x} | timing.row("step") | more


def batch(ground: Ground) -> Found:
    sizes = BATCHES[torch.device(ground.device).type]
    rows, notes = _swept(ground, "batch", [(str(n), n, {"batch": n}) for n in sizes])
    more = Column("images/s", "images_per_second", "{:.1f}"), Column("peak GiB", "peak_gib", "{:.2f}")
    return _table("batch", "a step as batches grow", "batch", rows, notes, *more)


def tasks(ground: Ground) -> Found:
    """T = 2, 3, ... of the data set's tasks, those of the protocol first."""
    names = [*ground.protocol.tasks, *(name for name in ground.tasks if name not in ground.protocol.tasks)]
    counts = range(2, len(names) + 1)
    rows, notes = _swept(ground, "T =", [(str(t), t, {"tasks": tuple(names[:t])}) for t in counts])
    notes.append(
        f"exponent: p of ms = c T^p, 1 where cost grows in proportion; tasks in the order {', '.join(names)}"
    )
    return _table(
        "tasks", "a step as tasks are added", "T", rows, notes, Column("exponent", "exponent", "{:.2f}")
    )


def size(ground: Ground) -> Found:
    height, width = ground.protocol.size
    sides = {(_side(height * s), _side(width * s)) for s in SCALES}
    rows, notes = _swept(ground, "size", [(f"{h}x{w}", h * w, {"size": (h, w)}) for h, w in sorted(sides)])
    notes.append("exponent: p of ms = c (pixels)^p, 1 where cost grows in proportion")
    more = Column("images/s", "images_per_second", "{:.1f}"), Column("exponent", "exponent", "{:.2f}")
    return _table("size", "a step as images grow", "size", rows, notes, *more)


def _side(pixels: float) -> int:
    return max(LEAST_SIDE, round(pixels / 8) * 8)


def threads(ground: Ground) -> Found:
    """On a CPU: 1, 2, 4, ... threads, to as many as there are cores."""
    most = cores()
    counts = sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})

    def variants(case: Case) -> dict[str, Call]:
        def with_threads(count: int) -> Call:
            def call() -> None:
                torch.set_num_threads(count)
                case.step()

            return call

        return {str(count): with_threads(count) for count in counts}

    found = _compared(ground, "threads", variants)
    torch.set_num_threads(ground.protocol.threads)
    busy = (
        "threads wait for one another, so where other processes keep a core busy, more of them are "
        "slower; see the load above"
    )
    return replace(found, notes=(*found.notes, busy)) if found.rows else found


def layout(ground: Ground) -> Found:
    """On a CPU: a bare step with channels in their place, and with channels last."""

    def variants(case: Case) -> dict[str, Call]:
        calls: dict[str, Call] = {}
        for name, form in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last)):
            batches = [_laid(run.feed.batch(0), form) for run in case.runs]

            def call(form: torch.memory_format = form, batches: list[Batch] = batches) -> None:
                for run, given in zip(case.runs, batches, strict=True):
                    run.method.to(memory_format=form)
                    bare(run, given)

            calls[name] = call
        return calls

    return _compared(ground, "layout", variants)


def _laid(batch: Batch, form: torch.memory_format) -> Batch:
    views = tuple(replace(view, images=view.images.contiguous(memory_format=form)) for view in batch.views)
    return replace(batch, images=batch.images.contiguous(memory_format=form), views=views)


def _compared(ground: Ground, name: str, variants: Callable[[Case], dict[str, Call]]) -> Found:
    """Variants of one case beside its first; on a GPU nothing but a note."""
    title = {
        "threads": "a step as threads are added",
        "layout": "a bare step by the layout of images and weights",
    }[name]
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    if ground.device.startswith("cuda"):
        notes.append(f"{name} is a study of a CPU; name --device cpu")
    for subject in () if notes else ground.subjects:
        if case := build(subject, ground.tasks, ground.device, Splits(), notes):
            calls = variants(case)
            for call in calls.values():
                call()
            found = interleaved(calls, ground.steps, ground.device)
            first = next(iter(found.values()))
            for text, timing in found.items():
                rows.append(
                    {"name": subject.name, "value": text, "gain": ratio(first, timing)} | timing.row("step")
                )
    return _table(name, title, name, rows, notes, Column("times as fast", "gain", "{:.2f}"))
