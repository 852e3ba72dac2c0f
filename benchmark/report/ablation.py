"""Make the table of an ablation from the boards that hold its runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from benchmark.report import statistics
from benchmark.report.board import Board
from benchmark.report.formats import counted, digits, fixed, markdown_table, number, signed
from benchmark.report.naming import title
from benchmark.report.rows import Group, Pair, Row, canonical
from benchmark.report.statistics import Estimate
from benchmark.spec.ablation import Ablation
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import EQUAL, label

ABOVE = "the row above"


@dataclass(frozen=True)
class Line:
    """A row over the planned seeds that are done.

    units, planned: label seeds, or train seeds under one mask (see `Group`). scores: {task: mean of its
    primary metric}. difference: delta m minus that of the row compared with, over the seeds that both and the
    reference share. None where nothing is done, or without a reference.
    """

    name: str
    units: int
    planned: int
    scores: dict[str, Estimate]
    delta: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True)
class Table:
    """An ablation in one setting.

    reference: what delta m is relative to. compared: what `difference` compares a row with.
    """

    title: str
    group: Group
    balance: str
    lines: tuple[Line, ...]
    reference: str
    compared: str

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
                f"setting, in percent, higher is better; its interval holds the reference's noise. "
                f"Difference: Δm minus that of {self.compared}, paired by seed."
            )
        else:
            found.append("No Δm: no reference of this setting shares finished seeds with every row.")
        few = [line for line in self.lines if line.units < line.planned]
        return found + [f"{x.name}: {x.units} of {counted(x.planned, unit)} finished." for x in few]


def tables(ablation: Ablation, boards: Sequence[Board]) -> list[Table]:
    """Return a table for each setting in which some row has a finished seed.

    Settings are protocol, data set, labels and balance, in the plan's order. Delta m is relative to the
    board's reference where it shares seeds with every row that has any; else to the first row.
    """
    where = {r.id: (board, row) for board in boards for row in board.group.rows for r in row.records}
    settings: dict[str, dict[int, list[RunSpec]]] = defaultdict(dict)
    for i, row in enumerate(ablation.rows):
        for spec in row.cells:
            named = label(spec.balance, spec.weighting)
            setting = canonical([asdict(spec.protocol), spec.variant, spec.labels, named])
            settings[setting].setdefault(i, []).append(spec)
    found = []
    for rows in settings.values():
        if board := next((where[s.id][0] for specs in rows.values() for s in specs if s.id in where), None):
            found.append(_table(ablation, board, rows, {run: row for run, (_, row) in where.items()}))
    return found


def _table(ablation: Ablation, board: Board, rows: dict[int, list[RunSpec]], by_id: dict[str, Row]) -> Table:
    g, names = board.group, [ablation.rows[i].name for i in rows]
    first = f"the row '{names[0]}'"
    planned = [{(spec.label_seed, spec.train_seed) for spec in specs} for specs in rows.values()]
    held = [next((by_id[s.id] for s in specs if s.id in by_id), None) for specs in rows.values()]
    done = [pairs & set(g.shared(row)) if row else set() for row, pairs in zip(held, planned, strict=True)]
    reference, shared, called = _reference(board, held[0], done, first)
    leave_one_out = ablation.form == "leave-one-out"
    lines = []
    for i, (name, row) in enumerate(zip(names, held, strict=True)):
        scores, delta, difference = {}, None, None
        if row and done[i]:
            columns = zip(g.tasks, g.scores(row, done[i]).T, strict=True)
            scores = {t.name: statistics.estimate(float(values.mean()), values) for t, values in columns}
        if row and reference and (pairs := done[i] & shared):
            delta = statistics.delta_m(g.scores(row, pairs), g.scores(reference, pairs), g.signs)
            other = 0 if leave_one_out else max(i - 1, 0)
            base, both = held[other], pairs & done[other]
            if not math.isfinite(delta.value):
                delta = None
            elif i and base and both:
                a, b, ref = (g.scores(each, both) for each in (row, base, reference))
                difference = statistics.difference(a, b, ref, g.signs)
        units = len({g.unit(pair) for pair in planned[i]})
        lines.append(Line(name, len(done[i]), units, scores, delta, difference))
    spec = next(iter(rows.values()))[0]
    balance = label(spec.balance, spec.weighting)
    about = f"{ablation.method}, {ablation.form}: {title(g)}" + (
        "" if balance == EQUAL else f", balance {balance}"
    )
    return Table(about, g, balance, tuple(lines), called, first if leave_one_out else ABOVE)


def _reference(
    board: Board, first: Row | None, done: Sequence[set[Pair]], first_name: str
) -> tuple[Row | None, set[Pair], str]:
    """Return the row that delta m is relative to, its seeds, and its name in the table."""
    named = board.reference
    candidates = [(named.row, set(board.group.shared(named.row)), named.label)] if named else []
    candidates += [(first, done[0], first_name)] if first else []
    for row, pairs, name in candidates:
        defined = bool(pairs) and bool(board.group.scores(row, pairs).mean(0).all())
        if defined and not row.outdated and all(pairs & other for other in done if other):
            return row, pairs, name
    return None, set(), ""


def shown(table: Table) -> pd.DataFrame:
    """Return the table as people read it: `31.20 ± 1.10`."""
    tasks, lines = table.group.tasks, table.lines
    places = {t.name: digits([line.scores[t.name].value for line in lines if line.scores]) for t in tasks}
    return pd.DataFrame(
        {
            "row": line.name,
            "seeds": f"{line.units}" if line.units == line.planned else f"{line.units} of {line.planned}",
            **{f"{t.title} {t.arrow}": _text(line.scores.get(t.name), places[t.name], fixed) for t in tasks},
            "Δm (%)": _text(line.delta, 2, signed),
            "difference": _text(line.difference, 2, signed),
        }
        for line in lines
    )


def _text(estimate: Estimate | None, places: int, written: Callable[[float, int], str]) -> str:
    if estimate is None:
        return ""
    half = "" if estimate.high is None else f" ± {fixed(estimate.high - estimate.value, places)}"
    return written(estimate.value, places) + half


def markdown(found: Sequence[Table], plan: str) -> str:
    """Return every table of an ablation as one Markdown document."""
    parts = [f"# Ablation: plan {plan}"]
    for table in found:
        frame = shown(table)
        notes = "\n".join(f"- {sentence}" for sentence in table.sentences)
        parts += [f"## {table.title}", markdown_table([*frame], frame.values.tolist()), notes]
    return "\n\n".join(parts) + "\n"


def records(found: Sequence[Table]) -> pd.DataFrame:
    """Return a line of each row with texts as CSV has them, intervals by their bounds.

    A task that a setting lacks is empty.
    """
    lines = []
    for table in found:
        g = table.group
        for line in table.lines:
            values = {"protocol": str(g.protocol["name"]), "dataset": g.dataset, "labels": g.labels}
            values |= {"balance": table.balance, "row": line.name}
            values |= {"n_seeds": str(line.units), "n_planned": str(line.planned)}
            estimates = {f"{t.name}_{t.metric}": line.scores.get(t.name) for t in g.tasks}
            estimates |= {"delta_m": line.delta, "difference": line.difference}
            for name, e in estimates.items():
                bounds = (e.value, e.low, e.high) if e else (None, None, None)
                values |= zip((name, f"{name}_low", f"{name}_high"), map(number, bounds), strict=True)
            lines.append(values | {"reference": table.reference, "compared_with": table.compared})
    return pd.DataFrame(lines).fillna("")
