"""What the page says of methods, of where its numbers come from, and of how to cite them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from benchmark.errors import UserError
from benchmark.metrics import pooled
from benchmark.report.board import Board
from benchmark.report.records import Record
from benchmark.spec import registry


def commits(records: Iterable[Record]) -> list[str]:
    """Return the commits of these records, twelve digits each."""
    return sorted({str(record["environment"].get("commit", ""))[:12] for record in records} - {""})


def _records(boards: Sequence[Board]) -> list[Record]:
    return [record for board in boards for entry in board.entries for record in entry.row.records]


def methods(boards: Sequence[Board]) -> list[dict[str, Any]]:
    """Return {name, summary, paper, versions, one_task} of each method.

    A method that is not installed is known by its records alone, which hold no paper.
    """
    records = _records(boards)
    said = {record.spec["method"]: record["summary"] for record in records if record.content.get("summary")}
    single = {record.spec["method"] for record in records if record["one_task"]}
    found = []
    known = registry.method_names()
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


TASKS = {
    "semseg": "the class of every pixel (semantic segmentation)",
    "parts": "the part of a body at every pixel",
    "depth": "the distance of every pixel",
    "normals": "the direction that the surface faces at every pixel",
    "saliency": "the objects that stand out",
    "edge": "the boundaries of objects",
}


def tasks(boards: Sequence[Board]) -> list[tuple[str, str]]:
    """(`semseg mIoU`, what it is) of each task of the boards and its primary metric."""
    said = {(m["task"], m["metric"]): m["summary"] for m in pooled.metrics()}
    found = {}
    for task in (task for board in boards for task in board.group.tasks):
        words = (TASKS.get(task.name, ""), said.get((task.name, task.metric), ""))
        found[f"{task.name} {task.metric}"] = "; ".join(word for word in words if word)
    return sorted((name, text) for name, text in found.items() if text)


def dataset(name: str) -> str:
    """Return the summary and source of a data set; "" for an unknown one."""
    try:
        found = registry.dataset(name)
    except UserError:
        return ""
    return f"{found.summary} ({found.source})"


def provenance(boards: Sequence[Board]) -> dict[str, Any]:
    """Count the runs of each commit, device and version."""
    records = _records(boards)

    def counts(key: str) -> list[tuple[str, int]]:
        length = 12 if key == "commit" else None
        values = [str(record["environment"].get(key, "unknown"))[:length] for record in records]
        return sorted(Counter(values).items())

    keys = {
        "commit": "commits",
        "device": "devices",
        "torch": "versions of torch",
        "python": "versions of Python",
    }
    return {
        "runs": sum(len(board.run_ids) for board in boards),
        "boards": len(boards),
        "parts": [(title, counts(key)) for key, title in keys.items()],
        "dirty": sum(bool(record["environment"].get("dirty")) for record in records),
    }


def citation(boards: Sequence[Board]) -> str:
    """Return a BibTeX entry of this suite with the records' commits."""
    made = commits(_records(boards))
    note = f"results of commit{'s' * (len(made) > 1)} {', '.join(made)}" if made else "results"
    lines = [
        "@misc{bench,",
        "  author = {{The developers of bench}},",
        f"  title = {{bench {version('bench')}: "
        "partial-label multi-task learning methods for dense prediction, compared},",
        f"  note = {{Boards {', '.join(board.name for board in boards)}; {note}}},",
        "}",
    ]
    return "\n".join(lines)
