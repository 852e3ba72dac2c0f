"""Draw images, labels, predictions and errors: colours, grids and the panels of records."""

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

SHARES = ("classes", "edge", "saliency", "")  # kinds whose errors are from 0 to 1
_ERROR_ANGLE = 60.0  # degrees at which the picture of an error is darkest
_ERROR_SHARE = 1 / 8  # the same for other kinds, as a share of the span: 1 m of depth indoors
_UNKNOWN, _HATCH = (208, 208, 208), (176, 176, 176)
# Kelly's colours of maximum contrast, those for colour-blind readers first (Kelly 1965).
_PALETTE = np.frombuffer(
    bytes.fromhex(
        "f3c300 875692 f38400 a1caf1 be0032 c2b280 008856 e68fac 0067a5 f99379"
        "604e97 f6a600 b3446c dcd300 882d17 8db600 654522 e25822 2b3d26 848482"
    ),
    dtype=np.uint8,
).reshape(-1, 3)


def palette(task: Task) -> np.ndarray:
    """Return (K, 3) uint8 colours of classes; more than 20 repeat, background is black."""
    if task.kind != "classes":
        return np.array([(30, 30, 30), (255, 255, 255)], dtype=np.uint8)
    background = int(task.classes[:1] == ("background",))
    colours = np.resize(_PALETTE, (max(task.channels, 2) - background, 3))
    return np.concatenate([np.zeros((background, 3), np.uint8), colours])


