"""One look for every figure, and files that are the same bytes for the same board."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.board import Board, Entry
from benchmark.report.naming import shipped_values, title
from benchmark.spec import plan, registry

LineStyle = Literal["-", "--", "-.", ":"]
WIDTH = 7.0  # inches: the width of a page's text; a column is half of it
REFERENCE_COLOUR = "#555555"
HIDDEN_COLOUR = "#ececec"
_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that text is the same everywhere
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.dpi": 150,
    "svg.hashsalt": "bench",  # else the ids in an SVG are random
    "svg.fonttype": "path",
}


@contextmanager
def figure(width: float = WIDTH, height: float = 3.0) -> Iterator[Figure]:
    """A figure of this size in inches, in the style; draw and `save` inside the block. It needs no
    display.
    """
    with matplotlib.rc_context(cast(Any, _RC)):
        yield Figure(figsize=(width, height), layout="constrained")


def save(fig: Figure, stem: Path, suffixes: Sequence[str] = (".svg", ".png"), dpi: int = 150) -> list[Path]:
    """Write `stem` with each suffix, without a date or a version inside; return the files."""
    metadata = {".svg": {"Date": None, "Creator": "bench"}, ".png": {"Software": None}}
    paths = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    for path in paths:
        fig.savefig(path, metadata=metadata[path.suffix], dpi=dpi)
    return paths


class Look(NamedTuple):
    """How a row is drawn: its colour, and its line style, so that lines differ by more than colour."""

    colour: Any
    dash: LineStyle


def looks(labels: Iterable[str], reference: str = "") -> dict[str, Look]:
    """The look of each row, distinguishable without colour vision up to eight rows, darker after them; the
    reference is grey.

    What rows are called gives their looks, not their scores. A method that has one row looks the same on
    every board; rows that share a method, and those of plug-ins, take the looks that are left.
    """
    bright = [
        c for i, c in enumerate(sns.color_palette("colorblind", 10)) if i not in (6, 7)
    ]  # a second pink, and its own grey
    pale = [0.299 * r + 0.587 * g + 0.114 * b > 0.7 for r, g, b in bright]  # its yellow, on white
    bright = [tuple(0.8 * part for part in c) if light else c for c, light in zip(bright, pale, strict=True)]
    palette = [*bright, *(tuple(0.55 * part for part in c) for c in bright)]
    dashes: tuple[LineStyle, ...] = ("-", "--", "-.", ":")
    named = sorted(set(labels) - {reference}, key=lambda label: ("(" in label, label))
    methods = _methods()
    places: dict[str, int] = {}
    for label in named:  # those without changed values come first
        place = methods.get(label.partition("(")[0])
        if place is not None and place not in places.values():
            places[label] = place
    others = [label for label in named if label not in places]
    free = (place for place in itertools.count() if place not in places.values())
    places |= dict(zip(others, itertools.islice(free, len(others)), strict=True))
    found = {}
    for label in named:
        again, colour = divmod(places[label], len(palette))
        found[label] = Look(palette[colour], dashes[(colour + again) % len(dashes)])
    return found | ({reference: Look(REFERENCE_COLOUR, "-")} if reference else {})


@cache
def _methods() -> dict[str, int]:
    """{method: its place among the looks}: those of the default plan have the first, which differ most, and
    what is grey there the last."""
    grids = plan.read(plan.DEFAULT)["grid"]
    grey = {(shipped_values(grid["protocol"]) or {}).get("reference") for grid in grids}
    named = dict.fromkeys([*(name for grid in grids for name in grid["method"]), *registry.method_names()])
    return {name: place for place, name in enumerate(sorted(named, key=lambda name: name in grey))}


def _looks(board: Board) -> dict[str, Look]:
    return looks((e.label for e in board.entries), board.reference.label if board.reference else "")


def colours(board: Board) -> dict[str, Any]:
    """{row label: colour} of a board's rows, as `looks` has them."""
    return {label: look.colour for label, look in _looks(board).items()}


def dashes(board: Board) -> dict[str, LineStyle]:
    """{row label: line style} of a board's rows, as `looks` has them."""
    return {label: look.dash for label, look in _looks(board).items()}


def matrix_look(matrices: Sequence[np.ndarray]) -> dict[str, Any]:
    """One scale of colours for matrices: to both sides of 0, or from 0 where nothing is negative, as a scale
    from the smallest value would paint a near-uniform matrix as a pattern."""
    finite = np.concatenate([m[np.isfinite(m)] for m in matrices])
    low, top = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    limit = max(abs(low), abs(top)) or 1.0
    return {"cmap": "PuOr" if low < 0 else "cividis", "vmin": -limit if low < 0 else 0.0, "vmax": limit}


def add_title(fig: Figure, text: str) -> None:
    """A title over the whole figure, from its left edge: axes may start far from it."""
    fig.suptitle(text, x=0.01, ha="left", fontsize=8.5)


def wrapped(label: str, width: int = 24) -> str:
    """A row's label on as many lines as it needs, broken before its bracket first."""
    head, bracket, rest = label.partition("(")
    if len(label) <= width or not bracket:
        parts = textwrap.wrap(
            label.replace("_", "_ "), width, break_long_words=False
        )  # a name breaks after its underscores
        return label if len(label) <= width else "\n".join(part.replace("_ ", "_") for part in parts)
    return "\n".join([head, *textwrap.wrap(bracket + rest, width)])


def minus(text: str) -> str:
    """A typographic minus, as the axes have it."""
    return text.replace("-", "\N{MINUS SIGN}")


def comparable(board: Board) -> list[Entry]:
    """The rows that figures show, best first: those with a delta m, earlier versions left out."""
    return [e for e in board.entries if e.delta is not None and not e.row.outdated]


def chosen(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """At most `limit` rows in their order: reference and baseline, and the first of the others."""
    kept = sorted(entries, key=lambda e: e.role == "")[:limit]
    return [e for e in entries if e in kept]


def heading(board: Board, text: str, inches: float = WIDTH) -> str:
    """A figure's title: what it shows, then the board on lines of their own, broken to fit a figure so
    wide.
    """
    characters = int(inches * 15)
    return "\n".join(line for part in (text, title(board.group)) for line in textwrap.wrap(part, characters))


def hide(ax: Axes) -> None:
    """An axes without frame, ticks or grid."""
    ax.set_axis_off()
    ax.grid(False)
