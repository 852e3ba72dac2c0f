"""`bench data` and `bench labels`: look at images and at who is labelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.progress import make_console
from benchmark.files import writing
from benchmark.spec import plan, registry


def default_dataset() -> str:
    """The data set of the plan that runs when none is named."""
    return str(plan.read(plan.DEFAULT)["grid"][0]["dataset"])


def parse_size(text: str) -> tuple[int, int]:
    """(H, W) from "96x128"."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise UserError(f"--size {text!r} is not HEIGHTxWIDTH; write for example --size 96x128.")
    return int(parts[0]), int(parts[1])


def show(
    name: str, data: Path, split: str, size: str | None, count: int, out: Path, as_json: bool = False
) -> int:
    """Write a contact sheet of the first images of a split with all their labels."""
    from benchmark.runs import pictures

    with for_scripts(as_json, {"picture": str(out)}):
        _check_picture(out)
        dataset = registry.open_dataset(name, data)
        if split not in ("train", "test"):
            raise UserError(f"--split {split!r} is not one of train, test.")
        loaded = dataset.split(split, parse_size(size) if size else dataset.default_size, count)
        _write(pictures.contact_sheet(loaded, dataset.tasks, count).save, out)
    return 0


def _check_picture(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is not the name of a .png file; give one that ends in .png.")


def _write(save: Callable[[Path], None], out: Path) -> None:
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        save(out)
    make_console().print(f"wrote {out}", soft_wrap=True)


def show_labels(
    name: str | None,
    setting: str | None,
    seed: int,
    count: int | None,
    tasks: list[str],
    data: Path,
    out: Path | None,
    results: Path,
    as_json: bool,
) -> int:
    """Print how many images carry which label under a setting and seed, and draw the mask; for scripts, only
    into an `out`.
    """
    from datasets import labels

    summary: dict[str, Any] = {}
    with for_scripts(as_json, summary):
        dataset = registry.open_dataset(name or default_dataset(), data)
        setting = setting or registry.default_labels(dataset.name)
        picture = out or results / f"labels-{dataset.name}-{setting.replace(':', '')}-s{seed}.png"
        _check_picture(picture)
        labels.parse(setting)
        chosen = tasks or list(dataset.tasks)
        for task in chosen:
            if task not in dataset.tasks:
                raise UserError(
                    f"data set {dataset.name} has no task {task!r}; it has {', '.join(dataset.tasks)}."
                )
        split = dataset.split("train", dataset.default_size, count)
        columns = [list(split.targets).index(task) for task in chosen]
        available = split.available[:, columns]
        mask = labels.sample(split.ids, available, setting, seed, split.frozen(chosen))
        digest = labels.mask_hash(split.ids, mask, chosen)
        per_image = mask.sum(1)
        summary |= {
            "images": len(split),
            "setting": setting,
            "seed": seed,
            "hash": digest,
            "labelled": dict(zip(chosen, mask.sum(0).tolist(), strict=True)),
            "available": dict(zip(chosen, available.sum(0).tolist(), strict=True)),
            "labels per image": {str(k): int((per_image == k).sum()) for k in range(len(chosen) + 1)},
        }
        if as_json and out is None:
            return 0
        console = make_console()
        drawn = setting if setting in labels.PUBLISHED else f"{setting}, seed {seed}"
        console.print(f"{drawn}: {len(split)} images of {dataset.variant}, mask {digest}", soft_wrap=True)
        table = Table()
        for column in ("task", "labelled", "available", "share of images"):
            table.add_column(column, justify="left" if column == "task" else "right")
        for i, task in enumerate(chosen):
            table.add_row(
                task,
                str(int(mask[:, i].sum())),
                str(int(available[:, i].sum())),
                f"{float(mask[:, i].float().mean()):.1%}",
            )
        console.print(table)
        counts = summary["labels per image"]
        console.print("images by number of labels: " + ", ".join(f"{k}: {v}" for k, v in counts.items() if v))
        _write(labels.picture(mask, chosen, available).savefig, picture)
        summary["picture"] = str(picture)
        return 0
