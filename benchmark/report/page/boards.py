"""A board as the page shows it: plain values for the template, every number with its text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.report import captions, details, published
from benchmark.report.board import Board, Entry
from benchmark.report.command import command
from benchmark.report.formats import (
    axis_limits,
    duration,
    fixed,
    gibibytes,
    interval,
    millions,
    signed,
    training_time,
    with_interval,
)
from benchmark.report.naming import protocol_summary, protocol_title
from benchmark.report.page.about import commits, dataset, figures
from benchmark.report.tables import (
    Values,
    by_seed,
    decimals,
    delta,
    is_reference,
    objects,
    score_texts,
    seeds_text,
    versus,
)

FACETS = {"dataset": "data set", "labels": "label setting", "encoder": "encoder", "protocol": "protocol"}
LABELS = {
    "one": "one label an image",
    "random": "1 to K-1 labels an image",
    "full": "every label",
    "given": "the labels that come with the data",
    "published:one": "one label an image, the papers' split",
    "published:random": "random labels, the papers' split",
}
WIDTH, HEIGHT, MARGIN = 112, 16, 5  # pixels of the strip of a row


def view(board: Board, folder: Path) -> dict[str, Any]:
    """Collect the values of a board for the template of the page in `folder`."""
    g, places, rows, at = board.group, decimals(board), objects(board), _scale(board)
    weights = "" if g.protocol["weights"] == "none" else f", {g.protocol['weights']} weights"
    return {
        "id": re.sub(r"[^A-Za-z0-9_-]+", "-", board.name),
        "title": f"{g.variant}, {labels_text(g.labels)}",
        "protocol_title": protocol_title(g.protocol, None),
        "data": dataset(g.dataset),
        "summary": protocol_summary(g.protocol["name"]),
        "facets": {
            "dataset": g.variant,
            "labels": g.labels,
            "encoder": f"{g.protocol['encoder']}{weights}",
            "protocol": protocol_title(g.protocol),
        },
        "verdict": captions.verdict(board),
        "best_command": command(g, board.lead.best.row) if board.lead else "",
        "has_memory": any(row["peak_gib"] for row in rows),
        "baseline": board.baseline.label if board.baseline else "",
        "reference": board.reference.label if board.reference else "",
        "tasks": [{"title": t.title, "arrow": t.arrow, "down": not t.higher_is_better} for t in g.tasks],
        "commits": commits(record for entry in board.entries for record in entry.row.records),
        "rows": [
            _row(board, row, places) | _of_entry(board, entry, folder, places) | {"strip": _strip(entry, at)}
            for entry, row in zip(board.entries, rows, strict=False)
        ],
        "constant": _row(board, rows[-1], places),
        "facts": captions.facts(board),
        "footnotes": captions.footnotes(board),
        "details": details.sections(board),
        "papers": published.section(board),
        "papers_title": published.TITLE,
        "figures": figures(folder, board.name),
        "run_count": len(board.run_ids),
    }


def labels_text(setting: str) -> str:
    """`one label an image`, `5 % of each task's labels`"""
    kind, _, share = setting.partition(":")
    if kind == "fraction" and float(share) <= 1:
        return f"{100 * float(share):g} % of each task's labels"
    return LABELS.get(setting, setting)


def facets(views: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the choices among boards: {name, title, values} each."""
    found = []
    for name, title in FACETS.items():
        values = dict.fromkeys(view["facets"][name] for view in views)
        texts = {value: labels_text(value) if name == "labels" else value for value in values}
        found.append({"name": name, "title": title, "values": texts})
    return found


def _row(board: Board, row: Values, places: dict[str, int]) -> dict[str, Any]:
    """A row's cells: (number to sort by, text, second line) each."""
    p, own = row["vs_baseline_p_holm"], is_reference(row)
    infer, train = millions(row["params_infer"]), millions(row["params_train"])

    def cell(name: str, text: str, below: str = "") -> tuple[str, str, str]:
        # To sort by the digits that are the same on all machines.
        return "" if row[name] is None else f"{row[name]:.9g}", text, below

    return {
        "label": row["method"],
        "role": row["role"],
        "tier": row["tier"],
        "seeds": seeds_text(row),
        "n": row["n_seeds"],
        "delta": cell("delta_m", "0", "reference")
        if own
        else cell("delta_m", signed(row["delta_m"]), interval(delta(row))),
        "versus": cell("vs_baseline_mean", with_interval(versus(row))),
        "p": cell("vs_baseline_p_holm", "" if p is None else f"{p:.2g}"),
        "undecided": row["decidable"] == "too few seeds to decide",
        "tasks": [
            cell(f"{t.name}_{t.metric}_mean", *score_texts(row, t, places[t.name])) for t in board.group.tasks
        ],
        "time": cell("seconds", training_time(row["gpu_hours"], row["seconds"])),
        "memory": cell("peak_gib", gibibytes(row["peak_gib"])),
        "parameters": cell("params_infer", infer, "" if infer == train else f"{train} in training"),
    }


def _of_entry(board: Board, entry: Entry, folder: Path, places: dict[str, int]) -> dict[str, Any]:
    """The runs of a row, each with a link to its record, and the command that makes them."""
    runs = []
    for record in entry.row.records:
        spec, found = record.spec, record["metrics"]
        runs.append(
            {
                "id": record.id,
                "link": quote(Path(os.path.relpath(record.path, folder)).as_posix()),
                "seed": captions.seed_name((spec["label_seed"], spec["train_seed"])),
                "scores": [
                    fixed(found.get(t.name, {}).get(t.metric), places[t.name]) for t in board.group.tasks
                ],
                "time": duration(record["cost"].get("seconds")),
                "commit": str(record["environment"].get("commit", ""))[:12],
            }
        )
    return {
        "method": entry.row.method,
        "sure": entry.tier.isdigit() and bool(entry.delta and entry.delta.excludes_zero()),
        "outdated": entry.row.outdated,
        "command": command(board.group, entry.row),
        "runs": runs,
        "failures": [(captions.seed_name(pair), f[0].reason) for pair, f in sorted(entry.row.failed.items())],
    }


def _scale(board: Board) -> Callable[[float], float]:
    """Delta m to pixels from the left: every seed, and intervals as far as they do not crush the rest."""
    deltas = [e.delta for e in board.entries if e.delta]
    seeds = [0.0, *(value for e in board.entries for value in by_seed(e).values())]
    bounds = (bound for found in deltas for bound in (found.low, found.high))
    least, most = axis_limits(seeds, bounds, beyond=0.5, margin=0.0)

    def at(value: float) -> float:
        share = (min(max(value, least), most) - least) / (most - least)
        return round(MARGIN + (WIDTH - 2 * MARGIN) * share, 1)

    return at


def _strip(entry: Entry, at: Callable[[float], float]) -> dict[str, Any] | None:
    """Delta m with its interval, cut at the frame, and its seeds; None without delta m."""
    if entry.delta is None:
        return None
    low, high = entry.delta.low, entry.delta.high
    return {
        "zero": at(0.0),
        "mean": at(entry.delta.value),
        "seeds": [at(value) for value in by_seed(entry).values()] if entry.role != "reference" else [],
        "interval": None if low is None or high is None else (at(low), at(high)),
        "width": WIDTH,
        "height": HEIGHT,
    }
