"""`bench data get` and `show`, `bench labels`: fetch a data set, look at images and at who is labelled."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.progress import DownloadColumn

from benchmark import ROOT
from benchmark.cli.options import DATA, RUNS, Answer, Data, Plugin, Results, say, show_table
from benchmark.errors import UserError, shown
from benchmark.execute.progress import Bars
from benchmark.files import writing
from benchmark.spec import plan, registry
from benchmark.typed import check_keys

if TYPE_CHECKING:
    from torch import Tensor

OK, DECLINED, INTERRUPTED = 0, 1, 130
SIDE = 2**13  # pixels that no image is wider or higher
DataSet = Annotated[str, typer.Argument(metavar="DATASET")]


def parse_size(text: str) -> tuple[int, int]:
    """Return (H, W) of "96x128"."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(re.fullmatch("[0-9]{1,4}", p) and 0 < int(p) <= SIDE for p in parts):
        raise UserError(
            f"--size {shown(text)} is not HEIGHTxWIDTH, each at most {SIDE}; write for example --size 96x128."
        )
    return int(parts[0]), int(parts[1])


def get(
    name: DataSet,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before downloading.")] = False,
    url: Annotated[str | None, typer.Option(help="Another place to get it from, such as a mirror.")] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file's SHA-256 must be.")] = None,
    data: Data = DATA,
) -> Answer:
    """Download what is openly there of a data set, or say where people get it. Can be resumed."""
    from benchmark.execute.fetch import fetch, folder_of, name_of, unpack
    from datasets.prepared import Prepared

    def end(text: str, code: int, file: Path | None = None) -> Answer:
        say(text)
        return code, {"file": file and str(file), "said": text}

    kind = registry.dataset(name)
    if not issubclass(kind, Prepared):
        return end(f"{kind.name} is made on the spot; there is nothing to download.", OK)
    kind.form_of(name.replace("_", "-"))
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UserError(f"--sha256 {sha256!r} is not a SHA-256; expected 64 hexadecimal digits.")
    where = kind.url if url is None else url
    if where is None:
        raise UserError(f"no file of {kind.name} can be fetched by a program: {kind.elsewhere[0]}")
    target = data / "downloads" / name_of(where)
    folder = folder_of(target)
    here = folder or target
    if not here.exists() or not folder:  # a file that is here is only checked
        if not target.exists():
            size = f" ({decimal(kind.url_size)})" if kind.url_size and url is None else ""
            say(f"{kind.name}: {kind.summary}\n  from     {where}\n  to       {target}{size}")
            say(f"  source   {kind.source}\n  licence  {kind.licence}")
            for sentence in kind.elsewhere:
                say(f"note: {sentence}")
            if not yes and not sys.stdin.isatty():
                raise UserError(f"nothing was fetched, as no terminal is there; add --yes to fetch {where}.")
            if not yes and not typer.confirm("Fetch it?"):
                return end("nothing was fetched.", DECLINED)
        try:
            with Bars(DownloadColumn(), shown=decimal) as bars:
                fetch(where, target, bars, say, sha256)
                if folder:
                    unpack(target, folder, bars)
        except KeyboardInterrupt:
            said = f"interrupted: what came is kept in {target.parent}; the same command goes on from there."
            return end(said, INTERRUPTED)
    with_data = "" if data == ROOT / "data" else f" --data {shlex.quote(str(data))}"
    command = f"bench data prepare {name.replace('_', '-')} {shlex.quote(str(here))}{with_data}"
    return end(f"{here} is here; next: {command}", OK, here)


def show(
    name: DataSet,
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH in pixels.", show_default="the data set's")
    ] = None,
    count: Annotated[int, typer.Option(help="Images.", min=1, max=1000)] = 8,
    out: Annotated[
        Path | None, typer.Option(help="Picture to write.", show_default="<results>/<dataset>-<split>.png")
    ] = None,
    results: Results = RUNS,
    data: Data = DATA,
    plugin: Plugin = [],  # noqa: B006
) -> Answer:
    """Write a contact sheet: images and all their labels."""
    from benchmark.runs import pictures

    picture = out or results / f"{name}-{split}.png"
    if picture.suffix.lower() != ".png":
        raise UserError(f"--out {picture} is not the name of a .png file; give one that ends in .png.")
    dataset = registry.open_dataset(name, data)
    if split not in ("train", "test"):
        raise UserError(f"--split {split!r} is not one of train, test.")
    loaded = dataset.split(split, parse_size(size) if size else dataset.default_size, count)
    save_picture(pictures.contact_sheet(loaded, dataset.tasks, count).save, picture)
    return OK, {"picture": str(picture)}


