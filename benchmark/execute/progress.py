"""How runs fare, for people: a live table in a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import EQUAL

STYLES = {
    "done": "green", "failed": "red", "running": "yellow", "elsewhere": "cyan", "queued": "blue",
    "missing": "dim",
    "stale": "magenta",
}  # fmt: skip
PLAIN_SECONDS = 20.0  # between two plain lines about one run


def make_console() -> Console:
    """Standard output; in a pipe or a file, lines of 140 characters (or COLUMNS), so that tables are not
    folded.
    """
    console = Console(emoji=False)  # `published:one:` is no picture
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=140, emoji=False)


def plain(value: object) -> str:
    """A value as a plan's TOML has it, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def row_name(spec: RunSpec) -> str:
    """The line of the table that a run belongs to."""
    changed = [f"{name}={plain(spec.hyperparameters[name])}" for name in spec.changed]
    changed += [f"balance={spec.balance}"] if spec.balance != EQUAL else []
    changed += [f"lr_scale={spec.lr_scale:g}"] if spec.lr_scale != 1 else []
    return spec.method + (f"({', '.join(changed)})" if changed else "")


def column_name(spec: RunSpec) -> str:
    return f"{spec.labels} s{spec.seed}"


class Progress:
    """A watcher of runs. Use as a context manager."""

    def __init__(self, cells: Sequence[RunSpec], console: Console) -> None:
        self.console = console
        self.rows = list(dict.fromkeys(row_name(c) for c in cells))
        self.columns = list(dict.fromkeys(column_name(c) for c in cells))
        self.cells = {c.id: c for c in cells}
        self.states = {c.id: "missing" for c in cells}
        self.texts: dict[str, str] = {}
        self.reasons: dict[str, str] = {}  # why runs failed, by id
        self.began: dict[str, float] = {}
        self.first: dict[
            str, tuple[float, int]
        ] = {}  # when a run's first step was reported, and which it was
        self.said: dict[str, float] = {}
        self.live = (
            Live(self, console=console, refresh_per_second=4, transient=False)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        fresh = spec.id in self.began or state in ("running", "failed", "elsewhere")
        self.states[spec.id] = state
        if state == "running":
            self.began[spec.id] = time.monotonic()
        self.texts[spec.id] = message if state == "failed" else ""
        self.reasons.pop(spec.id, None)
        if state == "failed":
            self.reasons[spec.id] = message
        if not self.live and fresh:
            after = (
                f" in {time.monotonic() - self.began[spec.id]:.0f} s"
                if state == "done" and spec.id in self.began
                else ""
            )
            count = sum(s == "done" for s in self.states.values())
            self._line(
                f"{spec.folder}: {state}{after}{': ' + message if message else ''} "
                f"({count}/{len(self.cells)} runs done)"
            )
        elif message:
            self._line(f"{spec.folder}: {state}: {message}")

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        began, start = self.first.setdefault(spec.id, (now, step))
        left = (
            self._duration((now - began) / (step - start) * (steps - step)) + " left"
            if step > start
            else "started"
        )
        self.texts[spec.id] = f"{step}/{steps} {left} loss {loss:.3g}"
        if not self.live and now - self.said.get(spec.id, self.began[spec.id]) > PLAIN_SECONDS:
            self.said[spec.id] = now
            self._line(f"{spec.folder}: step {step} of {steps}, {left}, loss {loss:.4g}")

    def note(self, message: str) -> None:
        self._line(message)

    def _line(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    @staticmethod
    def _duration(seconds: float) -> str:
        return (
            f"{seconds:.0f} s"
            if seconds < 100
            else f"{seconds / 60:.0f} min"
            if seconds < 6000
            else f"{seconds / 3600:.1f} h"
        )

    def __rich__(self) -> Table:
        done = sum(state == "done" for state in self.states.values())
        table = Table(title=f"{done} of {len(self.cells)} runs done", title_justify="left")
        table.add_column("method", overflow="fold")
        for column in self.columns:
            table.add_column(column, overflow="fold")
        for row in self.rows:
            texts = []
            for column in self.columns:
                here = [i for i, c in self.cells.items() if row_name(c) == row and column_name(c) == column]
                texts.append(self._cell(here))
            table.add_row(row, *texts)
        return table

    def _cell(self, ids: list[str]) -> Text:
        """A cell holds one run, or the several of a one-task method: the state they share, or how many have
        which.
        """
        if not ids:
            return Text("")
        running = next((i for i in ids if self.states[i] == "running"), None)
        counts = {
            state: sum(self.states[i] == state for i in ids)
            for state in dict.fromkeys(self.states[i] for i in ids)
        }
        total = f"{counts.get('done', 0)}/{len(ids)} " if len(ids) > 1 else ""
        if running:
            return Text(total + (self.texts.get(running) or "starting"), STYLES["running"])
        worst = "failed" if "failed" in counts else next(iter(counts))
        return Text(total + worst if len(counts) > 1 or worst != "done" else f"{total}done", STYLES[worst])
