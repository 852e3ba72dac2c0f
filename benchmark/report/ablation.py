"""The table of an ablation: what each component brings, with intervals, from the rows of the boards that hold
its runs.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmark.report import statistics
from benchmark.report.board import Board
from benchmark.report.columns import number
from benchmark.report.formats import counted, digits, fixed, signed
from benchmark.report.naming import title
from benchmark.report.rows import Group, Pair, Row, TaskInfo, canonical
from benchmark.report.statistics import Array, Estimate
from benchmark.spec.ablation import Ablation
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import EQUAL

ABOVE = "the row above"


@dataclass(frozen=True)
class Line:
    """A row over the planned seeds that are done. units, planned: label seeds, or train seeds under one mask
    (see `Group`).
    scores: {task: mean of its primary metric}. delta: delta m. difference: delta m minus that of the row
    compared with, over the seeds that both and the reference share. None where nothing is done, or without a
    reference."""

    name: str
    units: int
    planned: int
    scores: dict[str, Estimate]
    delta: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True)
class Table:
    """An ablation in one setting. reference: what delta m is relative to. compared: what `difference`
    compares a row with.
    """

    title: str
    group: Group
    balance: str
    lines: tuple[Line, ...]
    reference: str
    compared: str

    @property
    def tasks(self) -> tuple[TaskInfo, ...]:
        return self.group.tasks

    @property
    def sentences(self) -> list[str]:
        """What the numbers are, and what is missing."""
        unit = "train seed" if self.group.fixed_mask else "label seed"
        found = [f"Means over {unit}s; ± is half the width of their 95 % t interval."]
        if self.group.fixed_mask:
            found.append("One mask of labels: the intervals hold training noise only.")
        if self.reference:
            found.append(
                f"Δm: mean relative change of the primary metrics against {self.reference} in the same "
                f"setting, in percent, "
                f"higher is better; its interval holds the reference's noise."
            )
            found.append(f"Difference: Δm minus that of {self.compared}, paired by seed.")
        else:
            found.append(
                "No Δm: neither a reference of this setting nor the first row shares finished seeds with "
                "every row."
            )
        for line in self.lines:
            if line.units < line.planned:
                found.append(f"{line.name}: {line.units} of {counted(line.planned, unit)} finished.")
        return found


def tables(ablation: Ablation, boards: Sequence[Board]) -> list[Table]:
    """A table a setting (protocol, data set, labels, balance) in which some row has a finished seed, in the
    plan's order.

    Delta m is relative to the board's reference where it shares seeds with every row that has any; else to
    the first row.
    """
    where = {
        record.id: (board, row) for board in boards for row in board.group.rows for record in row.records
    }
    settings = list(dict.fromkeys(_setting(spec) for row in ablation.rows for spec in row.cells))
    found = []
    for setting in settings:
        rows = [
            (row.name, [spec for spec in row.cells if _setting(spec) == setting]) for row in ablation.rows
        ]
        rows = [(name, cells) for name, cells in rows if cells]  # a row may be excluded altogether
        known = [where[spec.id] for _, cells in rows for spec in cells if spec.id in where]
        if known:
            balance = next(spec.balance for _, cells in rows for spec in cells)
            found.append(
                _table(ablation, known[0][0], balance, rows, {i: row for i, (_, row) in where.items()})
            )
    return found


def _setting(spec: RunSpec) -> str:
    return canonical([asdict(spec.protocol), spec.variant, spec.labels, spec.balance])


def _table(
    ablation: Ablation,
    board: Board,
    balance: str,
    rows: Sequence[tuple[str, list[RunSpec]]],
    by_id: dict[str, Row],
) -> Table:
    g = board.group
    signs = np.array([t.sign for t in g.tasks], dtype=float)
    planned = [{(spec.label_seed, spec.train_seed) for spec in cells} for _, cells in rows]
    held = [next((by_id[spec.id] for spec in cells if spec.id in by_id), None) for _, cells in rows]
    done = [pairs & set(row.seeds) if row else set() for row, pairs in zip(held, planned, strict=True)]
    reference, shared, called = _reference(board, held, done, rows[0][0])
    lines = []
    for i, (name, _) in enumerate(rows):
        row, pairs = held[i], done[i] & shared
        other = 0 if ablation.form == "leave-one-out" else i - 1
        delta = difference = None
        if row and reference and pairs:
            delta = _finite(statistics.delta_m(g.scores(row, pairs), g.scores(reference, pairs), signs))
            base, both = held[max(other, 0)], pairs & done[max(other, 0)]
            if i and base and both and delta:
                difference = statistics.difference(
                    g.scores(row, both), g.scores(base, both), g.scores(reference, both), signs
                )
        scores = _scores(g, row, done[i]) if row and done[i] else {}
        lines.append(Line(name, len(g.units(done[i])), len(g.units(planned[i])), scores, delta, difference))
    compared = f"the row '{rows[0][0]}'" if ablation.form == "leave-one-out" else ABOVE
    about = title(g) + (f", balance {balance}" if balance != EQUAL else "")
    return Table(f"{ablation.method}, {ablation.form}: {about}", g, balance, tuple(lines), called, compared)


def _reference(
    board: Board, held: Sequence[Row | None], done: Sequence[set[Pair]], first: str
) -> tuple[Row | None, set[Pair], str]:
    """(the row that delta m is relative to, its seeds, what it is called)"""
    started = [pairs for pairs in done if pairs]
    candidates = (
        [(board.reference.row, set(board.reference.row.seeds), board.reference.label)]
        if board.reference
        else []
    )
    candidates += [(held[0], done[0], f"the row '{first}'")] if held[0] else []
    for row, pairs, name in candidates:
        defined = bool(pairs) and bool((board.group.scores(row, pairs).mean(0) != 0).all())
        if defined and not row.outdated and all(pairs & other for other in started):
            return row, pairs, name
    return None, set(), ""


def _scores(g: Group, row: Row, pairs: set[Pair]) -> dict[str, Estimate]:
    scores: Array = g.scores(row, pairs)
    return {
        t.name: statistics.estimate(float(scores[:, i].mean()), scores[:, i]) for i, t in enumerate(g.tasks)
    }


def _finite(estimate: Estimate) -> Estimate | None:
    return estimate if math.isfinite(estimate.value) else None


def header(table: Table) -> list[str]:
    return ["row", "seeds", *(f"{t.title} {t.arrow}" for t in table.tasks), "Δm (%)", "difference"]


def cells(table: Table) -> list[list[str]]:
    """The table's lines as people read them: `31.20 ± 1.10`."""
    places = {
        t.name: digits([line.scores[t.name].value for line in table.lines if line.scores])
        for t in table.tasks
    }
    return [
        [
            line.name,
            str(line.units) if line.units == line.planned else f"{line.units} of {line.planned}",
            *(_text(line.scores.get(t.name), places[t.name], fixed) for t in table.tasks),
            _text(line.delta, 2, signed),
            _text(line.difference, 2, signed),
        ]
        for line in table.lines
    ]


