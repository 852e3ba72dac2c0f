"""The page: every board of a results folder in one file that links to its figures and records."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.metrics import pooled
from benchmark.report import captions, details, overview, tables, views
from benchmark.report.board import Board, Entry
from benchmark.report.command import command
from benchmark.report.contrasts import Answer
from benchmark.report.formats import duration, fixed, interval, signed
from benchmark.report.grouping import protocol_summary, title
from benchmark.report.records import Record
from benchmark.report.verdict import APART
from benchmark.spec import registry

NAME = "index.html"
# The bundle ends in its exports, then a comment with the licences.
_EXPORTS = re.compile(
    r"export\s*\{[^}]*?(\w+) as jQuery\b[^}]*\}\s*;?\s*(?=/\*! Bundled license information)"
)
# {start of a figure's name: (title, what it shows)}; the longest that fits counts. The figure itself says the
# rest.
FIGURES = {
    "contrasts": ("What was asked before the runs", "Each named contrast with its interval, a dot a seed"),
    "delta_m": ("Δm with every seed", "Each method's Δm with its 95 % interval, a dot a seed"),
    "wins": ("Every pair of methods", "Matrix of paired differences in Δm: ahead, behind, or cannot tell"),
    "cost": ("What Δm costs", "Training time of a seed against Δm, with the Pareto front"),
    "budget": ("Label budgets", "Scores and Δm against the share of labels, a line a method"),
    "predictions": ("Predictions", "The same test images for all methods: image, truth and predictions"),
    "curves": ("Test scores over training", "A small plot a method and task, before the baseline in grey"),
}


def html(found: Sequence[Board], folder: Path) -> str:
    """Return the page of all boards, to lie in `folder`, whose files it links to."""
    boards = overview.listed(found)
    asked = overview.asked(boards)
    across = sorted({path.name for path in folder.glob("figures/*")} - {board.name for board in boards})
    entries = [entry for board in boards for entry in board.entries]
    records = [record for entry in entries for record in entry.row.records]
    look: Any = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=PackageLoader("benchmark"), **look)
    environment.filters |= {"seed": captions.seed_name, "duration": duration}
    page = environment.get_template("page.html.j2").render(
        boards=[_view(board, folder) for board in boards],
        families=[figure for name in across for figure in figures(folder, name, f"{name}: ")],
        sentence=overview.sentence(boards),
        asked=asked and _questions(*asked),
        rows=overview.rows(boards),
        methods=_methods(entries),
        metrics=_metrics(boards),
        commits=_commits(records),
        environments=[record["environment"] for record in records],
        provenance=_provenance(records),
        version=version("bench"),
        link=lambda record: quote(Path(os.path.relpath(record.path, folder)).as_posix()),
        fixed=fixed,
        signed=signed,
        interval=interval,
        library=library(),
    )
    return page + "\n"


@cache
def library() -> str:
    """Return DataTables as a module script that sets `window.DataTable`.

    It is MIT, with jQuery, MIT, as the package itables brings it, licences inside; its style sheet is not
    used. Raises `ValueError` where the bundle is not of the known form.
    """
    bundle = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8").rstrip()
    script, count = _EXPORTS.subn(r"\nwindow.DataTable = \1.fn.dataTable;\n", bundle)
    if count != 1:
        raise ValueError("the script in the package itables does not end in an export of jQuery")
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)


def figures(folder: Path, place: str, before: str = "") -> list[dict[str, str]]:
    """Return {name, title, alt, source} of the figures below `figures/`, in the order of `FIGURES`.

    source: the SVG, or else the pixels, relative to the page. before: for their titles.
    """
    found = []
    for path in sorted((folder / "figures" / place).glob("*.png")):
        kind = max((start for start in FIGURES if path.stem.startswith(start)), key=len, default="")
        title, alt = FIGURES.get(kind, (path.stem, "A figure"))
        rest = path.stem.removeprefix(kind).strip("_").replace("_", " ")
        name = path.with_suffix(".svg").name if path.with_suffix(".svg").is_file() else path.name
        title = f"{before}{title}{f': {rest}' if kind and rest else ''}"
        source = quote(f"figures/{place}/{name}")
        about = {"name": path.stem, "title": title, "alt": alt, "source": source}
        found.append(([*FIGURES, ""].index(kind), about))
    return [about for _, about in sorted(found, key=lambda each: each[0])]


def _commits(records: Iterable[Record]) -> list[str]:
    return sorted({str(record["environment"].get("commit", ""))[:12] for record in records} - {""})


def _methods(entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """A method that is not installed is known by its records alone, which hold no paper."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted((entry.row for entry in entries), key=lambda row: (row.method, row.version)):
        about = found.setdefault(row.method, {"versions": {}, "summary": "", "paper": "", "one_task": False})
        about["versions"][row.version] = None
        for record in row.records:
            about["summary"] = record.content.get("summary") or about["summary"]
            about["one_task"] |= record["one_task"]
    for name in found.keys() & set(registry.method_names()):
        found[name] |= {key: getattr(registry.describe(name), key) for key in ("summary", "paper")}
    return found


