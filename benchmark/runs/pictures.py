"""Pictures of images, labels and predictions: colours, grids, contact sheets and the panels that records
keep.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:  # neither brings torch along at run time
    from datasets.base import Split
    from datasets.tasks import Task

_ERROR_ANGLE = 60.0  # degrees at which the picture of an error is darkest
_ERROR_SHARE = 1 / 8  # the same for depth, as a share of its span: 1 m indoors
_UNKNOWN = (208, 208, 208)
_HATCH = (176, 176, 176)
# Kelly's colours of maximum contrast, those for colour-blind readers first (Kelly 1965).
_PALETTE = np.array(
    [
        (243, 195, 0), (135, 86, 146), (243, 132, 0), (161, 202, 241), (190, 0, 50), (194, 178, 128), (0, 136, 86),
        (230, 143, 172), (0, 103, 165), (249, 147, 121), (96, 78, 151), (246, 166, 0), (179, 68, 108), (220, 211, 0),
        (136, 45, 23), (141, 182, 0), (101, 69, 34), (226, 88, 34), (43, 61, 38), (132, 132, 130),
    ],
    dtype=np.uint8,
)  # fmt: skip


def palette(task: Task) -> np.ndarray:
    """(K, 3) uint8 colours of a task's classes; a first class called background is black. More than 20
    classes repeat.
    """
    count = max(task.channels, 2)
    if task.kind != "classes":
        return np.array([(30, 30, 30), (255, 255, 255)], dtype=np.uint8)
    if task.classes[:1] == ("background",):
        return np.concatenate([np.zeros((1, 3), np.uint8), np.resize(_PALETTE, (count - 1, 3))])
    return np.resize(_PALETTE, (count, 3))


def colour(task: Task, array: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 picture of a target (C, H, W) in any of the dtypes of `datasets.base`; hatched grey
    where unknown.

    Classes in `palette`; depth in viridis over the task's `span`, near dark; normals n as (n + 1) / 2.
    """
    if task.is_map_of_integers:
        known = array[0] != task.ignore
        result = palette(task)[np.where(known, array[0], 0).astype(np.int64)]
    elif task.kind == "depth":
        depth = array[0].astype(np.float64)
        known = np.isfinite(depth) & (depth != 0)
        share = (np.where(known, depth, 0) - task.span[0]) / (task.span[1] - task.span[0])
        result = _mapped("viridis", 1 - share if task.inverse else share)
    else:
        vectors = array.astype(np.float64)
        length = np.sqrt((vectors**2).sum(0))
        known = np.isfinite(length) & (length > 0)
        unit = np.where(known, vectors, 0) / np.where(known, length, 1)
        result = np.rint((unit + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
    picture: np.ndarray = np.where(known[..., None], result, _unknown(known.shape))
    return picture


def colour_prediction(task: Task, array: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 picture of a raw prediction (channels, H, W).

    Classes: the largest logit. Edge and saliency: the probability, black to white. Depth and normals as
    `colour` has them.
    """
    if task.kind == "classes":
        classes: np.ndarray = palette(task)[array.argmax(0)]
        return classes
    if task.kind in ("edge", "saliency"):
        low, high = palette(task).astype(np.float64)
        shown: np.ndarray = np.rint(low + (high - low) * _probability(array[0].astype(np.float64))[..., None])
        return shown.astype(np.uint8)
    return colour(task, array)


def worst(kind: str, span: tuple[float, float]) -> float:
    """The smallest error that pictures of a kind of task show darkest: degrees, a share of the span of depth,
    or 1.
    """
    return {"normals": _ERROR_ANGLE, "depth": _ERROR_SHARE * (span[1] - span[0])}.get(kind, 1.0)


def errors(task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(H, W) error of a raw prediction (channels, H, W) against its target (C, H, W), NaN where that is
    unknown.

    Classes: 1 where the largest logit is another class, else 0. Edge and saliency: |probability - truth|.
    Depth: |difference|.
    Normals: the angle between the directions in degrees, 90 where the prediction has none.
    """
    true, predicted = target.astype(np.float64), prediction.astype(np.float64)
    known = (
        target[0] != task.ignore if task.is_map_of_integers else (true != 0).any(0) & np.isfinite(true).all(0)
    )
    if task.kind == "classes":
        found = (prediction.argmax(0) != target[0]).astype(np.float64)
    elif task.kind in ("edge", "saliency"):
        found = np.abs(_probability(predicted[0]) - true[0])
    elif task.kind == "depth":
        found = np.abs(predicted[0] - np.where(known, true[0], 0))
    else:
        lengths = np.sqrt((true**2).sum(0)) * np.sqrt((predicted**2).sum(0))
        cosine = (true * predicted).sum(0) / np.where(lengths > 0, lengths, 1)
        found = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    shown: np.ndarray = np.where(known, found, np.nan)
    return shown


def colour_error(task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 picture of `errors`: from nearly white at 0 to dark red at `worst`; hatched grey where
    unknown.
    """
    found = errors(task, target, prediction)
    known = ~np.isnan(found)
    picture: np.ndarray = np.where(
        known[..., None],
        _mapped("Reds", np.where(known, found, 0) / worst(task.kind, task.span)),
        _unknown(known.shape),
    )
    return picture


def _probability(logit: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return result


def _mapped(name: str, values: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8 of values from 0 to 1 in one of matplotlib's maps."""
    colours: np.ndarray = matplotlib.colormaps[name](np.clip(values, 0, 1), bytes=True)
    return np.asarray(colours[..., :3])


def _unknown(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.indices(shape)
    return np.where((((x + y) // 3) % 3 == 0)[..., None], _HATCH, _UNKNOWN).astype(np.uint8)


def grid(
    cells: Sequence[Sequence[np.ndarray]],
    gap: int = 2,
    titles: Sequence[str] | None = None,
    row_titles: Sequence[str] | None = None,
) -> Image.Image:
    """Cells (H, W, 3) uint8, all of one size, in rows, `gap` pixels of white between them; titles above and
    on the left.
    """
    height, width = cells[0][0].shape[:2]
    points = max(10, min(18, height // 9))
    font = ImageFont.load_default(points)
    top = round(points * 1.6) if titles else 0
    left = round(max(font.getlength(t) for t in row_titles) + points) if row_titles else 0
    columns = max(len(row) for row in cells)
    size = (left + columns * (width + gap) - gap, top + len(cells) * (height + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles or ()):
        draw.text((left + column * (width + gap) + width / 2, top / 2), title, "black", font, anchor="mm")
    for r, row in enumerate(cells):
        y = top + r * (height + gap)
        if row_titles:
            draw.text((points / 2, y + height / 2), row_titles[r], "black", font, anchor="lm")
        for c, cell in enumerate(row):
            sheet.paste(Image.fromarray(cell), (left + c * (width + gap), y))
    return sheet


def contact_sheet(split: Split, tasks: dict[str, Task], count: int = 8) -> Image.Image:
    """The first `count` samples of a split: image and every label, a row each."""
    rows = []
    for i in range(min(count, len(split))):
        labels = [colour(task, split.targets[name][i].numpy()) for name, task in tasks.items()]
        rows.append([split.images[i].numpy().transpose(1, 2, 0), *labels])
    return grid(rows, titles=["image", *tasks], row_titles=split.names[: len(rows)])


def panel(
    images: np.ndarray,
    targets: dict[str, np.ndarray],
    predictions: dict[str, np.ndarray],
    tasks: dict[str, Task],
    cell: tuple[int, int] = (96, 128),
) -> Image.Image:
    """N rows of [image, truth, prediction and error of task 1, truth of task 2, ...] without titles or gaps.

    images: (N, 3, H, W) uint8; targets {task: (N, C, H, W)}; predictions {task: (N, channels, H, W)}, raw.
    Every cell is exactly `cell` = (height, width), so that the panel can be sliced back into them.
    """
    rows = []
    for i in range(len(images)):
        row = [images[i].transpose(1, 2, 0)]
        for name, task in tasks.items():
            true, predicted = targets[name][i], predictions[name][i]
            row += [
                colour(task, true),
                colour_prediction(task, predicted),
                colour_error(task, true, predicted),
            ]
        rows.append([_resize(picture, cell, smooth=k == 0) for k, picture in enumerate(row)])
    return grid(rows, gap=0)


def _resize(picture: np.ndarray, cell: tuple[int, int], smooth: bool) -> np.ndarray:
    """To `cell` = (height, width). Labels are not smoothed: that would make colours that mean other
    classes.
    """
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(cell[::-1], how))


def save_webp(image: Image.Image, path: Path, limit: int = 60 * 1024) -> None:
    """Write a WebP file of at most `limit` bytes, at the best quality (95 to 5) that fits; then at smaller
    sizes.
    """
    while True:
        for quality in range(95, 0, -10):
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality, method=4)
            if buffer.tell() <= limit:
                path.write_bytes(buffer.getvalue())
                return
        if min(image.size) == 1:
            raise ValueError(f"no WebP file fits in {limit} bytes")
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)))
