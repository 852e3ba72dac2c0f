"""Look into boards, and into figures instead of writing them."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmark.report.board import Board, Entry, build
from benchmark.report.figures.style import Drawing
from benchmark.report.records import collect
from benchmark.report.tables import csv_text

BLANK = ("delta_m", "wins", "cost", "curves")


def only(folder: Path) -> Board:
    """The one board of the runs in a folder."""
    (board,) = build(collect(folder))
    return board


def entry(board: Board, label: str) -> Entry:
    return next(e for e in board.entries if e.label == label)


def lines(board: Board) -> dict[str, dict[str, str]]:
    """{method: its row of the CSV}."""
    return {line["method"]: line for line in csv.DictReader(io.StringIO(csv_text(board)))}


@contextmanager
def figures(written: bool = False) -> Iterator[dict[str, Figure]]:
    """{name: figure} of every figure that is saved meanwhile, laid out, and written only where asked."""
    found: dict[str, Figure] = {}
    write = Figure.savefig

    def keep(fig: Figure, path: Path, **options: Any) -> None:
        if written:
            write(fig, path, **options)
        if path.stem not in found:
            FigureCanvasAgg(fig).draw()
            found[path.stem] = fig

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", keep)
        yield found


def blank(board: Board, folder: Path) -> Drawing:
    """Write empty pictures in place of a board's figures, which take seconds to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = Drawing(folder, files=[folder / f"{name}.png" for name in BLANK])
    for path in drawing.files:
        Image.new("RGB", (900, 400)).save(path)
    return drawing


def plain(text: str) -> str:
    """On one line, with plain minus signs."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\n", " ")


def texts(ax: Axes) -> list[str]:
    """What is written inside an axes."""
    return [plain(text.get_text()) for text in ax.texts]


def title(ax: Axes) -> str:
    return plain(ax.get_title("left"))


def cut_off(fig: Figure) -> list[str]:
    """The texts that stand out of the figure."""
    found = [*fig.texts, *(text for legend in fig.legends for text in legend.get_texts())]
    for ax in (ax for ax in fig.axes if ax.get_visible()):
        low, high = sorted(ax.get_ylim())
        ticks = zip(ax.get_yticks(), ax.get_yticklabels(), strict=False)
        found += [text for at, text in ticks if ax.axison and low <= at <= high]
        found += [*ax.texts, ax.xaxis.label, ax.yaxis.label, ax._left_title]
    boxes = [(t.get_text(), t.get_window_extent()) for t in found if t.get_text() and t.get_visible()]
    inside = fig.bbox.padded(1)
    return [text for text, box in boxes if not (inside.contains(*box.min) and inside.contains(*box.max))]
