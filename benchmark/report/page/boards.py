"""A board as the page shows it: plain values for the template, every number with the text that people
read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchmark.report import captions, details, published
from benchmark.report.board import Board, Entry
from benchmark.report.command import command
from benchmark.report.formats import (
    fixed,
    gibibytes,
    interval,
    millions,
    signed,
    training_time,
    with_interval,
    with_sd,
)
from benchmark.report.naming import protocol_summary, protocol_title
from benchmark.report.page.about import commits, dataset
from benchmark.report.page.figures import Figure
from benchmark.report.page.strip import Strip, scale
from benchmark.report.records import Record
from benchmark.report.tables import decimals

FACETS = {"dataset": "data set", "labels": "label setting", "encoder": "encoder", "protocol": "protocol"}
LABELS = {
    "one": "one label an image",
    "random": "1 to K-1 labels an image",
    "full": "every label",
    "given": "the labels that come with the data",
    "published:one": "one label an image, the papers' split",
    "published:random": "random labels, the papers' split",
}


def view(board: Board, drawn: Sequence[Figure]) -> dict[str, Any]:
    """Everything that the template shows of a board."""
    places, bounds = decimals(board), scale(board)
    return {
        "id": slug(board.name),
        "title": f"{board.group.variant}, {labels_text(board.group.labels)}",
        "protocol_title": protocol_title(board.group.protocol, None),
        "data": dataset(board.group.dataset),
        "summary": protocol_summary(board.group.protocol["name"]),
        "facets": facet_values(board),
        "answers": answers(board),
        "best_command": command(board.group, board.lead.best.row) if board.lead else "",
        "has_memory": any(e.cost and e.cost.peak_gib for e in board.entries),
        "baseline": board.baseline.label if board.baseline else "",
        "reference": board.reference.label if board.reference else "",
        "tasks": [
            {"title": t.title, "arrow": t.arrow, "down": not t.higher_is_better} for t in board.group.tasks
        ],
        "commits": commits(record for entry in board.entries for record in entry.row.records),
        "rows": [_row(board, entry, places, bounds) for entry in board.entries],
        "constant": _constant(board, places),
        "captions": captions.sentences(board)[1:],
        "details": details.sections(board, places),
        "papers": published.section(board),
        "papers_title": published.TITLE,
        "figures": drawn,
        "run_count": len(board.run_ids),
    }


def slug(name: str) -> str:
    """A board's name as the id of an element."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def labels_text(setting: str) -> str:
    """`one label an image`, `5 % of each task's labels`"""
    kind, _, share = setting.partition(":")
    if kind == "fraction" and float(share) <= 1:
        return f"{100 * float(share):g} % of each task's labels"
    return LABELS.get(setting, setting)


def facet_values(board: Board) -> dict[str, str]:
    protocol = board.group.protocol
    weights = "" if protocol["weights"] == "none" else f", {protocol['weights']} weights"
    return {
        "dataset": board.group.variant,
        "labels": board.group.labels,
        "encoder": f"{protocol['encoder']}{weights}",
        "protocol": protocol_title(protocol),
    }


