"""Draw fixed test images, the same for every row: predictions and their errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark.errors import UserError
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seed_name
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, paragraphs, wrapped
from benchmark.report.naming import title as board_title
from benchmark.report.records import Record
from benchmark.runs import pictures

ROWS = 4  # test images in a panel file, or fewer where the test set is smaller
CELL_ASPECT = 96 / 128  # height by width of its cells, as `benchmark.runs.pictures.panel` draws them
_LEFT, _RIGHT = 0.3, 0.06  # inches: for the names of tasks, and to the page's edge


class Cells(NamedTuple):
    """A task's pictures of a panel, (N, h, w, 3) each; errors is None in a panel of before."""

    images: np.ndarray
    truths: np.ndarray
    predictions: np.ndarray
    errors: np.ndarray | None


Panel = dict[str, Cells]  # of every task of a run


def read_panel(record: Record) -> Panel:
    """Cut a panel file into cells: a row a test image, [image, then those of each task].

    A task has truth, prediction and error, in files of before no error. Raises `UserError` for a damaged file
    and for one whose size is that of neither grid.
    """
    assert record.panel is not None
    cure = "restore it, or remove it to do without it."
    try:
        with Image.open(record.panel) as file:
            pixels = np.asarray(file.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{record.panel} could not be read ({error}); {cure}") from None
    tasks, (high, wide) = record.spec["tasks"], pixels.shape[:2]
    # Cells are 128 pixels wide or that halved some times, and 1 + 2 T is odd: no width fits both grids.
    widths = {each: wide / (1 + each * len(tasks)) for each in (2, 3)}
    each = next((each for each, width in widths.items() if width in (2**i for i in range(12))), None)
    columns = 1 + (each or 3) * len(tasks)
    width = wide // columns
    rows = round(high / (width * CELL_ASPECT)) if width else 0
    if each is None or not 1 <= rows <= ROWS or high % rows:
        raise UserError(
            f"{record.panel} has {wide}x{high} pixels, not {columns} columns and up to {ROWS} rows of "
            f"cells in 4:3; {cure}"
        )
    cells = pixels.reshape(rows, high // rows, columns, width, 3).transpose(2, 0, 1, 3, 4)
    parts = {task: cells[1 + each * i : 1 + each * (i + 1)] for i, task in enumerate(tasks)}
    return {t: Cells(cells[0], part[0], part[1], part[2] if each == 3 else None) for t, part in parts.items()}


class _Shown(NamedTuple):
    """A row with the panels of one of its seeds."""

    entry: Entry
    seed: str
    panel: Panel


def _shown(board: Board, name: str, drawing: Drawing) -> list[_Shown]:
    """The rows that have a panel for every task, from their first seed that does."""
    found = {}
    for entry in style.current(board):
        seeds = (seed for _, seed in sorted(entry.row.seeds.items()))
        whole = next((seed for seed in seeds if all(r.panel for r in seed.records)), None)
        if whole is None:
            reason = "no panel of predictions lies beside its records"
            drawing.omit(name, f"{entry.label} is left out, because {reason}")
            continue
        panel = {task: cells for record in whole.records for task, cells in read_panel(record).items()}
        if name == "errors" and any(cells.errors is None for cells in panel.values()):
            reason = "its panel was made before panels held errors"
            drawing.omit(name, f"{entry.label} is left out, because {reason}")
            continue
        found[entry.label] = _Shown(entry, seed_name((whole.label_seed, whole.train_seed)), panel)
    return [found[e.label] for e in drawing.select(name, [shown.entry for shown in found.values()])]


def predictions(board: Board, drawing: Drawing) -> None:
    """Draw a block a task, a line a test image: image, truth, each row's prediction."""
    shown = _shown(board, "predictions", drawing)
    if not shown:
        return drawing.omit("predictions", "left out, because no row has panels")
    _draw(board, shown, "predictions", "", drawing)


def errors(board: Board, drawing: Drawing) -> None:
    """Draw the errors in place of the predictions, on a scale that the figure states."""
    shown = _shown(board, "errors", drawing)
    if not shown:
        return drawing.omit("errors", "left out, because no row has panels with errors")
    _draw(board, shown, "errors", _scale(board, shown[0].entry.row.records), drawing)


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


def _draw(board: Board, shown: list[_Shown], name: str, scale: str, drawing: Drawing) -> None:
    """Draw the blocks of predictions or errors as PNG alone: they are all pixels."""
    tasks = [t.name for t in board.group.tasks]
    shapes = [s.panel[t].images.shape for s in shown for t in tasks]
    size = (max(shape[1] for shape in shapes), max(shape[2] for shape in shapes))
    images = min(ROWS if len(tasks) <= 3 else 2, *(shape[0] for shape in shapes))  # to keep to a page
    across = 2 + len(shown)
    cell = (style.WIDTH - _LEFT - _RIGHT) / across
    points = min(7.0, 11.5 * cell)  # names of eleven letters fit a cell
    letters = max(10, int(cell * 120 / points))
    names = ["image", "truth", *(wrapped(s.entry.label, letters) for s in shown)]
    high, wide = board.group.protocol["size"]  # the shape of the images, whatever that of the stored cells
    block = images * cell * high / wide
    seeds = ", ".join(sorted({s.seed for s in shown}))
    title = paragraphs(f"Fixed test images: truth and {name}, seed {seeds}", board_title(board.group))
    legend = paragraphs(scale, inches=6.6) if scale else ""
    above = 0.3 + 0.14 * title.count("\n") + 0.25 + 0.13 * max(text.count("\n") for text in names)
    total = above + len(tasks) * (block + 0.1) + (0.14 * (legend.count("\n") + 1) if scale else 0)
    with style.figure(height=total) as fig:
        fig.set_layout_engine("none")  # cells without gaps: placed by hand
        fig.text(_LEFT / style.WIDTH, 1 - 0.08 / total, title, ha="left", va="top", fontsize=8.5)
        left, width = _LEFT / style.WIDTH, across * cell / style.WIDTH
        for t, task in enumerate(tasks):
            ax = fig.add_axes((left, 1 - (above + t * (block + 0.1) + block) / total, width, block / total))
            first = shown[0].panel[task]
            strips = [first.images, first.truths, *(getattr(s.panel[task], name) for s in shown)]
            _draw_block(ax, task, [_resized(strip[:images], size) for strip in strips])
            for c, text in enumerate(names if t == 0 else []):
                where: Any = {"transform": ax.transAxes, "ha": "center", "va": "bottom"}
                ax.text((c + 0.5) / across, 1.01, text, fontsize=points, **where)
        if scale:
            bottom = 0.14 * (legend.count("\n") + 1)
            ramp = fig.add_axes((left, (bottom - 0.1) / total, 0.1, 0.09 / total))
            ramp.imshow(np.linspace(0, 1, 64)[None], aspect="auto", cmap="Reds")
            style.hide_frame(ramp)
            fig.text(left + 0.11, (bottom - 0.005) / total, legend, ha="left", va="top", fontsize=7)
        # No more pixels than the pictures have: they are most of the file.
        dpi = max(100, min(150, round(size[1] / cell)))
        drawing.files += style.save(fig, drawing.folder / name, (".png",), dpi)


def _draw_block(ax: Any, task: str, strips: list[np.ndarray]) -> None:
    """Draw columns of pictures (N, h, w, 3) side by side, thin white lines between them."""
    images, high, wide = strips[0].shape[:3]
    mosaic = np.concatenate([strip.reshape(images * high, wide, 3) for strip in strips], axis=1)
    ax.imshow(mosaic, aspect="auto", interpolation="auto")
    lines = {"colors": "white", "linewidth": 1.2}
    ax.vlines(np.arange(1, len(strips)) * wide - 0.5, -0.5, images * high - 0.5, **lines)
    ax.hlines(np.arange(1, images) * high - 0.5, -0.5, len(strips) * wide - 0.5, **lines)
    style.hide_frame(ax)
    ax.text(-0.006, 0.5, task, rotation=90, transform=ax.transAxes, ha="right", va="center", fontsize=8)


def _resized(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cells (N, h, w, 3) at another (height, width): large panels are stored at half the size."""
    if cells.shape[1:3] == size:
        return cells
    resize = Image.Resampling.NEAREST
    return np.stack([np.asarray(Image.fromarray(cell).resize(size[::-1], resize)) for cell in cells])
