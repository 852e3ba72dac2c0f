"""Look into figures instead of writing them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.report.board import Board, build
from benchmark.report.figures import style
from benchmark.report.records import collect


def only(folder: Path) -> Board:
    """The one board of the runs in a folder."""
    (board,) = build(collect(folder))
    return board


def twice(
    maker: Callable[[Board, Path], tuple[list[Path], list[str]]], folder: Path
) -> list[dict[str, bytes]]:
    """{file: content} of what a maker of figures draws of the one board in a folder, read and drawn anew each
    time.
    """
    made = []
    for name in ("a", "b"):
        (folder / name).mkdir()
        files, _ = maker(only(folder), folder / name)
        made.append({path.name: path.read_bytes() for path in files})
    return made


def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """{name: figure} of every figure that is saved from now on, not written but laid out."""
    found: dict[str, Figure] = {}

    def keep(fig: Figure, stem: Path, *_: object, **__: object) -> list[Path]:
        FigureCanvasAgg(fig).draw()
        found[stem.name] = fig
        return [stem]

    monkeypatch.setattr(style, "save", keep)
    return found


def texts(ax: Axes) -> list[str]:
    """What is written inside an axes, with plain minus signs."""
    return [text.get_text().replace("\N{MINUS SIGN}", "-") for text in ax.texts]


def cut_off(fig: Figure) -> list[str]:
    """The texts that stand out of the figure."""
    found = [
        text
        for ax in fig.axes
        if ax.get_visible()
        for text in (*ax.texts, *ax.get_yticklabels(), ax.title, ax._left_title)
    ]
    found += fig.texts
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in found
        if text.get_text() and text.get_visible()
    ]
    return [
        text
        for text, box in boxes
        if box.x0 < -1 or box.x1 > fig.bbox.x1 + 1 or box.y0 < -1 or box.y1 > fig.bbox.y1 + 1
    ]
