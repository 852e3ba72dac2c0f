"""Draw fixed test images: truth beside each row's predictions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.board import Board
from benchmark.report.captions import seed_name
from benchmark.report.figures import style
from benchmark.report.figures.style import Drawing, wrapped
from benchmark.report.records import Record

PICTURED = 7  # rows of predictions: more, and neither they nor their names could be read
ROWS = 4  # test images in a panel file, or fewer where the test set is smaller
CELL_ASPECT = 96 / 128  # height by width of its cells, as `benchmark.runs.pictures.panel` draws them


class Cells(NamedTuple):
    """A task's pictures of a panel, (N, h, w, 3) each."""

    images: np.ndarray
    truths: np.ndarray
    predictions: np.ndarray


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
    return {task: Cells(cells[0], *cells[1 + 3 * i : 3 + 3 * i]) for i, task in enumerate(tasks)}


def predictions(board: Board, drawing: Drawing) -> None:
    """Draw a block a task, a line a test image: image, truth, each row's predictions.

    As PNG alone: it is all pixels.
    """
    panels, seeds = {}, {}  # of each row's first seed that has a panel for every task
    for entry in style.current(board):
        found = (seed for _, seed in sorted(entry.row.seeds.items()) if all(r.panel for r in seed.records))
        if seed := next(found, None):
            panels[entry.label] = {t: cells for r in seed.records for t, cells in read_panel(r).items()}
            seeds[entry.label] = seed_name((seed.label_seed, seed.train_seed))
        else:
            why = "because no panel of predictions lies beside its records"
            drawing.omit("predictions", f"{entry.label} is left out, {why}")
    shown = drawing.select("predictions", [e for e in board.entries if e.label in panels], PICTURED)
    if not shown:
        return drawing.omit("predictions", "left out, because no row has panels")
    tasks, parts = [t.name for t in board.group.tasks], [panels[e.label] for e in shown]
    shapes = np.array([part[t].images.shape[:3] for part in parts for t in tasks])
    images = min(ROWS if len(tasks) <= 3 else 2, int(shapes[:, 0].min()))  # to keep to a page
    size, across = (int(shapes[:, 1].max()), int(shapes[:, 2].max())), 2 + len(shown)
    cell = (style.WIDTH - 0.3) / across  # inches
    names = ["image", "truth", *(wrapped(e.label, max(10, int(cell * 17))) for e in shown)]
    high, wide = board.group.protocol["size"]  # the shape of the images, whatever that of the stored cells
    height = len(tasks) * (images * cell * high / wide + 0.06) + 0.2
    height += 0.12 * max(name.count("\n") for name in names)
    what = (
        f"Fixed test images: truth and predictions, seed {', '.join(sorted({seeds[e.label] for e in shown}))}"
    )
    # No more pixels than the pictures have: they are most of the file.
    dpi = max(100, min(150, round(size[1] / cell)))
    with drawing.figure("predictions", what, height=height, only_png=dpi) as fig:
        axes = fig.subplots(len(tasks), 1, squeeze=False)[:, 0]
        for ax, task in zip(axes, tasks, strict=True):
            strips = [parts[0][task].images, parts[0][task].truths, *(p[task].predictions for p in parts)]
            cells = [_resized(strip[:images], size).reshape(-1, size[1], 3) for strip in strips]
            ax.imshow(np.concatenate(cells, axis=1), extent=(0, across * wide, images * high, 0))
            ax.vlines(np.arange(1, across) * wide, 0, images * high, colors="white", linewidth=1.2)
            ax.hlines(np.arange(1, images) * high, 0, across * wide, colors="white", linewidth=1.2)
            ax.set(xticks=[], yticks=[], ylabel=task)
            ax.spines[:].set_visible(False)
            ax.grid(False)
        axes[0].set_xticks((np.arange(across) + 0.5) * wide, names, fontsize=7)
        axes[0].tick_params(length=0, labeltop=True, labelbottom=False)


def _resized(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cells (N, h, w, 3) at another (height, width): large panels are stored at half the size."""
    nearest = Image.Resampling.NEAREST
    return np.stack([np.asarray(Image.fromarray(cell).resize(size[::-1], nearest)) for cell in cells])
