"""Show people how runs and other long jobs fare: bars in a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich import progress
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from benchmark.errors import printable
from benchmark.spec import weighting
from benchmark.spec.run import RunSpec

STYLES = {
    "done": "green", "failed": "red", "running": "yellow", "elsewhere": "cyan", "queued": "blue",
    "missing": "dim",
    "stale": "magenta",
}  # fmt: skip
PLAIN_SECONDS = 20.0  # between two plain lines about one run


class _Plain(Console):
    """A console to which text is text: no mark-up, no pictures, and no control codes of others."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=width, markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, but a text in a pipe or a file in one line."""
        if not self.is_terminal and all(isinstance(each, str) for each in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of something, with escapes for what would change the terminal."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def make_console() -> Console:
    """Return standard output; in a pipe or a file 140 columns (or COLUMNS), so that tables are not folded."""
    console = _Plain()
    return console if console.is_terminal or "COLUMNS" in os.environ else _Plain(width=140)


def plain(value: object) -> str:
    """Write a value as a plan's TOML has it, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def row_name(spec: RunSpec) -> str:
    """Name the line of the table that a run belongs to."""
    changed = [f"{name}={plain(spec.hyperparameters[name])}" for name in spec.changed]
    named = weighting.label(spec.balance, spec.weighting)
    changed += [f"balance={named}"] if named != weighting.EQUAL else []
    changed += [f"lr_scale={spec.lr_scale:g}"] if spec.lr_scale != 1 else []
    return spec.method + (f"({', '.join(changed)})" if changed else "")


class Bars(progress.Progress):
    """Bars of long jobs in a terminal; in a pipe, a line about each now and then."""

    def __init__(self, *columns: Any, shown: Callable[[int], str] = str) -> None:
        """columns: after the description and the bar. shown: a count in a line of a pipe."""
        console = make_console()
        super().__init__(
            progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), *columns,
            progress.TimeRemainingColumn(), console=console, disable=not console.is_terminal,
            speed_estimate_period=1e6,  # runs are reported forty times, however long they take
        )  # fmt: skip
        self.count, self.rows, self.told = shown, dict[str, progress.TaskID](), dict[str, float]()

    def __call__(self, what: str, done: int, total: int | None, more: str = "") -> None:
        """Tell that `done` of `total` are done, where known. more: said behind the name."""
        if what not in self.rows:  # what was there before is no part of the speed
            self.rows[what] = self.add_task(what, total=total, completed=done)
            self.told[what] = time.monotonic()
        self.update(self.rows[what], completed=done, total=total, description=what + more)
        if self.disable and time.monotonic() - self.told[what] > PLAIN_SECONDS:
            self.told[what] = time.monotonic()
            left = self.tasks[self.task_ids.index(self.rows[what])].time_remaining
            rest = f", {duration(left)} left" if left else ""
            of = f" of {self.count(total)}" if total else ""
            self.console.print(f"{what}: {self.count(done)}{of}{rest}{more}", soft_wrap=True)

    def forget(self, what: str) -> None:
        """Take a job away."""
        if what in self.rows:
            self.remove_task(self.rows.pop(what))


class Progress:
    """A watcher of runs, and a context manager. reasons: why runs failed, by id."""

    def __init__(self, cells: Sequence[RunSpec]) -> None:
        self.bars = Bars(progress.MofNCompleteColumn())
        self.states = {spec.id: "missing" for spec in cells}
        self.reasons: dict[str, str] = {}
        self.began: dict[str, float] = {}

    def __enter__(self) -> Progress:
        self.bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bars.stop()

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        """Tell a run's new state, and why; silently for a run that others ended."""
        if state == "running":
            self.bars.forget(spec.folder)  # taken up again, it shows its speed anew
        if (state, message) == (self.states[spec.id], ""):
            return
        self.states[spec.id] = state
        if state in ("done", "failed") and spec.id not in self.began:
            return
        self.bars.forget(spec.folder)
        self.reasons.pop(spec.id, None)
        if state == "running":
            self.began[spec.id] = time.monotonic()
        if state == "failed":
            self.reasons[spec.id] = message
        took = f" in {time.monotonic() - self.began[spec.id]:.0f} s" if state == "done" else ""
        count = Counter(self.states.values())["done"]
        because = f": {message}" if message else ""
        self.note(f"{spec.folder}: {state}{took}{because} ({count}/{len(self.states)} runs done)")

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        """Tell how far a run is."""
        self.bars(spec.folder, step, steps, f", loss {loss:.4g}" if math.isfinite(loss) else "")

    def note(self, message: str) -> None:
        """Print a line, above the bars where there are any."""
        self.bars.console.print(Text(message), soft_wrap=True)


def duration(seconds: float) -> str:
    """Write seconds for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