def colour(task: Task, array: np.ndarray) -> np.ndarray:
    """Return a (H, W, 3) uint8 picture of a target (C, H, W), hatched where unknown.

    Classes in `palette`; depth in viridis over the task's `span`, near dark; normals n as (n + 1) / 2. Of a
    kind of one's own over its span: one channel in viridis, three as RGB, the length of others.
    """
    if task.is_map_of_integers:
        known = array[0] != task.ignore
        picture = palette(task)[np.where(known, array[0], 0).astype(np.int64)]
    elif task.kind == "depth":
        depth, (near, far) = array[0].astype(np.float64), task.span
        known = np.isfinite(depth) & (depth != 0)
        share = (np.where(known, depth, 0) - near) / (far - near)
        picture = _mapped("viridis", 1 - share if task.inverse else share)
    elif task.own_kind:
        known = np.isfinite(array).all(0)
        values = np.where(known, array, 0).astype(np.float64)
        values = values if len(values) in (1, 3) else np.sqrt((values**2).sum(0, keepdims=True))
        share = np.clip((values - task.span[0]) / (task.span[1] - task.span[0]), 0, 1).transpose(1, 2, 0)
        picture = np.rint(255 * share) if len(values) == 3 else _mapped("viridis", share[..., 0])
    else:
        vectors = array.astype(np.float64)
        length = np.sqrt((vectors**2).sum(0))
        known = np.isfinite(length) & (length > 0)
        unit = np.where(known, vectors, 0) / np.where(known, length, 1)
        picture = np.rint((unit + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
    return _hatched(picture, known)


def colour_prediction(task: Task, array: np.ndarray) -> np.ndarray:
    """Return a (H, W, 3) uint8 picture of a raw prediction (channels, H, W).

    Classes: the largest logit. Edge and saliency: the probability, black to white. Others as in `colour`.
    """
    if task.kind == "classes":
        return np.asarray(palette(task)[array.argmax(0)])
    if task.kind in ("edge", "saliency"):
        low, high = palette(task).astype(np.float64)
        probability = _probability(array[0].astype(np.float64))
        return np.asarray(np.rint(low + (high - low) * probability[..., None]).astype(np.uint8))
    return colour(task, array)


def worst(kind: str, span: tuple[float, float]) -> float:
    """Return the least error shown darkest: degrees, a share of depth's span, or 1."""
    known = dict.fromkeys(SHARES, 1.0) | {"normals": _ERROR_ANGLE}
    return known.get(kind, _ERROR_SHARE * (span[1] - span[0]))


def errors(task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the (H, W) error of a raw prediction, NaN where the target is unknown.

    Classes: 1 where the largest logit is another class, else 0. Edge and saliency: |probability - truth|.
    Depth: |difference|. Normals: the angle in degrees, 90 where the prediction has no direction. A kind of
    one's own: the length of the difference.
    """
    true, predicted = target.astype(np.float64), prediction.astype(np.float64)
    known = (true != 0).any(0) & np.isfinite(true).all(0)
    if task.is_map_of_integers:
        known = target[0] != task.ignore
    if task.kind == "classes":
        error = (prediction.argmax(0) != target[0]).astype(np.float64)
    elif task.kind in ("edge", "saliency"):
        error = np.abs(_probability(predicted[0]) - true[0])
    elif task.kind == "depth":
        error = np.abs(predicted[0] - np.where(known, true[0], 0))
    elif task.own_kind:
        known = np.isfinite(true).all(0)
        error = np.sqrt(((predicted - np.where(known, true, 0)) ** 2).sum(0))
    else:
        lengths = np.sqrt((true**2).sum(0)) * np.sqrt((predicted**2).sum(0))
        cosine = (true * predicted).sum(0) / np.where(lengths > 0, lengths, 1)
        error = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return np.where(known, error, np.nan)


def colour_error(task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return a picture of `errors`, nearly white at 0 to dark red at `worst`."""
    error = errors(task, target, prediction)
    return _hatched(_mapped("Reds", np.nan_to_num(error) / worst(task.kind, task.span)), ~np.isnan(error))


def _probability(logit: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def _mapped(name: str, values: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8 of values from 0 to 1 in one of matplotlib's maps."""
    return np.asarray(matplotlib.colormaps[name](np.clip(values, 0, 1), bytes=True)[..., :3])


def _hatched(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The picture with a hatch in two greys where a pixel is not known."""
    y, x = np.indices(known.shape)
    hatch = np.where((((x + y) // 3) % 3 == 0)[..., None], _HATCH, _UNKNOWN)
    return np.where(known[..., None], picture, hatch).astype(np.uint8)


def grid(
    cells: Sequence[Sequence[np.ndarray]],
    gap: int = 2,
    titles: Sequence[str] = (),
    row_titles: Sequence[str] = (),
) -> Image.Image:
    """Lay out (H, W, 3) uint8 cells of one size, `gap` white pixels apart, with titles."""
    height, width = cells[0][0].shape[:2]
    points = max(10, min(18, height // 9))
    font = ImageFont.load_default(points)
    top = round(points * 1.6) if titles else 0
    left = round(max(font.getlength(t) for t in row_titles) + points) if row_titles else 0
    columns = max(len(row) for row in cells)
    size = (left + columns * (width + gap) - gap, top + len(cells) * (height + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for c, title in enumerate(titles):
        draw.text((left + c * (width + gap) + width / 2, top / 2), title, "black", font, anchor="mm")
    for r, row in enumerate(cells):
        y = top + r * (height + gap)
        if row_titles:
            draw.text((points / 2, y + height / 2), row_titles[r], "black", font, anchor="lm")
        for c, cell in enumerate(row):
            sheet.paste(Image.fromarray(cell), (left + c * (width + gap), y))
    return sheet


def contact_sheet(split: Split, tasks: dict[str, Task], count: int = 8) -> Image.Image:
    """Draw the first `count` samples of a split: image and every label, a row each."""
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
    """Draw N rows of [image, truth, prediction and error of task 1, truth of task 2, ...].

    images: (N, 3, H, W) uint8; targets {task: (N, C, H, W)}; predictions {task: (N, channels, H, W)}, raw.
    Every cell is exactly `cell` = (height, width) without titles or gaps, so the panel can be sliced back.
    """
    nearest, bilinear = Image.Resampling.NEAREST, Image.Resampling.BILINEAR
    rows = []
    for i, image in enumerate(images):
        row = [Image.fromarray(image.transpose(1, 2, 0)).resize(cell[::-1], bilinear)]
        for name, task in tasks.items():
            true, predicted = targets[name][i], predictions[name][i]
            shown = [colour(task, true), colour_prediction(task, predicted)]
            for picture in (*shown, colour_error(task, true, predicted)):
                row.append(Image.fromarray(picture).resize(cell[::-1], nearest))  # mixes no colours
        rows.append([np.asarray(picture) for picture in row])
    return grid(rows, gap=0)


def save_webp(image: Image.Image, path: Path, limit: int = 60 * 1024) -> None:
    """Write a WebP file of at most `limit` bytes, at the best quality, then size, that fits."""
    while True:
        for quality in range(95, 0, -10):
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality, method=4)
            if buffer.tell() <= limit:
                path.write_bytes(buffer.getvalue())
                return
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)))