def facets(views: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices among boards: {name, title, values}, values in the boards' order."""
    found = []
    for name, title in FACETS.items():
        values = list(dict.fromkeys(view["facets"][name] for view in views))
        texts = {value: labels_text(value) if name == "labels" else value for value in values}
        found.append({"name": name, "title": title, "values": texts})
    return found


def answers(board: Board) -> list[tuple[str, str]]:
    """The questions that a visitor comes with, each with its answer."""
    found = [("Which method is best here, and is it sure?", captions.verdict(board))]
    family = captions.baseline(board)
    if family:
        found.append((f"Is any method better than {board.baseline.label if board.baseline else ''}?", family))
    best = board.lead.best if board.lead else None
    if best is None:
        return found
    steps, budget = best.beside.against.equal_steps, board.group.protocol["budget"]
    if steps and board.reference and budget == "epochs":
        text = (
            f"Against {board.reference.label} trained for as many steps, Δm of {best.label} is "
            f"{with_interval(steps)} %."
        )
        found.append(("And against a reference that takes as many steps?", text))
    if cost := _costs(board, best):
        found.append(("What does it cost?", cost))
    return found


def _costs(board: Board, entry: Entry) -> str:
    """What a seed of a row costs, and how often that of the baseline."""
    if entry.cost is None:
        return ""
    cost, base = entry.cost, board.baseline
    parts = [f"{training_time(cost)} of training a seed"] if cost.seconds is not None else []
    parts += [f"{gibibytes(cost.peak_gib)} of GPU memory"] if cost.peak_gib else []
    if cost.params_train and cost.params_infer:
        parts.append(
            f"{millions(cost.params_train)} parameters in training, {millions(cost.params_infer)} in use"
        )
    text = f"{entry.label}: {'; '.join(parts)} ({cost.device})" if parts else ""
    if text and base and base is not entry and base.cost and base.cost.device == cost.device:
        pairs = {
            "the time": (cost.seconds, base.cost.seconds),
            "the memory": (cost.peak_gib, base.cost.peak_gib),
            "the parameters in use": (cost.params_infer, base.cost.params_infer),
        }
        ratios = [f"{a / b:.2f} times {what}" for what, (a, b) in pairs.items() if a and b]
        text += f". Against {base.label}: {', '.join(ratios)}" if ratios else ""
    if text and (rows := {entry.label, base.label if base else ""}.intersection(captions.uneven(board))):
        text += f". Times of {' and '.join(sorted(rows))} differ much between seeds and say little"
    return f"{text}." if text else ""


def _row(board: Board, entry: Entry, places: dict[str, int], bounds: tuple[float, float]) -> dict[str, Any]:
    cost = entry.cost
    own = entry is board.reference
    tasks = []
    for task in board.group.tasks:
        spread, change = entry.spreads[task.name].get(task.metric), (entry.changes or {}).get(task.name)
        text = "" if own or change is None else f"{with_interval(change)} %"
        tasks.append(
            {
                "value": _order(spread.mean if spread else None),
                "text": with_sd(spread, places[task.name]),
                "change": text,
            }
        )
    delta, compared = entry.delta, entry.compared
    return {
        "label": entry.label,
        "method": entry.row.method,
        "role": entry.role,
        "tier": entry.tier or "unranked",
        "sure": entry.tier.isdigit() and bool(delta and delta.excludes_zero()),
        "outdated": entry.row.outdated,
        "seeds": captions.seeds_cell(entry, len(board.planned)),
        "n": len(entry.units),
        "delta": _order(delta.value if delta else None),
        "delta_text": "" if delta is None else "0" if own else signed(delta.value),
        "delta_interval": "reference" if own and delta else interval(delta),
        "strip": Strip.of(entry, own, bounds),
        "versus": _order(entry.versus.value if entry.versus else None),
        "versus_text": with_interval(entry.versus),
        "p": "" if compared is None or compared.p_holm is None else f"{compared.p_holm:.2g}",
        "p_value": None if compared is None or entry.decidable is False else compared.p_holm,
        "undecided": entry.decidable is False,
        "tasks": tasks,
        "seconds": _order(cost.seconds if cost else None),
        "time": training_time(cost) if cost else "",
        "memory": gibibytes(cost.peak_gib) if cost else "",
        "peak": _order(cost.peak_gib if cost else None),
        "train": millions(cost.params_train) if cost else "",
        "infer": millions(cost.params_infer) if cost else "",
        "params_infer": _order(cost.params_infer if cost else None),
        "command": command(board.group, entry.row),
        "runs": [_run(record) for record in entry.row.records],
        "failures": [(captions.seed_name(pair), f[0].reason) for pair, f in sorted(entry.row.failed.items())],
    }


def _order(value: float | None) -> str:
    """A number to sort by, at the digits that are the same on all machines."""
    return "" if value is None else f"{value:.9g}"


def _run(record: Record) -> dict[str, str]:
    seed = captions.seed_name((record.spec["label_seed"], record.spec["train_seed"]))
    task = f" {record.spec['tasks'][0]}" if record["one_task"] and len(record.spec["tasks"]) == 1 else ""
    return {"id": record.id, "text": f"seed {seed}{task}"}


def _constant(board: Board, places: dict[str, int]) -> dict[str, Any]:
    found = board.constant
    tasks = []
    for t in board.group.tasks:
        value, change = found.means[t.name].get(t.metric), found.changes.get(t.name)
        tasks.append(
            {"text": fixed(value, places[t.name]), "change": "" if change is None else f"{signed(change)} %"}
        )
    return {"delta": signed(found.delta), "tasks": tasks}
