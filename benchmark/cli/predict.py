"""`bench predict`: what a finished run's network says about a user's own images."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmark.cli.runs import pick_device
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.model import Model, as_rgb, load_model
from benchmark.execute.progress import make_console
from benchmark.runs import pictures
from datasets.tasks import Task

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP")
SHEET = "predictions.png"
SHEET_IMAGES = 8


def predict(
    name: str,
    images: Sequence[Path],
    out: Path,
    results: Path,
    device: str,
    force: bool,
    as_json: bool = False,
) -> int:
    """Write, for each image, <stem>.npz with the predicted maps, <stem>-<task>.png with their pictures, and
    one contact sheet.

    An .npz holds one array a task at the image's own size (h, w), in the compact dtypes of data sets: classes
    (h, w) uint8; edges and saliency (h, w) float16 probabilities; depth (h, w) float16 metres; normals (3, h,
    w) int8 times 127 (x right, y down, z forward). Files appear in `out` when every prediction is there, or
    not at all. Raises `UserError` for a run without a network, images that are none, and files that would be
    written over without `force`.
    """
    shown: dict[str, list[str]] = {}
    with for_scripts(as_json, shown):
        model = load_model(name, results, pick_device(device))
        console = make_console()
        if model.note:
            console.print(f"note: {model.note}", markup=False, soft_wrap=True)
        inputs = _named(_collect(images, out))
        outputs = [
            SHEET,
            *(
                f"{stem}{end}"
                for stem in inputs
                for end in (".npz", *(f"-{task}.png" for task in model.tasks))
            ),
        ]
        there = [output for output in outputs if (out / output).exists()]
        if there and not force:
            more = f" and {len(there) - 1} more of the files to write" if len(there) > 1 else ""
            raise UserError(
                f"{out} already holds {there[0]}{more}; give --force to write over them, or another --out."
            )
        for stem, path in inputs.items():
            if stem != path.stem:
                console.print(
                    f"note: {path} is written as {stem}, for another image has its name.",
                    markup=False,
                    soft_wrap=True,
                )
        new = not out.exists()
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out, prefix=".draft-") as draft:
                _write(model, inputs, Path(draft), console)
                for output in outputs:
                    (Path(draft) / output).replace(out / output)
        except OSError as error:
            cure = "make room, permit writing there, or name another folder with --out"
            raise UserError(f"could not write in {out}: {error.strerror or error}; {cure}.") from None
        finally:
            if new:
                with suppress(OSError):  # where nothing came of it
                    out.rmdir()
        size = "x".join(map(str, model.size))
        said = (
            f"{', '.join(model.tasks)} of {len(inputs)} images, computed at {size} and resized to "
            f"theirs: "
            f"{out}"
        )
        console.print(said, markup=False, soft_wrap=True)  # a file may be called anything
        shown["files"] = [str(out / output) for output in outputs]
        return 0


def _collect(images: Sequence[Path], out: Path) -> list[Path]:
    """Every image file that is named or in a folder that is named, each once. Raises `UserError` for what is
    none.
    """
    found: dict[Path, Path] = {}
    for path in images:
        if path.is_dir():
            files = [
                file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and file.is_file()
            ]
            if not files:
                raise UserError(
                    f"there is no image ({', '.join(SUFFIXES)}) in the folder {path}; name a folder that "
                    f"holds some."
                )
        elif path.is_file():
            files = [path]
        else:
            raise UserError(f"there is no {path}; name image files, or folders of them.")
        found |= {file.resolve(): file for file in files}
    for path in found.values():
        if path.resolve().parent == out.resolve():
            raise UserError(
                f"{path} lies in {out} itself, where predictions are to be written; name another folder with "
                f"--out."
            )
        _opened(path).close()
    return list(found.values())


def _named(paths: list[Path]) -> dict[str, Path]:
    """{stem of its outputs: image}: the image's own, with a number where several share it."""
    result: dict[str, Path] = {}
    shared = Counter(path.stem for path in paths)
    for path in paths:
        stem, number = path.stem, 1
        while stem in result or (number > 1 and stem in shared):
            number += 1
            stem = f"{path.stem}-{number}"
        result[stem] = path
    return result


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=FORMATS)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return UserError(
        f"{path} could not be read as a JPEG, PNG or WebP image ({reason}); remove it or name others."
    )


def _read(path: Path) -> np.ndarray:
    try:
        with _opened(path) as image:
            return as_rgb(image)
    except (OSError, ValueError, SyntaxError) as error:  # cut off, or damaged inside
        raise _unreadable(path, error) from None


def _write(model: Model, inputs: dict[str, Path], draft: Path, console: Console) -> None:
    """Write every image's files, and a contact sheet of the first few, into the folder `draft`."""
    rows: list[list[np.ndarray]] = []
    predictions = model.predict_images(_read(path) for path in inputs.values())
    shown = track(predictions, "predicting", len(inputs), console=console, disable=not console.is_terminal)
    for (stem, path), maps in zip(inputs.items(), shown, strict=True):
        arrays = {name: compact(task, maps[name]) for name, task in model.tasks.items()}
        np.savez_compressed(draft / f"{stem}.npz", **arrays)  # type: ignore[arg-type]
        drawn = {name: drawing(task, maps[name]) for name, task in model.tasks.items()}
        for name, picture in drawn.items():
            Image.fromarray(picture).save(draft / f"{stem}-{name}.png")
        if len(rows) < SHEET_IMAGES:
            rows.append(
                [_cell(_read(path), model.size, smooth=True), *(_cell(p, model.size) for p in drawn.values())]
            )
    pictures.grid(rows, titles=["image", *model.tasks], row_titles=list(inputs)[: len(rows)]).save(
        draft / SHEET
    )


def compact(task: Task, values: Tensor) -> np.ndarray:
    """A predicted map in the dtype that files hold it in."""
    if task.kind == "normals":
        return (values * 127).round().to(torch.int8).numpy()
    return values.numpy() if task.kind == "classes" else values.half().numpy()


def drawing(task: Task, values: Tensor) -> np.ndarray:
    """(h, w, 3) uint8 picture of a predicted map."""
    if task.kind in ("edge", "saliency"):
        return pictures.colour_prediction(task, torch.logit(values, 1e-6)[None].numpy())
    return pictures.colour(task, (values if task.kind == "normals" else values[None]).numpy())


def _cell(picture: np.ndarray, size: tuple[int, int], smooth: bool = False) -> np.ndarray:
    """A picture, made smaller or larger and centred on white, at `size` (H, W). A mix of class colours would
    be another class.
    """
    image = Image.fromarray(picture)
    factor = min(size[0] / image.height, size[1] / image.width)
    inner = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    cell = Image.new("RGB", size[::-1], "white")
    cell.paste(image.resize(inner, how), ((size[1] - inner[0]) // 2, (size[0] - inner[1]) // 2))
    return np.asarray(cell)
