"""`bench data prepare` and `check`: from a folder that people have to a packed store, and what is in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmark.cli.data import parse_size
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.progress import PLAIN_SECONDS, make_console
from benchmark.files import writing
from benchmark.report.formats import counted
from benchmark.runs import pictures
from benchmark.spec import registry
from datasets import packed
from datasets.base import Dataset, Split
from datasets.fit import FITS, Fit
from datasets.layouts.base import Source
from datasets.prepared import Prepared, variant_of
from datasets.tasks import Task

SHEET = 8  # samples of a contact sheet
SMALL = 0.6  # the share of a frame below which images are called small for it; PASCAL images fill about 0.7


class _Said:
    """How far a long job is: a bar in a terminal, a line now and then in a pipe."""

    def __init__(self) -> None:
        self.console = make_console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bars = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.rows: dict[str, Any] = {}
        self.said = time.monotonic()

    def __call__(self, what: str, done: int, wanted: int) -> None:
        if what not in self.rows:
            self.rows[what] = self.bars.add_task(what, total=wanted)
        self.bars.update(self.rows[what], completed=done)
        if not self.console.is_terminal and time.monotonic() - self.said > PLAIN_SECONDS:
            self.said = time.monotonic()
            self.console.print(f"{what}: {done} of {wanted}", soft_wrap=True)


def prepare(
    name: str,
    path: Path,
    sizes: list[str],
    variant: str | None,
    fit: str | None,
    derive_normals: bool,
    force: bool,
    data: Path,
    as_json: bool,
) -> int:
    """Pack what lies at `path` into the data folder, at each size."""
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        kind = _of_files(name)
        form = kind.form_of(name.replace("_", "-"))
        if not path.exists():
            raise UserError(f"there is no {path}; name {kind.expected}.")
        if fit is not None and fit not in FITS:
            raise UserError(f"--fit {fit!r} is not one of {', '.join(FITS)}.")
        if variant is not None and not _is_variant(variant):
            raise UserError(
                f"--variant {variant!r} is not a name of small letters, digits and hyphens, such as "
                f"my-labels."
            )
        sized = [parse_size(size) for size in sizes]
        for size in sized:
            if min(size) < 32 or any(side % 8 for side in size):
                raise UserError(
                    f"--size {size[0]}x{size[1]} is not HEIGHTxWIDTH in multiples of 8, each 32 or more."
                )
        source = kind.open(path, form, derive_normals=derive_normals)
        if source is None:
            raise UserError(f"{path} is not {form} in a layout that is known: expected {kind.expected}.")
        full_name = variant_of(form, source)
        asked = (
            variant or name.replace("_", "-")[len(form) + 1 :]
        )  # what follows a form's name names a variant too
        if asked and not full_name.endswith(f"-{asked}"):
            full_name = f"{full_name}-{asked}"
        made = kind.form_in(source, form)
        wanted = sized or [made.size]
        how: Fit = made.fit if fit is None else "pad" if fit == "pad" else "scale"
        said = _Said()
        console = said.console
        folders: list[str] = []
        shown |= {"variant": full_name, "folders": folders, "counts": {}}
        for size in wanted:
            began = time.perf_counter()
            try:
                with said.bars:
                    store, packed_now = packed.prepare(
                        source, data, kind.name, full_name, size, how, replace=force, progress=said
                    )
            except KeyboardInterrupt:
                console.print(
                    "interrupted: what was prepared before is as it was; the same command starts this one "
                    "again."
                )
                return 130
            seconds = time.perf_counter() - began
            state = f"packed in {seconds:.0f} s" if packed_now else "was prepared already, nothing to do"
            console.print(f"{full_name} at {size[0]}x{size[1]}: {state}, in {store.folder}", soft_wrap=True)
            folders.append(str(store.folder))
        for note in (*source.notes, *_other_counts(kind.forms[form].images, source)):
            console.print(f"note: {note}", soft_wrap=True)
        dataset = kind(data, full_name)
        console.print("images that carry a label:")
        shown["counts"] = counts = _counts(dataset, wanted[0])
        console.print(_table(dataset, counts))
        for size in wanted:
            filled = _filled(dataset.split("train", size))
            if filled < SMALL:
                console.print(
                    f"note: images fill {filled:.0%} of a frame of {size[0]}x{size[1]}; --fit scale enlarges "
                    f"them."
                )
        console.print(
            f"`bench data check {full_name}` reads it all; `--set dataset={full_name}` uses it.",
            soft_wrap=True,
        )
        return 0


def _other_counts(papers: tuple[int, int] | None, source: Source) -> list[str]:
    here = tuple(len(source.names(split)) for split in packed.SPLITS)
    if papers in (None, here):
        return []
    return [
        f"{here[0]} + {here[1]} images, not the papers' {papers[0]} + {papers[1]}: results on them stand for "
        f"themselves."
    ]


def _of_files(name: str) -> type[Prepared]:
    kind: Any = registry.dataset(name)
    if not issubclass(kind, Prepared):
        raise UserError(
            f"{kind.name} is made on the spot and needs no preparation; `bench data show {kind.name}` shows "
            f"it."
        )
    return kind


def _is_variant(text: str) -> bool:
    return (
        bool(text)
        and text.replace("-", "").isalnum()
        and text.isascii()
        and text == text.lower()
        and text.strip("-") == text
    )


def _counts(dataset: Dataset, size: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """{split: images, and {task: images with its label}}"""
    found = {}
    for name in packed.SPLITS:
        split = dataset.split(name, size)
        found[name] = {
            "images": len(split),
            "labels": dict(zip(dataset.tasks, split.available.sum(0).tolist(), strict=True)),
        }
    return found


def _table(dataset: Dataset, counts: dict[str, dict[str, Any]]) -> Table:
    table = Table()
    table.add_column("split")
    table.add_column("images", justify="right")
    for task in dataset.tasks:
        table.add_column(task, justify="right")
    for split, here in counts.items():
        table.add_row(split, str(here["images"]), *map(str, here["labels"].values()))
    return table


def _filled(split: Split) -> float:
    """The share of their frames that images cover."""
    if split.extents is None:
        return 1.0
    height, width = split.images.shape[2:]
    return float(split.extents.double().prod(1).mean()) / (height * width)


def check(name: str, data: Path, results: Path, as_json: bool) -> int:
    """Read everything that is prepared of a data set: hashes, counts, value ranges, and a contact sheet of
    each split.
    """
    kind = _of_files(name)
    dataset = kind(data, name.replace("_", "-"))
    said = _Said()
    stores = [store for store in packed.find(data, kind.name) if store.variant == dataset.variant]
    if not stores:
        dataset.split(
            "train", dataset.default_size, 1
        )  # says what is missing, or reads the user's own folder
        raise UserError(
            f"{dataset.variant} lies in {data} as people have it and is not packed; `bench data prepare "
            f"{name} PATH` packs it."
        )
    problems, found = [], []
    for store in stores:
        size = "x".join(map(str, store.size))
        with said.bars:
            problems += store.verify(
                lambda done, wanted, size=size: said(f"{size}: files", done, wanted)  # type: ignore[misc]
            )
        if problems:
            continue
        for name_of_split in packed.SPLITS:
            split = dataset.split(name_of_split, store.size)
            ranges = {task: _range(kind_of, split, task) for task, kind_of in dataset.tasks.items()}
            sheet = results / f"{dataset.variant}-{size}-{name_of_split}.png"
            with writing(results):
                results.mkdir(parents=True, exist_ok=True)
                pictures.contact_sheet(split, dataset.tasks, SHEET).save(sheet)
            entry = {
                "size": size,
                "split": name_of_split,
                "images": len(split),
                "fingerprint": split.fingerprint,
            }
            found.append(entry | {"labels": ranges, "sheet": str(sheet)})
    if as_json:
        print(json.dumps({"variant": dataset.variant, "problems": problems, "splits": found}, indent=1))
    else:
        _print(said, dataset.variant, problems, found)
    return 1 if problems else 0


def _print(said: _Said, variant: str, problems: list[str], found: list[dict[str, Any]]) -> None:
    console = said.console
    for entry in found:
        console.print(
            f"{variant} {entry['split']} at {entry['size']}: {entry['images']} images", soft_wrap=True
        )
        table = Table()
        for column in ("task", "images with a label", "labelled pixels", "values"):
            table.add_column(column, justify="left" if column in ("task", "values") else "right")
        for task, values in entry["labels"].items():
            table.add_row(task, str(values["images"]), f"{values['share']:.1%}", values["values"])
        console.print(table)
        console.print(f"contact sheet: {entry['sheet']}", soft_wrap=True)
    for problem in problems:
        console.print(problem, soft_wrap=True)
    console.print(f"{counted(len(problems), 'problem')}." if problems else "every file is what was packed.")


def _range(task: Task, split: Split, name: str) -> dict[str, Any]:
    """How many images and what share of their content is labelled, and what the values are, in words."""
    values = split.targets[name].numpy()
    content = (
        int(split.extents.prod(1).sum()) if split.extents is not None else len(split) * values[0, 0].size
    )
    if task.kind == "normals":
        known = sum(int(v.any(0).sum()) for v in values)
        text = "unit vectors, mean " + ", ".join(f"{m:+.2f}" for m in _mean_normal(values, known))
    elif task.kind == "depth":
        depths = np.concatenate([v[v != 0][::17] for v in values]).astype(
            np.float32
        )  # a seventeenth tells enough
        known = sum(int((v != 0).sum()) for v in values)
        low, middle, high = np.percentile(depths, [0, 50, 100]) if len(depths) else (0, 0, 0)
        text = f"{low:.3g} to {high:.3g} {task.unit}, median {middle:.3g}".replace("  ", " ")
    else:
        counts = np.sum([np.bincount(v.ravel(), minlength=256) for v in values], 0)
        known = int(counts[:255].sum())
        text = _classes(task, counts[:255], known)
    images = int(split.available[:, list(split.targets).index(name)].sum())
    return {"images": images, "share": known / max(content, 1), "values": text}


def _mean_normal(values: np.ndarray, known: int) -> np.ndarray:
    total = np.sum([v.reshape(3, -1).sum(1, dtype=np.int64) for v in values], 0)
    mean: np.ndarray = total / max(known, 1) / 127
    return mean


def _classes(task: Task, counts: np.ndarray, known: int) -> str:
    if task.kind != "classes":
        return f"{counts[1] / max(known, 1):.1%} positive"
    present = np.flatnonzero(counts)
    most = max(present, key=lambda c: counts[c], default=0)
    names = task.classes or tuple(map(str, range(task.channels)))
    return (
        f"{len(present)} of {task.channels} classes, most often {names[most]} "
        f"({counts[most] / max(known, 1):.0%})"
    )
