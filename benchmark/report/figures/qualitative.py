"""Draw fixed test images, the same for every row: predictions and their errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from PIL import Image, UnidentifiedImageError

from benchmark.errors import UserError
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seed_name
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, paragraphs, wrapped
from benchmark.report.naming import title
from benchmark.report.records import Record
from benchmark.runs import pictures

ROWS = 4  # test images in a panel file, or fewer where the test set is smaller
CELL_ASPECT = 96 / 128  # height by width of its cells, as `benchmark.runs.pictures.panel` draws them


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
    _draw(board, shown, "predictions", drawing)


def errors(board: Board, drawing: Drawing) -> None:
    """Draw the errors in place of the predictions, on a scale that the figure states."""
    shown = _shown(board, "errors", drawing)
    if not shown:
        return drawing.omit("errors", "left out, because no row has panels with errors")
    _draw(board, shown, "errors", drawing)


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


def _draw(board: Board, shown: list[_Shown], name: str, drawing: Drawing) -> None:
    """Draw the blocks of predictions or errors as PNG alone: they are all pixels."""
    tasks = [t.name for t in board.group.tasks]
    shapes = [s.panel[t].images.shape for s in shown for t in tasks]
    size = (max(shape[1] for shape in shapes), max(shape[2] for shape in shapes))
    images = min(ROWS if len(tasks) <= 3 else 2, *(shape[0] for shape in shapes))  # to keep to a page
    across = 2 + len(shown)
    cell = (style.WIDTH - 0.3) / across  # inches
    points = min(7.0, 11.5 * cell)  # names of eleven letters fit a cell
    names = ["image", "truth", *(wrapped(s.entry.label, max(10, int(cell * 120 / points))) for s in shown)]
    high, wide = board.group.protocol["size"]  # the shape of the images, whatever that of the stored cells
    height = (
        len(tasks) * (images * cell * high / wide + 0.06) + 0.12 * max(n.count("\n") for n in names) + 0.2
    )
    what = f"Fixed test images: truth and {name}, seed {', '.join(sorted({s.seed for s in shown}))}"
    # No more pixels than the pictures have: they are most of the file.
    png: Any = {"suffixes": (".png",), "dpi": max(100, min(150, round(size[1] / cell)))}
    with drawing.figure(name, what, title(board.group), height=height, **png) as fig:
        axes = fig.subplots(len(tasks), 1, squeeze=False)[:, 0]
        for ax, task in zip(axes, tasks, strict=True):
            first = shown[0].panel[task]
            strips = [first.images, first.truths, *(getattr(s.panel[task], name) for s in shown)]
            cells = [_resized(strip[:images], size).reshape(-1, size[1], 3) for strip in strips]
            ax.imshow(np.concatenate(cells, axis=1), extent=(0, across * wide, images * high, 0))
            ax.vlines(np.arange(1, across) * wide, 0, images * high, colors="white", linewidth=1.2)
            ax.hlines(np.arange(1, images) * high, 0, across * wide, colors="white", linewidth=1.2)
            ax.set(xticks=[], yticks=[], ylabel=task)
            ax.spines[:].set_visible(False)
            ax.grid(False)
        axes[0].set_xticks((np.arange(across) + 0.5) * wide, names, fontsize=points)
        axes[0].tick_params(length=0, labeltop=True, labelbottom=False)
        if name == "errors":
            scale = paragraphs(_scale(board, shown[0].entry.row.records), inches=6.6)
            ramp = fig.colorbar(ScalarMappable(cmap="Reds"), ax=axes, location="bottom", aspect=60, pad=0.01)
            ramp.set_label(scale, fontsize=7)
            ramp.set_ticks([])
            fig.set_figheight(fig.get_figheight() + 0.25 + 0.13 * scale.count("\n"))


def _resized(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cells (N, h, w, 3) at another (height, width): large panels are stored at half the size."""
    if cells.shape[1:3] == size:
        return cells
    resize = Image.Resampling.NEAREST
    return np.stack([np.asarray(Image.fromarray(cell).resize(size[::-1], resize)) for cell in cells])
