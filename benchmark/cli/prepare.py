"""`bench data prepare` and `check`: from a folder that people have to a packed store, and what is in it."""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import MofNCompleteColumn

from benchmark.cli.data import DataSet, parse_size, save_picture
from benchmark.cli.options import DATA, RUNS, Answer, Data, Plugin, Results, say, show_table
from benchmark.errors import UserError, shown
from benchmark.execute.progress import Bars
from benchmark.spec import registry

if TYPE_CHECKING:
    from datasets.base import Split
    from datasets.layouts.base import Source
    from datasets.packed import Store
    from datasets.prepared import Prepared

SHEET = 8  # samples of a contact sheet


def prepare(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set, or one of its forms.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder or file that you have.")],
    size: Annotated[
        list[str], typer.Option(help="HEIGHTxWIDTH in pixels; may be repeated.", show_default="the papers'")
    ] = [],  # noqa: B006
    variant: Annotated[str | None, typer.Option(help="A name for labels that are not the papers'.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How images of other sizes meet the frame: scale or pad.", show_default="the data set's"
        ),
    ] = None,
    derive_normals: Annotated[
        bool, typer.Option("--derive-normals", help="Fit surface normals to the depth.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is prepared there.")] = False,
    plugin: Plugin = [],  # noqa: B006
    data: Data = DATA,
) -> Answer:
    """Pack a data set, in any of the layouts that people have, for fast and safe reading."""
    from datasets import preparing
    from datasets.layouts.nyu_mat import NyuMat
    from datasets.prepared import variant_of

    shown: dict[str, Any] = {}
    kind = _of_files(name)
    form = kind.form_of(name.replace("_", "-"))
    _check_options(kind, path, variant, fit)
    sizes = [parse_size(text) for text in size]
    for text, sized in zip(size, sizes, strict=True):
        if min(sized) < 32 or any(side % 8 for side in sized):
            raise UserError(f"--size {text} is not HEIGHTxWIDTH in multiples of 8, each 32 or more.")
    source = kind.open(path, form)
    if source is None:
        raise UserError(f"{path} is not {form} in a layout that is known: expected {kind.expected}.")
    if derive_normals:
        if not isinstance(source, NyuMat):
            raise UserError("--derive-normals is for nyu_depth_v2_labeled.mat alone; leave it out.")
        source.derive_normals = True
    # What follows a form's name names a variant, too.
    asked = variant or name.replace("_", "-")[len(form) + 1 :]
    if source.joins and asked not in ("", source.joins[0]):
        raise UserError(f"{path} joins sources by the name {source.joins[0]}, not {asked}; leave that out.")
    whole = f"{form}-{source.joins[0]}" if source.joins else ""
    made: list[dict[str, Any]] = []
    for member in source.members:
        full_name = variant_of(form, member)
        if asked and not whole and not full_name.endswith(f"-{asked}"):
            full_name = f"{full_name}-{asked}"
        made.append({"variant": full_name, "folders": [], "counts": {}})
        shown |= {"variant": whole, "sources": made} if whole else made[0]
        how: Any = fit or kind.form_in(member, form).fit
        for sized in sizes or [kind.form_in(member, form).size]:
            began = time.perf_counter()
            try:
                with Bars(MofNCompleteColumn()) as bars:
                    store, new = preparing.prepare(
                        member, data, kind.name, full_name, sized, how, replace=force, progress=bars
                    )
            except KeyboardInterrupt:
                say("interrupted: what was prepared before is as it was; the same command starts again.")
                return 130, shown
            seconds = time.perf_counter() - began
            state = f"packed in {seconds:.0f} s" if new else "was prepared already, nothing to do"
            say(f"{full_name} at {sized[0]}x{sized[1]}: {state}, in {store.folder}")
            made[-1]["folders"].append(str(store.folder))
        made[-1] |= _notes(kind, member, form, store)
    shown |= {} if whole else made[0]
    used = whole or made[0]["variant"]
    checked = " and ".join(f"`bench data check {of['variant']}`" for of in made)
    say(f"{checked} reads it all; `--set dataset={used}` uses it.")
    return 0, shown


def draft(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Your images and label maps.")],
) -> Answer:
    """Look at a folder of your own and write a dataset.toml for it: guesses, each with its reason."""
    from datasets.layouts import toml_draft

    file, todo = toml_draft.write(folder)
    say(f"wrote {file}; look at its guesses, then prepare the folder as its first lines say.")
    for sentence in todo:
        say(f"note: {sentence}")
    return 0, {"file": str(file), "notes": todo}


