"""Show people how runs fare: a live table in a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
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


def _column_name(spec: RunSpec) -> str:
    return f"{spec.labels} s{spec.seed}"


class Progress:
    """A watcher of runs, and a context manager. reasons: why runs failed, by id."""

    def __init__(self, cells: Sequence[RunSpec], console: Console) -> None:
        self.console = console
        self.places: dict[tuple[str, str], list[str]] = {}  # ids by row and column of the table
        for spec in cells:
            self.places.setdefault((row_name(spec), _column_name(spec)), []).append(spec.id)
        self.states = {spec.id: "missing" for spec in cells}
        self.texts: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.first: dict[str, tuple[float, int]] = {}  # when a first step was reported, and which it was
        self.told: dict[str, float] = {}
        self.live = Live(self, console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        """Show a run's new state, and why; silently for a run that others ended."""
        if state == "running":
            self.first.pop(spec.id, None)  # taken up again, it shows its speed anew
        if (state, message) == (self.states[spec.id], ""):
            return
        self.states[spec.id] = state
        if state in ("done", "failed") and spec.id not in self.began:
            return
        self.texts.pop(spec.id, None)
        self.reasons.pop(spec.id, None)
        if state == "running":
            self.began[spec.id] = time.monotonic()
        if state == "failed":
            self.reasons[spec.id] = message
        if self.live and not message:
            return
        took = f" in {time.monotonic() - self.began[spec.id]:.0f} s" if state == "done" else ""
        count = Counter(self.states.values())["done"]
        because = f": {message}" if message else ""
        self.note(f"{spec.folder}: {state}{took}{because} ({count}/{len(self.states)} runs done)")

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        """Show how far a run is, and how long the rest takes at that speed."""
        now = time.monotonic()
        began, start = self.first.setdefault(spec.id, (now, step))
        seconds = (now - began) / (step - start) * (steps - step) if step > start else None
        left = "started" if seconds is None else f"{duration(seconds)} left"
        self.texts[spec.id] = f"{step}/{steps} {left} loss {loss:.3g}"
        if not self.live and now - self.told.get(spec.id, self.began[spec.id]) > PLAIN_SECONDS:
            self.told[spec.id] = now
            self.note(f"{spec.folder}: step {step} of {steps}, {left}, loss {loss:.4g}")

    def note(self, message: str) -> None:
        """Print a line, above the table where there is one."""
        self.console.print(Text(message), soft_wrap=True)

    def __rich__(self) -> Table:
        done = Counter(self.states.values())["done"]
        table = Table(title=f"{done} of {len(self.states)} runs done", title_justify="left")
        columns = list(dict.fromkeys(column for _, column in self.places))
        for column in ("method", *columns):
            table.add_column(column, overflow="fold")
        for row in dict.fromkeys(row for row, _ in self.places):
            table.add_row(row, *(self._cell(self.places.get((row, column), [])) for column in columns))
        return table

    def _cell(self, ids: list[str]) -> Text:
        """Show a run, or the several of a one-task method: their state, or how many have which."""
        if not ids:
            return Text("")
        counts = Counter(self.states[i] for i in ids)
        total = f"{counts['done']}/{len(ids)} " if len(ids) > 1 else ""
        running = next((i for i in ids if self.states[i] == "running"), None)
        if running:
            return Text(total + self.texts.get(running, "starting"), STYLES["running"])
        worst = "failed" if "failed" in counts else next(iter(counts))
        return Text(total + worst, STYLES[worst])


def duration(seconds: float) -> str:
    """Write seconds for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
