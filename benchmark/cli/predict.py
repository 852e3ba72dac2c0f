"""`bench predict` and `export`: a finished run's network on a user's own images, and in other programs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from benchmark.cli.options import RUNS, Answer, Device, Plugin, Results, say
from benchmark.errors import UserError
from benchmark.execute.progress import make_console
from benchmark.runs.rundir import find_run

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from benchmark.execute.model import Model
    from datasets.tasks import Task

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
CURE = "remove it or name others"


def predict(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files (JPEG, PNG, WebP), or folders of them."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for predictions and pictures.")],
    results: Results = RUNS,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Write over predictions that are there.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> Answer:
    """Predict a user's own images with a finished run's network."""
    # README.md says what is in the files, which appear when every prediction is there, or not at all.
    from benchmark.execute.model import load_model
    from benchmark.execute.options import pick_device

    model = load_model(name, results, pick_device(device))
    if model.note:
        say(f"note: {model.note}")
    inputs = _named(_collect(images, out))
    ends = (".npz", *(f"-{task}.png" for task in model.tasks))
    outputs = [f"{stem}{end}" for stem in inputs for end in ends]
    there = [output for output in outputs if (out / output).exists()]
    if there and not force:
        more = f" and {len(there) - 1} more of the files to write" if len(there) > 1 else ""
        raise UserError(
            f"{out} already holds {there[0]}{more}; give --force to write over them, or another --out."
        )
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".draft-") as draft:
            _write(model, inputs, Path(draft))
            for output in outputs:
                (Path(draft) / output).replace(out / output)
    except OSError as error:
        cure = "make room, permit writing there, or name another folder with --out"
        raise UserError(f"could not write in {out}: {error.strerror or error}; {cure}.") from None
    finally:
        if new:
            with suppress(OSError):  # where nothing came of it
                out.rmdir()
    how = f"computed at {model.size[0]}x{model.size[1]} and resized to theirs"
    say(f"{', '.join(model.tasks)} of {len(inputs)} images, {how}: {out}")
    return 0, {"files": [str(out / output) for output in outputs]}


def export(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    form: Annotated[str, typer.Option("--format", help="torch (torch.export's .pt2) or onnx.")] = "torch",
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="network.pt2 or .onnx with the run")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images at a time.", show_default="the protocol's", min=1)
    ] = None,
    results: Results = RUNS,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> Answer:
    """Write a finished run's network for other programs, and check that it gives the same maps."""
    from benchmark.execute import export as exporting
    from benchmark.execute.model import load_model

    exporting.check_format(form)
    path = out or find_run(results, name).file(f"network{exporting.ENDS[form]}")
    if path.exists() and not force:
        raise UserError(f"{path} is there already; give --force to write over it, or another --out.")
    model = load_model(name, results)
    if model.note:
        say(f"note: {model.note}")
    batch = batch or model.spec.protocol.batch
    try:
        found, same = exporting.write(model, path, form, batch), True
    except exporting.Differs as error:
        found, same = error.found, False
    by_task = ", ".join(f"{task} {value:.2g}" for task, value in found.items())
    says = f"largest relative difference from `bench predict`: {by_task}; allowed: {exporting.TOLERANCE}"
    if same:
        say(f"images ({batch}, 3, {model.size[0]}, {model.size[1]}) uint8 to {', '.join(found)}: {path}")
        say(f"{says}.")
    else:
        say(f"the exported network gives other maps, so that nothing was written: {says}.")
    shown = {"file": str(path) if same else None, "tolerance": exporting.TOLERANCE, "differences": found}
    return 0 if same else 1, shown


def _collect(images: Sequence[Path], out: Path) -> list[Path]:
    """Return every image file that is named or in a folder that is named, each once; `UserError` for none."""
    from datasets.layouts.pixels import opened

    found: dict[Path, Path] = {}
    for path in images:
        files = [path]
        if path.is_dir():
            inside = [f for f in sorted(path.iterdir()) if not f.name.startswith(".")]
            files = [f for f in inside if f.suffix.lower() in SUFFIXES]
            if not files:
                kinds = ", ".join(SUFFIXES)
                raise UserError(f"there is no image ({kinds}) in the folder {path}; name another.")
            if others := [f.name for f in inside if f not in files]:
                say(f"note: {len(others)} files in {path} are left aside, such as {others[0]}.")
        found |= {file.resolve(): file for file in files}
    for resolved, path in found.items():
        if not path.is_file():
            raise UserError(f"there is no {path}; name image files, or folders of them.")
        if resolved.parent == out.resolve():
            raise UserError(f"{path} lies in {out}, where predictions go; name another folder with --out.")
        with opened(path, CURE):  # what is cut off shows when it is read
            pass
    return list(found.values())


def _named(paths: list[Path]) -> dict[str, Path]:
    """Return {stem of its outputs: image}. Raises `UserError` where two images would have the same."""
    counts = Counter(path.stem for path in paths)
    if several := [path.name for path in paths if counts[path.stem] > 1]:
        raise UserError(f"predictions of {' and '.join(several)} would have one name; predict them apart.")
    return {path.stem: path for path in paths}


def _write(model: Model, inputs: dict[str, Path], draft: Path) -> None:
    """Write every image's files into the folder `draft`."""
    import numpy as np
    from PIL import Image

    from datasets import seen
    from datasets.layouts.pixels import TURNED, load_photograph

    remarks: list[dict[str, tuple[int, str]]] = []

    def read(path: Path) -> np.ndarray:
        pixels, found = load_photograph(path, upright=True, expected=CURE)
        remarks.append({remark: (1, path.name) for remark in found if remark != TURNED})
        return pixels

    console = make_console()
    predictions = model.predict_images(read(path) for path in inputs.values())
    shown = track(predictions, "predicting", len(inputs), console=console, disable=not console.is_terminal)
    for stem, maps in zip(inputs, shown, strict=True):
        arrays = {name: compact(task, maps[name]) for name, task in model.tasks.items()}
        np.savez_compressed(draft / f"{stem}.npz", **arrays)  # type: ignore[arg-type]
        for name, task in model.tasks.items():
            Image.fromarray(drawing(task, maps[name])).save(draft / f"{stem}-{name}.png")
    for note in seen.said(remarks):
        say(f"note: {note}")


def compact(task: Task, values: Tensor) -> np.ndarray:
    """Return a predicted map in the dtype that files hold it in."""
    if task.kind == "normals":
        return (values * 127).round().char().numpy()
    return values.numpy() if task.kind == "classes" else values.half().numpy()


def drawing(task: Task, values: Tensor) -> np.ndarray:
    """Return a (h, w, 3) uint8 picture of a predicted map."""
    from benchmark.runs import pictures

    if task.kind in ("edge", "saliency"):
        return pictures.colour_prediction(task, values.logit(1e-6)[None].numpy())
    return pictures.colour(task, (values if values.ndim == 3 else values[None]).numpy())
