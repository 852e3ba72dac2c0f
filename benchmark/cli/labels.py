"""`bench labels import`: keep the papers' frozen label splits from the user's copies of the authors'
files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmark.cli.scripts import for_scripts
from benchmark.execute.progress import make_console


def import_labels(paths: list[Path], data: Path, replace: bool, as_json: bool = False) -> int:
    """Import each file in turn and print what it says: labelled images of each task, and labels an image."""
    from datasets import published

    shown: list[dict[str, Any]] = []
    with for_scripts(as_json, shown):
        console = make_console()
        for path in paths:
            split = published.import_file(path, data, replace)
            images = len(split.rows)
            console.print(f"published:{split.setting} of {split.dataset}: {images} train images")
            table = Table()
            for column in ("task", "labelled", "share of images"):
                table.add_column(column, justify="left" if column == "task" else "right")
            for task, count in split.counts.items():
                table.add_row(task, str(count), f"{count / images:.1%}")
            console.print(table)
            per_image = torch.bincount(split.rows.sum(1)).tolist()
            console.print(
                "images by number of labels: " + ", ".join(f"{k}: {n}" for k, n in enumerate(per_image) if n)
            )
            same = (
                "the very file that the papers use"
                if split.as_in_papers
                else "NOT byte for byte a file that the papers use"
            )
            console.print(f"{path} is {same}.", soft_wrap=True)
            place = published.place(data, split.dataset, split.setting)
            console.print(f"imported as {place}", soft_wrap=True)
            entry = {
                "setting": f"published:{split.setting}",
                "dataset": split.dataset,
                "images": images,
                "counts": split.counts,
            }
            shown.append(entry | {"as_in_papers": split.as_in_papers, "file": str(place)})
        return 0
