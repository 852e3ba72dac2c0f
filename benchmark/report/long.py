"""The long form of a board: every value of every seed on a line of its own, for statistics made elsewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from benchmark.report.board import Board, Entry
from benchmark.report.rows import Seed

COLUMNS = (
    "method", "version", "role", "dataset", "labels", "unit", "label_seed", "train_seed", "state", "task",
    "metric", "value",
    "device", "run_id",
)  # fmt: skip
Line = tuple[str, ...]  # the columns from `unit` on


def exact(value: float) -> str:
    """Nine significant digits, all that a record has."""
    text = f"{value:.9g}"
    return "0" if text == "-0" else text


def csv_text(board: Board) -> str:
    """A line for each row of the board x seed x task x metric, in the board's order of rows; the columns are
    `COLUMNS`.

    Lines without a task hold, a unit each, delta_m (delta m plus the unit's influence: their mean is delta m,
    their spread makes its interval), influence, and vs_baseline. A seed that failed or lacks a run has one
    line that says so, without a value.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    g = board.group
    for entry in board.entries:
        about = (entry.label, str(entry.row.version), entry.role, g.variant, g.labels)
        writer.writerows((*about, *line) for line in (*_seeds(board, entry), *_units(entry)))
    return out.getvalue()


def _seeds(board: Board, entry: Entry) -> Iterator[Line]:
    row = entry.row
    for pair in sorted({*row.seeds, *row.failed, *row.partial}):
        where = (str(board.group.unit(pair)), str(pair[0]), str(pair[1]))
        if pair in row.failed or pair in row.partial:
            yield (*where, "failed" if pair in row.failed else "incomplete", "", "", "", "", "")
        if pair in row.seeds:
            yield from ((*where, "done", *line) for line in _values(board, row.seeds[pair]))


def _values(board: Board, seed: Seed) -> Iterator[Line]:
    for task in board.group.tasks:
        record = next(r for r in seed.records if task.name in r.spec["tasks"])
        metrics, device = seed.metrics(task.name), str(record["cost"]["device"])
        for metric in (task.metric, *sorted(metrics.keys() - {task.metric})):
            yield task.name, metric, exact(metrics[metric]), device, record.id


def _units(entry: Entry) -> Iterator[Line]:
    psi = entry.psi or {}
    found = {"influence": psi, "vs_baseline": entry.compared.differences if entry.compared else {}}
    if entry.delta:
        found = {"delta_m": {unit: entry.delta.value + value for unit, value in psi.items()}} | found
    for metric, values in found.items():
        for unit, value in sorted(values.items()):
            # Below 1e-9 sums differ from machine to machine.
            yield str(unit), "", "", "done", "", metric, exact(round(value, 9)), "", ""
