"""The long form of a board: every value of every seed on a line of its own, for statistics made elsewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from benchmark.report.board import Board, Entry
from benchmark.report.columns import Cells
from benchmark.report.rows import Pair, Seed

COLUMNS = (
    "method", "version", "role", "dataset", "labels", "unit", "label_seed", "train_seed", "state", "task", "metric", "value",
    "device", "run_id",
)  # fmt: skip


def exact(value: float) -> str:
    """Nine significant digits, all that a record has."""
    text = f"{value:.9g}"
    return "0" if text == "-0" else text


def csv_text(board: Board) -> str:
    """A line for each row of the board x seed x task x metric, in the board's order of rows; the columns are `COLUMNS`.

    Lines without a task hold, a unit each, delta_m (delta m plus the unit's influence: their mean is delta m, their spread makes
    its interval), influence, and vs_baseline. A seed that failed or lacks a run has one line that says so, without a value.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    g = board.group
    for entry in board.entries:
        row = {"method": entry.label, "version": str(entry.row.version), "role": entry.role}
        row |= {"dataset": g.variant, "labels": g.labels}
        writer.writerows(row | line for line in (*_seeds(board, entry), *_units(board, entry)))
    return out.getvalue()


def _seeds(board: Board, entry: Entry) -> Iterator[Cells]:
    row = entry.row
    for pair in sorted({*row.seeds, *row.failed, *row.partial}):
        where = _where(board, pair)
        if pair in row.failed or pair in row.partial:
            yield where | {"state": "failed" if pair in row.failed else "incomplete"}
        if pair in row.seeds:
            yield from (where | {"state": "done"} | line for line in _values(board, row.seeds[pair]))


def _values(board: Board, seed: Seed) -> Iterator[Cells]:
    for task in board.group.tasks:
        record = next(r for r in seed.records if task.name in r.spec["tasks"])
        metrics = seed.metrics(task.name)
        for metric in (task.metric, *sorted(metrics.keys() - {task.metric})):
            value = {"task": task.name, "metric": metric, "value": exact(metrics[metric])}
            yield value | {"device": str(record["cost"]["device"]), "run_id": record.id}


def _units(board: Board, entry: Entry) -> Iterator[Cells]:
    psi = entry.psi or {}
    found = {"influence": psi, "vs_baseline": entry.compared.differences if entry.compared else {}}
    if entry.delta:
        found = {"delta_m": {unit: entry.delta.value + value for unit, value in psi.items()}} | found
    for metric, values in found.items():
        for unit, value in sorted(values.items()):
            # Below 1e-9 sums differ from machine to machine.
            yield {"unit": str(unit), "state": "done", "metric": metric, "value": exact(round(value, 9))}


def _where(board: Board, pair: Pair) -> Cells:
    return {"unit": str(board.group.unit(pair)), "label_seed": str(pair[0]), "train_seed": str(pair[1])}
