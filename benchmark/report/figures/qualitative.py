"""Draw fixed test images, the same for every row: predictions and their errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seed_name
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, paragraphs, wrapped
from benchmark.report.records import Record
from benchmark.runs import pictures

ROWS = 4  # test images in a panel file, or fewer where the test set is smaller
CELL_ASPECT = 96 / 128  # height by width of its cells, as `benchmark.runs.pictures.panel` draws them


class Cells(NamedTuple):
    """A task's pictures of a panel, (N, h, w, 3) each."""

    images: np.ndarray
    truths: np.ndarray
    predictions: np.ndarray
    errors: np.ndarray


def read_panel(record: Record) -> dict[str, Cells]:
    """Cut a panel file into cells: a row a test image, [image, then three a task].

    Raises `UserError` for a damaged file and for one of another size.
    """
    assert record.panel is not None
    cure = "restore it, or remove it to do without it."
    try:
        with Image.open(record.panel, formats=["WEBP"]) as file:
            pixels = np.asarray(file.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{record.panel} could not be read ({error}); {cure}") from None
    tasks, (high, wide) = record.spec["tasks"], pixels.shape[:2]
    columns = 1 + 3 * len(tasks)
    rows = round(high / (wide / columns * CELL_ASPECT))
    if wide % columns or not 1 <= rows <= ROWS or high % rows:
        raise UserError(
            f"{record.panel} has {wide}x{high} pixels, not {columns} columns and up to {ROWS} rows of "
            f"cells in 4:3; {cure}"
        )
    cells = pixels.reshape(rows, high // rows, columns, wide // columns, 3).transpose(2, 0, 1, 3, 4)
    return {task: Cells(cells[0], *cells[1 + 3 * i : 4 + 3 * i]) for i, task in enumerate(tasks)}


class _Shown(NamedTuple):
    """A row with the panels of one of its seeds."""

    entry: Entry
    seed: str
    panel: dict[str, Cells]


def _shown(board: Board, name: str, drawing: Drawing) -> list[_Shown]:
    """The rows that have a panel for every task, from their first seed that does."""
    found = {}
    for entry in style.current(board):
        seeds = (seed for _, seed in sorted(entry.row.seeds.items()))
        whole = next((seed for seed in seeds if all(r.panel for r in seed.records)), None)
        if whole is None:
            why = "because no panel of predictions lies beside its records"
            drawing.omit(name, f"{entry.label} is left out, {why}")
        else:
            panel = {task: cells for r in whole.records for task, cells in read_panel(r).items()}
            found[entry.label] = _Shown(entry, seed_name((whole.label_seed, whole.train_seed)), panel)
    return [found[e.label] for e in drawing.select(name, [shown.entry for shown in found.values()])]


def _scale(board: Board, records: Sequence[Record]) -> str:
    """What the colours of errors mean."""
    darkest: dict[str, list[str]] = defaultdict(list)
    for name in (t.name for t in board.group.tasks):
        task = next(r["tasks"][name] for r in records if name in r["tasks"])
        kind, span, what = task.get("kind"), task.get("span"), "probability off by 1"
        if kind == "classes":
            what = "wrong class"
        elif kind == "normals":
            what = f"{pictures.worst(kind, (0, 0)):g}° off or more"
        elif kind == "depth":
            far = f"{pictures.worst(kind, span):g} {task['unit']}".strip() if span else ""
            what = f"{far or 'an eighth of its range'} off or more"
        darkest[what].append(name)
    ends = ", ".join(f"{what} ({', '.join(names)})" for what, names in darkest.items())
    return f"Palest: right. Darkest: {ends}. Hatched: no label."


def draw(board: Board, drawing: Drawing, name: str) -> None:
    """Draw a block a task, a line a test image: image, truth, each row's `name`.

    name: `predictions` or `errors`, these on a scale that the figure states. As PNG alone: it is all pixels.
    """
    shown = _shown(board, name, drawing)
    if not shown:
        return drawing.omit(name, "left out, because no row has panels")
    tasks = [t.name for t in board.group.tasks]
    shapes = [s.panel[t].images.shape for s in shown for t in tasks]
    size = (max(shape[1] for shape in shapes), max(shape[2] for shape in shapes))
    images = min(ROWS if len(tasks) <= 3 else 2, *(shape[0] for shape in shapes))  # to keep to a page
    across = 2 + len(shown)
    cell = (style.WIDTH - 0.3) / across  # inches
    points = min(7.0, 11.5 * cell)  # names of eleven letters fit a cell
    names = ["image", "truth", *(wrapped(s.entry.label, max(10, int(cell * 120 / points))) for s in shown)]
    high, wide = board.group.protocol["size"]  # the shape of the images, whatever that of the stored cells
    height = len(tasks) * (images * cell * high / wide + 0.06) + 0.2
    height += 0.12 * max(name.count("\n") for name in names)
    what = f"Fixed test images: truth and {name}, seed {', '.join(sorted({s.seed for s in shown}))}"
    # No more pixels than the pictures have: they are most of the file.
    dpi = max(100, min(150, round(size[1] / cell)))
    with drawing.figure(name, what, height=height, only_png=dpi) as fig:
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
    nearest = Image.Resampling.NEAREST
    return np.stack([np.asarray(Image.fromarray(cell).resize(size[::-1], nearest)) for cell in cells])