def _notes(kind: type[Prepared], source: Source, form: str, store: Store) -> dict[str, Any]:
    """Print what a store holds, with notes; {counts, seen, notes} for `--json`."""
    from datasets import packed

    notes, papers = list(source.notes), kind.forms[form].images
    if papers not in (None, counts := tuple(len(source.names(split)) for split in packed.SPLITS)):
        apart = "results are not comparable with the papers'"
        notes.append(f"{counts[0]} + {counts[1]} images, not the papers' {papers[0]} + {papers[1]}: {apart}.")
    splits, found = _show(kind(store.folder.parents[1], store.variant), store)
    for note in (notes := notes + found["notes"]):
        say(f"note: {note}")
    seen = {
        split: {"images": len(splits[split]), "labels": {task: each["images"] for task, each in of.items()}}
        for split, of in found["seen"].items()
    }
    return {"counts": seen} | found | {"notes": notes}


def _of_files(name: str) -> type[Prepared]:
    from datasets.prepared import Prepared

    kind: Any = registry.dataset(name)
    if not issubclass(kind, Prepared):
        raise UserError(f"{kind.name} is made on the spot and needs no preparation.")
    return kind


def _check_options(kind: type[Prepared], path: Path, variant: str | None, fit: str | None) -> None:
    from datasets.fit import FITS

    if not path.exists():
        raise UserError(f"there is no {path}; name {kind.expected}.")
    if fit is not None and fit not in FITS:
        raise UserError(f"--fit {fit!r} is not one of {', '.join(FITS)}.")
    if variant is not None and (len(variant) > 40 or not re.fullmatch(r"[a-z0-9]+(-+[a-z0-9]+)*", variant)):
        words = "of small letters, digits and hyphens, 40 at most"
        raise UserError(f"--variant {shown(variant)} is not a name {words}.")


def _show(dataset: Prepared, store: Store) -> tuple[dict[str, Split], dict[str, Any]]:
    """Print what a store holds; its splits, and {seen: {split: {task: `look`}}, notes: sentences}."""
    from datasets import packed, seen

    splits = {name: dataset.split(name, store.size) for name in packed.SPLITS}
    looks = {name: seen.look(split, dataset.tasks) for name, split in splits.items()}
    for name, of in looks.items():
        columns = ("task", "images with a label", "labelled pixels in them", "values")
        cells = ((task, v["images"], f"{v['share']:.1%}", v["values"]) for task, v in of.items())
        size = "x".join(map(str, store.size))
        rows = [dict(zip(columns, line, strict=True)) for line in cells]
        show_table(rows, f"{store.variant} {name} at {size}: {len(splits[name])} images")
    remarks = {name: entry.get("remarks", {}) for name, entry in store.manifest["splits"].items()}
    notes = seen.notes(looks, splits, dataset.tasks, remarks)
    for task, maps in splits["train"].teacher.items():
        held = [bool(dataset.tasks[task].valid(each[None]).any()) for each in maps]
        notes.append(f"{sum(held)} of {len(held)} train images have a teacher's map of {task}.")
    return splits, {"seen": looks, "notes": notes}


def check(
    name: DataSet,
    results: Results = RUNS,
    data: Data = DATA,
    plugin: Plugin = [],  # noqa: B006
) -> Answer:
    """Read all that is prepared of a data set: hashes, counts, value ranges, and contact sheets."""
    from benchmark.report.formats import counted
    from benchmark.runs import pictures
    from datasets import packed

    kind = _of_files(name)
    dataset = kind(data, name.replace("_", "-"))
    problems: list[str] = []
    shown: dict[str, Any] = {"variant": dataset.variant, "problems": problems, "notes": [], "splits": []}
    stores = [store for store in packed.find(data, kind.name) if store.variant == dataset.variant]
    if not stores:
        dataset.split("train", dataset.default_size, 1)  # says what is missing, or reads the own folder
        raise UserError(f"{dataset.variant} is not packed; `bench data prepare {name} PATH` packs it.")
    for store in stores:
        size = "x".join(map(str, store.size))
        with Bars(MofNCompleteColumn()) as bars:
            found = store.verify(partial(bars, f"{size}: files"))
        problems += found
        if found:
            continue
        splits, looks = _show(dataset, store)
        for each, split in splits.items():
            sheet = results / f"{dataset.variant}-{size}-{each}.png"
            save_picture(pictures.contact_sheet(split, dataset.tasks, SHEET).save, sheet)
            entry = {"size": size, "split": each, "images": len(split), "fingerprint": split.fingerprint}
            shown["splits"].append(entry | {"labels": looks["seen"][each], "sheet": str(sheet)})
        shown["notes"] += [note for note in looks["notes"] if note not in shown["notes"]]
    for note in shown["notes"]:
        say(f"note: {note}")
    for problem in problems:
        say(problem)
    say(f"{counted(len(problems), 'problem')}." if problems else "every file is what was packed.")
    return 1 if problems else 0, shown
