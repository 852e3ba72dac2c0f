"""Fixed test images, the same for every row of a board: predictions beside the truth, and their errors."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from benchmark.errors import UserError
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seed_name
from benchmark.report.figures import style
from benchmark.report.figures.style import chosen, heading, wrapped
from benchmark.report.records import Record
from benchmark.runs import pictures

ROWS = 4  # test images in a panel file, or fewer where the test set is smaller
CELL_ASPECT = 96 / 128  # height by width of its cells, as `benchmark.runs.pictures.panel` draws them
MAX_METHODS = 12  # beside image and truth, at a size that still shows something
_LEFT, _RIGHT = 0.3, 0.06  # inches: for the names of tasks, and to the page's edge


class Cells(NamedTuple):
    """The pictures of one task in a panel, each (N, h, w, 3); errors is None in a panel made before it held
    them.
    """

    images: np.ndarray
    truths: np.ndarray
    predictions: np.ndarray
    errors: np.ndarray | None


Panel = dict[str, Cells]  # of every task of a run


def read_panel(record: Record) -> Panel:
    """Cut a panel file: a row a test image, of cells [image, then truth, prediction and error of each of the
    run's tasks].

    Files of before have no errors. Raises `UserError` for a damaged file and for one whose size is that of
    neither grid.
    """
    assert record.panel is not None
    try:
        with Image.open(record.panel) as file:
            pixels = np.asarray(file.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(
            f"{record.panel} could not be read ({error}); restore it, or remove it to do without it."
        ) from None
    tasks = record.spec["tasks"]
    # Cells are 128 pixels wide or that halved some times, and 1 + 2 T is odd: no width fits both grids.
    fitting = [each for each in (2, 3) if _power_of_two(pixels.shape[1] / (1 + each * len(tasks)))]
    columns = 1 + (fitting[0] if fitting else 3) * len(tasks)
    width = pixels.shape[1] // columns
    rows = round(pixels.shape[0] / (width * CELL_ASPECT)) if width else 0
    height = pixels.shape[0] // max(rows, 1)
    if not fitting or not 1 <= rows <= ROWS or height * rows != pixels.shape[0]:
        raise UserError(
            f"{record.panel} has {pixels.shape[1]}x{pixels.shape[0]} pixels, not {columns} columns and up to "
            f"{ROWS} rows of "
            f"cells in 4:3; restore it, or remove it to do without it."
        )
    cells = pixels.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
    found = {}
    for i, task in enumerate(tasks):
        first = 1 + fitting[0] * i
        errors = cells[:, first + 2] if fitting == [3] else None
        found[task] = Cells(cells[:, 0], cells[:, first], cells[:, first + 1], errors)
    return found


def _power_of_two(value: float) -> bool:
    return value >= 1 and value.is_integer() and int(value) & (int(value) - 1) == 0


def _resized(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cells (N, h, w, 3) at another (height, width): large panels are stored at half the size."""
    if cells.shape[1:3] == size:
        return cells
    return np.stack(
        [np.asarray(Image.fromarray(cell).resize(size[::-1], Image.Resampling.NEAREST)) for cell in cells]
    )


@dataclass(frozen=True)
class _Shown:
    """A row with the panels of one of its seeds."""

    entry: Entry
    seed: str
    panel: Panel


def _shown(board: Board, figure: str) -> tuple[list[_Shown], list[str]]:
    """The rows that have a panel for every task, from their first seed that does; those left out, with the
    reason.
    """
    found, notes = [], []
    for entry in (e for e in board.entries if e.units and not e.row.outdated):
        whole = next((s for _, s in sorted(entry.row.seeds.items()) if all(r.panel for r in s.records)), None)
        if whole is None:
            notes.append(
                f"{figure}: {entry.label} is left out, because no panel of predictions lies beside its "
                f"records."
            )
            continue
        panel: Panel = {}
        for record in whole.records:
            panel |= read_panel(record)
        if figure == "errors" and any(cells.errors is None for cells in panel.values()):
            notes.append(
                f"errors: {entry.label} is left out, because its panel was made before panels held errors."
            )
            continue
        found.append(_Shown(entry, seed_name((whole.label_seed, whole.train_seed)), panel))
    kept = chosen([shown.entry for shown in found], MAX_METHODS)
    left_out = [shown.entry.label for shown in found if shown.entry not in kept]
    notes += [
        f"{figure}: {label} is left out, because only {MAX_METHODS} rows are drawn." for label in left_out
    ]
    return [shown for shown in found if shown.entry in kept], notes


def predictions(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """A block a task; in it a line a test image: image, truth, and the prediction of each row. PNG alone: it
    is all pixels.
    """
    shown, notes = _shown(board, "predictions")
    if not shown:
        return [], [*notes, "predictions: left out, because no row has panels."]
    return _draw(board, shown, "truth and predictions", "", folder / "predictions"), notes


def errors(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """As `predictions`, with the error of each row in its place, on a scale that the figure states."""
    shown, notes = _shown(board, "errors")
    if not shown:
        return [], ["errors: left out, because no row has panels with errors."]
    return _draw(
        board, shown, "truth and errors", _scale(board, shown[0].entry.row.records), folder / "errors"
    ), notes


def _scale(board: Board, records: Sequence[Record]) -> str:
    """What the colours of errors mean."""
    darkest: dict[str, list[str]] = defaultdict(list)
    for name in (t.name for t in board.group.tasks):
        task = next(r["tasks"][name] for r in records if name in r["tasks"])
        kind, span = task.get("kind"), task.get("span")
        if kind == "classes":
            what = "wrong class"
        elif kind == "normals":
            what = f"{pictures.worst(kind, (0, 0)):g}° off or more"
        elif kind == "depth":
            far = (
                f"{pictures.worst(kind, span):g} {task['unit']}".strip() if span else "an eighth of its range"
            )
            what = f"{far} off or more"
        else:
            what = "probability off by 1"
        darkest[what].append(name)
    ends = ", ".join(f"{what} ({', '.join(names)})" for what, names in darkest.items())
    return f"Palest: right. Darkest: {ends}. Hatched: no label."


def _draw(board: Board, shown: list[_Shown], what: str, scale: str, stem: Path) -> list[Path]:
    """The blocks of predictions, or of errors where `scale` says what their colours mean."""
    tasks = [t.name for t in board.group.tasks]
    shapes = [s.panel[t].images.shape for s in shown for t in tasks]
    size = (max(shape[1] for shape in shapes), max(shape[2] for shape in shapes))
    # Of more tasks fewer images, to keep to a page.
    images = min(ROWS if len(tasks) <= 3 else 2, *(shape[0] for shape in shapes))
    cell = (style.WIDTH - _LEFT - _RIGHT) / (2 + len(shown))
    points = min(7.0, 11.5 * cell)  # names of eleven letters fit a cell
    letters = max(10, int(cell * 120 / points))
    columns = ["image", "truth", *(wrapped(s.entry.label, letters) for s in shown)]
    names = 0.12 + 0.13 * max(name.count("\n") + 1 for name in columns)
    rows, columns_of_pixels = board.group.protocol["size"]
    block = (
        images * cell * rows / columns_of_pixels
    )  # the shape of the images, whatever that of the stored cells
    seeds = ", ".join(sorted({s.seed for s in shown}))
    title = heading(board, f"Fixed test images: {what}, seed {seeds}")
    above = 0.16 + 0.14 * (title.count("\n") + 1)
    lines = textwrap.wrap(scale, 100)
    below = 0.14 * len(lines)
    total = above + len(tasks) * (block + 0.1) + names + below
    with style.figure(style.WIDTH, total) as fig:
        fig.set_layout_engine("none")  # cells without gaps: placed by hand
        fig.text(_LEFT / style.WIDTH, 1 - 0.08 / total, title, ha="left", va="top", fontsize=8.5)
        top = total - above - names
        for t, task in enumerate(tasks):
            strips = [getattr(s.panel[task], "errors" if scale else "predictions") for s in shown]
            first = shown[0].panel[task]
            bottom = top - block
            box = (_LEFT / style.WIDTH, bottom / total, 1 - (_LEFT + _RIGHT) / style.WIDTH, block / total)
            _block(
                fig, box, task, [_resized(c[:images], size) for c in (first.images, first.truths, *strips)]
            )
            if t == 0:
                look: dict[str, Any] = {
                    "transform": fig.axes[0].transAxes,
                    "ha": "center",
                    "va": "bottom",
                    "fontsize": points,
                }
                for c, name in enumerate(columns):
                    fig.axes[0].text((c + 0.5) / len(columns), 1.01, name, **look)
            top = bottom - 0.1
        if lines:
            ramp = fig.add_axes((_LEFT / style.WIDTH, (below - 0.1) / total, 0.1, 0.09 / total))
            ramp.imshow(np.linspace(0, 1, 64)[None], aspect="auto", cmap=matplotlib.colormaps["Reds"])
            style.hide(ramp)
            fig.text(
                _LEFT / style.WIDTH + 0.11,
                (below - 0.005) / total,
                "\n".join(lines),
                ha="left",
                va="top",
                fontsize=7,
            )
        # No more pixels than the pictures have: they are most of the file.
        return style.save(fig, stem, (".png",), dpi=max(100, min(150, round(size[1] / cell))))


def _block(fig: Figure, box: tuple[float, float, float, float], task: str, strips: list[np.ndarray]) -> None:
    """Columns of pictures (N, h, w, 3) side by side, thin white lines between them."""
    images, height, width = strips[0].shape[:3]
    ax = fig.add_axes(box)
    mosaic = np.concatenate([strip.reshape(images * height, width, 3) for strip in strips], axis=1)
    ax.imshow(mosaic, aspect="auto", interpolation="auto")
    for c in range(1, len(strips)):
        ax.axvline(c * width - 0.5, color="white", linewidth=1.2)
    for r in range(1, images):
        ax.axhline(r * height - 0.5, color="white", linewidth=1.2)
    style.hide(ax)
    ax.text(-0.006, 0.5, task, rotation=90, transform=ax.transAxes, ha="right", va="center", fontsize=8)
