"""Set one look for all figures; the same board gives the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.style import context

from benchmark.report.board import Board, Entry

WIDTH = 7.0  # inches: the width of a page's text; a column is half of it
REFERENCE_COLOUR = "#555555"
COLOUR = "#0b5cad"  # of rows that are named beside their marks
MAX_ROWS = 16  # rows that a reader can tell apart, and that fit
_SHEET = Path(__file__).with_name("bench.mplstyle")
_METADATA: dict[str, Any] = {".svg": {"Date": None, "Creator": "bench"}, ".png": {"Software": None}}


@dataclass
class Drawing:
    """The figures of a folder: files written, and a sentence for each omission.

    about: what stands below the title of each figure.
    """

    folder: Path
    about: str = ""
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def figure(
        self, name: str, title: str, *, width: float = WIDTH, height: float, only_png: int = 0
    ) -> Iterator[Figure]:
        """Open a figure, then write it with a title over it; hide empty axes.

        height: in inches, of what is below the title. only_png: write no SVG, but pixels of so many per inch.
        """
        with context(_SHEET):
            fig = Figure(figsize=(width, height))
            yield fig
            text = paragraphs(title, self.about, inches=width)
            fig.set_figheight(fig.get_figheight() + 0.1 + 0.14 * (text.count("\n") + 1))
            fig.suptitle(text, x=0.01, ha="left")
            for ax in fig.axes:
                ax.set_visible(ax.has_data() or bool(ax.texts))
            fig.draw_without_rendering()
            fig.set_layout_engine("none")  # a layout may move once more when drawn again: files must not
            for suffix in (".png",) if only_png else (".svg", ".png"):
                self.files.append(self.folder / f"{name}{suffix}")
                fig.savefig(self.files[-1], metadata=_METADATA[suffix], dpi=only_png or 150)

    def omit(self, name: str, reason: str) -> None:
        """Note why a figure, or a part of it, is not drawn."""
        self.notes.append(f"{name}: {reason}.")

    def select(self, name: str, entries: Sequence[Entry], limit: int = MAX_ROWS) -> list[Entry]:
        """Keep reference, baseline and the first others, `limit` rows in all."""
        kept = {e.label for e in sorted(entries, key=first)[:limit]}
        for entry in entries:
            if entry.label not in kept:
                self.omit(name, f"{entry.label} is left out, because only {limit} rows are drawn")
        return [e for e in entries if e.label in kept]


def reference_label(board: Board) -> str:
    """Return the label of the reference's row, "" without one."""
    return board.reference.label if board.reference else ""


def wrapped(label: str, width: int = 24) -> str:
    """Break a row's label into lines, before its bracket first, names after underscores."""
    if len(label) <= width:
        return label
    head, bracket, rest = label.partition("(")
    lines = textwrap.wrap(head.replace("_", "_ "), width, break_long_words=False)
    lines += textwrap.wrap((bracket + rest).replace("_", "_ "), width, break_long_words=False)
    return "\n".join(line.replace("_ ", "_") for line in lines)


def spread(values: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Return a place between low and high for the text of each value: near it, `gap` from any other."""
    order, places = np.argsort(values, kind="stable"), np.empty(len(values))
    for i, at in enumerate(order):
        places[at] = max(values[at], low if i == 0 else places[order[i - 1]] + gap)
    for i, at in enumerate(order[::-1]):
        places[at] = min(places[at], high if i == 0 else places[order[-i]] - gap)
    return places


def first(entry: Entry) -> int:
    """Return the place of a row among those to draw: reference and baseline, methods, ablations."""
    return {"reference": 0, "baseline": 0, "": 1}.get(entry.role, 2)


def minus(text: str) -> str:
    """Replace hyphens by a typographic minus, as the axes have it."""
    return text.replace("-", "\N{MINUS SIGN}")


def paragraphs(*parts: str, inches: float = WIDTH) -> str:
    """Break each part into lines that fit a figure so wide."""
    return "\n".join(line for part in parts for line in textwrap.wrap(part, int(inches * 15)))


def zero(line: Callable[..., object]) -> None:
    """Draw the line at 0 of an axis."""
    line(0, color=REFERENCE_COLOUR, linewidth=0.8, zorder=1)


def current(board: Board) -> list[Entry]:
    """Return the rows with complete seeds."""
    return [e for e in board.entries if e.units]