def save_picture(save: Callable[[Path], None], out: Path) -> None:
    """Call `save` with a path whose folder is there."""
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        save(out)
    say(f"wrote {out}")


def show_labels(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]")] = None,
    setting: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="full, given, one, random, fraction:P, published:one or published:random.",
            show_default="the data set's, or one",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Label seed.", min=0, max=2**62 - 1)] = 0,
    count: Annotated[int | None, typer.Option(help="The first images only.", min=1, max=10**6)] = None,
    task: Annotated[list[str], typer.Option(help="Tasks (default: all). May be repeated.")] = [],  # noqa: B006
    data: Data = DATA,
    plugin: Plugin = [],  # noqa: B006
) -> Answer:
    """Print how many images carry which label under a setting."""
    from datasets import labels

    opened = registry.open_dataset(dataset or str(plan.read(plan.DEFAULT)["grid"][0]["dataset"]), data)
    setting = setting or registry.default_labels(opened.name)
    labels.parse(setting)
    tasks = task or list(opened.tasks)
    check_keys(tasks, opened.tasks, f"task of {opened.name}")
    split = opened.split("train", opened.default_size, count)
    available = split.available[:, [list(split.targets).index(name) for name in tasks]]
    mask = labels.sample(split.ids, available, setting, seed, split.frozen(tasks), split.source)
    per_image = mask.sum(1)
    shown: dict[str, Any] = {
        "images": len(split),
        "setting": setting,
        "seed": seed,
        "hash": labels.mask_hash(split.ids, mask, tasks),
        "labelled": dict(zip(tasks, mask.sum(0).tolist(), strict=True)),
        "available": dict(zip(tasks, available.sum(0).tolist(), strict=True)),
        "labels per image": {str(k): int((per_image == k).sum()) for k in range(len(tasks) + 1)},
    }
    drawn = setting if setting in labels.PUBLISHED else f"{setting}, seed {seed}"
    say(f"{drawn}: {len(split)} images of {opened.variant}, mask {shown['hash']}")
    _table(mask, tasks, available=shown["available"])
    return OK, shown


def _table(mask: Tensor, tasks: list[str], **more: dict[str, int]) -> None:
    """Print labelled images by task, with further counts in columns, and images by number of labels."""
    labelled = zip(tasks, mask.sum(0).tolist(), strict=True)
    show_table(
        [
            {"task": task, "labelled": count, **{name: each[task] for name, each in more.items()}}
            | {"share of images": f"{count / len(mask):.1%}"}
            for task, count in labelled
        ]
    )
    by_number = enumerate(mask.sum(1).bincount().tolist())
    say("images by number of labels: " + ", ".join(f"{k}: {count}" for k, count in by_number if count))


def import_labels(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="The authors' .pth or .npy files.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a split that was imported before.")
    ] = False,
    data: Data = DATA,
) -> Answer:
    """Import label splits that papers share, for the settings published:one and published:random."""
    from datasets import published

    shown: list[dict[str, Any]] = []
    for path in paths:
        split = published.import_file(path, data, replace)
        images, place = len(split.rows), published.place(data, split.dataset, split.setting)
        say(f"published:{split.setting} of {split.dataset}: {images} train images")
        _table(split.rows, list(split.counts))
        same = "the very file" if split.as_in_papers else "NOT byte for byte a file"
        say(f"{path} is {same} that the papers use; imported as {place}")
        row = {"setting": f"published:{split.setting}", "dataset": split.dataset, "images": images}
        more = {"counts": split.counts, "as_in_papers": split.as_in_papers, "file": str(place)}
        shown.append({**row, **more})
    return OK, shown
