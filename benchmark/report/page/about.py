"""What the page says of methods, figures, where its numbers come from, and how to cite them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.metrics import pooled
from benchmark.report.board import Board
from benchmark.report.records import Record
from benchmark.spec import registry

TASKS = {
    "semseg": "the class of every pixel (semantic segmentation)",
    "parts": "the part of a body at every pixel",
    "depth": "the distance of every pixel",
    "normals": "the direction that the surface faces at every pixel",
    "saliency": "the objects that stand out",
    "edge": "the boundaries of objects",
}
# {start of a figure's name: (title, what it shows)}; the longest that fits counts. The figure itself says the
# rest.
FIGURES = {
    "delta_m": ("Δm with every seed", "Each method's Δm with its 95 % interval, a dot a seed"),
    "changes": ("Change by task", "Heat map of each task's relative change against the reference"),
    "wins": ("Every pair of methods", "Matrix of paired differences in Δm: ahead, behind, or cannot tell"),
    "cost": ("What Δm costs", "Training time of a seed against Δm"),
    "budget": ("Label budgets", "Scores and Δm against the share of labels, a line a method"),
    "labels": ("Who is labelled", "Which labels of which training images are visible, for one label seed"),
    "predictions": ("Predictions", "The same test images for all methods: image, truth and predictions"),
    "errors": ("Errors", "The same test images for all methods: where and by how much each is wrong"),
    "curves": ("Training curves", "Losses and test scores over training: mean and range over seeds"),
    "extra_losses": ("Further losses", "The losses beside the tasks' own over training"),
    "matrix_": ("Matrix at the end of training", "A matrix that methods report, mean over seeds"),
    "diagnostics": ("Over training", "Diagnostics of methods over training"),
    "variance": ("Where the noise comes from", "Noise split into draw of labels, training, and the rest"),
}


@dataclass(frozen=True)
class Figure:
    """A figure at `source`, relative to the page: its SVG, or else its pixels."""

    name: str
    title: str
    alt: str
    source: str


def figures(folder: Path, place: str, before: str = "") -> list[Figure]:
    """Return the figures in a place below `figures/`, in the order of `FIGURES`; before: for their titles."""
    found = []
    for path in sorted((folder / "figures" / place).glob("*.png")):
        kind = max((start for start in FIGURES if path.stem.startswith(start)), key=len, default="")
        title, alt = FIGURES.get(kind, (path.stem, "A figure"))
        rest = path.stem.removeprefix(kind).strip("_").replace("_", " ")
        name = path.with_suffix(".svg").name if path.with_suffix(".svg").is_file() else path.name
        title = f"{before}{title}{f': {rest}' if kind and rest else ''}"
        figure = Figure(path.stem, title, alt, quote(f"figures/{place}/{name}"))
        found.append(([*FIGURES, ""].index(kind), figure))
    return [figure for _, figure in sorted(found, key=lambda each: each[0])]


def commits(records: Iterable[Record]) -> list[str]:
    """Return the commits of these records, twelve digits each."""
    return sorted({str(record["environment"].get("commit", ""))[:12] for record in records} - {""})


def _records(boards: Sequence[Board]) -> list[Record]:
    return [record for board in boards for entry in board.entries for record in entry.row.records]


def methods(boards: Sequence[Board]) -> list[dict[str, Any]]:
    """Return {name, summary, paper, versions, one_task} of each method.

    A method that is not installed is known by its records alone, which hold no paper.
    """
    records, known, found = _records(boards), registry.method_names(), []
    said = {record.spec["method"]: record["summary"] for record in records if record.content.get("summary")}
    single = {record.spec["method"] for record in records if record["one_task"]}
    for name in sorted({entry.row.method for board in boards for entry in board.entries}):
        method = registry.describe(name) if name in known else None
        versions = sorted({e.row.version for board in boards for e in board.entries if e.row.method == name})
        found.append(
            {
                "name": name,
                "summary": method.summary if method else said.get(name, ""),
                "paper": method.paper if method else "",
                "versions": ", ".join(map(str, versions)),
                "one_task": name in single,
            }
        )
    return found


def tasks(boards: Sequence[Board]) -> list[tuple[str, str]]:
    """(`semseg mIoU`, what it is) of each task of the boards and its primary metric."""
    said = {(m["task"], m["metric"]): m["summary"] for m in pooled.metrics()}
    shown = {(task.name, task.metric) for board in boards for task in board.group.tasks}
    words = {f"{t} {m}": [w for w in (TASKS.get(t, ""), said.get((t, m), "")) if w] for t, m in shown}
    return sorted((name, "; ".join(found)) for name, found in words.items() if found)


def dataset(name: str) -> str:
    """Return the summary and source of a data set; "" for an unknown one."""
    if name not in registry.dataset_names():
        return ""
    found = registry.dataset(name)
    return f"{found.summary} ({found.source})"


def provenance(boards: Sequence[Board]) -> dict[str, Any]:
    """Count the runs of each commit, device and version."""
    records, keys = _records(boards), {"commit": "commits", "device": "devices"}
    parts = []
    for key, title in (keys | {"torch": "versions of torch", "python": "versions of Python"}).items():
        values = (str(record["environment"].get(key, "unknown")) for record in records)
        parts.append((title, sorted(Counter(v[:12] if key == "commit" else v for v in values).items())))
    return {
        "runs": sum(len(board.run_ids) for board in boards),
        "boards": len(boards),
        "parts": parts,
        "dirty": sum(bool(record["environment"].get("dirty")) for record in records),
    }


def citation(boards: Sequence[Board]) -> str:
    """Return a BibTeX entry of this suite with the records' commits."""
    made = commits(_records(boards))
    note = f"results of commit{'s' * (len(made) > 1)} {', '.join(made)}" if made else "results"
    what = "partial-label multi-task learning methods for dense prediction, compared"
    return (
        "@misc{bench,\n"
        "  author = {{The developers of bench}},\n"
        f"  title = {{bench {version('bench')}: {what}}},\n"
        f"  note = {{Boards {', '.join(board.name for board in boards)}; {note}}},\n"
        "}"
    )