def _text(estimate: Estimate | None, places: int, written: Callable[[float, int], str]) -> str:
    if estimate is None:
        return ""
    half = "" if estimate.high is None else f" ± {fixed(estimate.high - estimate.value, places)}"
    return written(estimate.value, places) + half


def markdown(found: Sequence[Table], plan: str) -> str:
    """Every table of an ablation as one Markdown document."""
    parts = [f"# Ablation: plan {plan}"]
    for table in found:
        lines = [header(table), ["---", *["---:"] * (len(header(table)) - 1)], *cells(table)]
        body = "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )
        parts += [f"## {table.title}", body, "\n".join(f"- {sentence}" for sentence in table.sentences)]
    return "\n\n".join(parts) + "\n"


def records(found: Sequence[Table]) -> list[dict[str, str]]:
    """A line of each row, as CSV has it; intervals by their bounds."""
    lines = []
    for table in found:
        g = table.group
        setting = {
            "protocol": g.protocol["name"],
            "dataset": g.dataset,
            "labels": g.labels,
            "balance": table.balance,
        }
        for line in table.lines:
            values = setting | {"row": line.name, "n_seeds": str(line.units), "n_planned": str(line.planned)}
            for t in table.tasks:
                values |= _bounds(f"{t.name}_{t.metric}", line.scores.get(t.name))
            values |= _bounds("delta_m", line.delta) | _bounds("difference", line.difference)
            lines.append(values | {"reference": table.reference, "compared_with": table.compared})
    return lines


def _bounds(name: str, estimate: Estimate | None) -> dict[str, str]:
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
    return {name: number(value), f"{name}_low": number(low), f"{name}_high": number(high)}


def csv_text(found: Sequence[Table]) -> str:
    """Every table as one CSV; a task that a setting lacks is empty."""
    lines = records(found)
    out = io.StringIO()
    writer = csv.DictWriter(
        out, list(dict.fromkeys(key for line in lines for key in line)), restval="", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()