def _metrics(boards: Sequence[Board]) -> list[tuple[str, str, str]]:
    """(task, primary metric, what that is) of each task of the boards."""
    said = {(m["task"], m["metric"]): m["summary"] for m in pooled.metrics()}
    shown = {(task.name, task.metric) for board in boards for task in board.group.tasks}
    return sorted((*pair, said.get(pair, "")) for pair in shown)


def _provenance(records: Sequence[Record]) -> Iterable[tuple[str, list[tuple[str, int]]]]:
    """The runs of each commit, device and version."""
    keys = {"commit": "commits", "device": "devices", "torch": "versions of torch"}
    for key, what in (keys | {"python": "versions of Python"}).items():
        values = (str(record["environment"].get(key, "unknown")) for record in records)
        yield what, sorted(Counter(v[:12] if key == "commit" else v for v in values).items())


def _questions(board: Board, found: list[Answer]) -> dict[str, Any]:
    """The contrasts that a plan named, for the first screen."""
    axis = overview.Axis([answer.compared for answer in found])
    return {"id": _anchor(board), "title": title(board.group), "axis": axis, "answers": found}


def _anchor(board: Board) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", board.name)


def _view(board: Board, folder: Path) -> dict[str, Any]:
    """The values of a board for the template of the page in `folder`."""
    g, keys, shown = board.group, views.headings(board), views.texts(board).drop(columns=["device"])
    headline = next(heading for heading, column in keys.items() if column == "vs_baseline_mean")
    shown = shown.loc[:, (shown != "").any() | (shown.columns == headline)]
    shown.insert(1, headline, shown.pop(headline))
    objects = tables.objects(board)
    cells = [
        [_cell(row[keys[str(heading)]], text) for heading, text in zip(shown, line, strict=True)]
        for row, line in zip(objects, shown.values.tolist(), strict=True)
    ]
    entries = [*board.entries, *[None] * (len(objects) - len(board.entries))]
    lines = [(e, command(g, e.row) if e else "", c) for e, c in zip(entries, cells, strict=True)]
    apart = [line for line in lines if line[0] and line[0].role in APART]
    costs = {"seconds", "peak_gib", "steps", "params_train", "params_infer"}
    lower = {heading for heading, column in keys.items() if column in costs}
    lower |= {f"{t.title} {t.arrow}" for t in g.tasks if not t.higher_is_better}
    weights = "" if g.protocol["weights"] == "none" else f", {g.protocol['weights']} weights"
    return {
        "name": board.name,
        "id": _anchor(board),
        "title": title(g),
        "data": registry.describe_dataset(g.dataset),
        "summary": protocol_summary(g.protocol["name"]),
        "dataset": g.variant,
        "encoder": f"{g.protocol['encoder']}{weights}",
        "reason": overview.reason(board),
        "state": next((e.tier for e in board.entries if not e.tier.isdigit()), ""),
        "baseline": board.baseline.label if board.baseline else g.protocol["baseline"],
        "reference": g.protocol["reference"],
        "delta": next(heading for heading, column in keys.items() if column == "delta_m"),
        "unit": "train" if g.fixed_mask else "label",
        "verdict": captions.verdict(board),
        "tasks": g.tasks,
        "commits": _commits(r for row in g.rows for r in row.records),
        "headline": headline,
        "columns": {h: h in lower for h in shown},
        "rows": [line for line in lines if line[0] and line not in apart],
        "feet": [line for line in lines if not line[0]],
        "apart": apart,
        "decimals": views.decimals(board),
        "axis": overview.Axis([e.compared for e in board.entries if e.compared]),
        "notes": captions.notes(board),
        "details": details.sections(board),
        "papers": details.papers(g),
        "figures": figures(folder, board.name),
        "run_count": len(g.run_ids),
    }


def _cell(value: Any, text: str) -> tuple[str, str, str]:
    """(what it is sorted by, first line, second line), by the digits that are the same on all machines."""
    top, _, below = re.sub(r" (?=[\[(])", "\n", text, count=1).partition("\n")
    if value is None:  # the baseline is 0 above itself
        value = 0.0 if text.startswith("0 (") else ""
    return value if isinstance(value, str) else f"{value:.9g}", top, below
