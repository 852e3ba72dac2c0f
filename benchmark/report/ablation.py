"""Make the table of an ablation from the boards that hold its runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd

from benchmark.report import statistics
from benchmark.report.board import Board
from benchmark.report.formats import counted, digits, fixed, markdown_table, number, signed
from benchmark.report.grouping import title
from benchmark.report.rows import Group, Row, canonical
from benchmark.report.statistics import Estimate
from benchmark.spec.ablation import Ablation
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import EQUAL, label

ABOVE = "the row above"


@dataclass(frozen=True)
class Line:
    """A row over the planned seeds that are done.

    units, planned: label seeds, or train seeds under one mask (see `Group`). estimates: {`TASK_METRIC`: mean
    of the primary metric, "delta_m", "difference": delta m minus that of the row compared with, over the
    seeds that both and the reference share}, without what is not there.
    """

    name: str
    units: int
    planned: int
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class Table:
    """An ablation in one setting.

    reference: what delta m is relative to. compared: what `difference` compares a row with. withheld: why its
    board ranks nothing, empty where it does.
    """

    title: str
    group: Group
    balance: str
    lines: tuple[Line, ...]
    reference: str
    compared: str
    withheld: str

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
        found += [f"{x.name}: {x.units} of {counted(x.planned, unit)} finished." for x in few]
        return found + [self.withheld] * bool(self.withheld)


def tables(ablation: Ablation, boards: Sequence[Board]) -> list[Table]:
    """Return a table for each setting in which some row has a finished seed.

    Settings are protocol, data set, labels and balance, in the plan's order. Delta m is relative to the
    board's reference where it shares seeds with every row that has any; else to the first row.
    """
    where = {r.id: (board, row) for board in boards for row in board.group.rows for r in row.records}
    settings: dict[str, dict[int, list[RunSpec]]] = defaultdict(lambda: defaultdict(list))
    for i, row in enumerate(ablation.rows):
        for spec in row.cells:
            named = label(spec.balance, spec.weighting)
            setting = canonical([asdict(spec.protocol), spec.variant, spec.labels, named])
            settings[setting][i].append(spec)
    found = []
    for rows in settings.values():
        if board := next((where[s.id][0] for specs in rows.values() for s in specs if s.id in where), None):
            found.append(_table(ablation, board, rows, {run: row for run, (_, row) in where.items()}))
    return found


def _table(ablation: Ablation, board: Board, rows: dict[int, list[RunSpec]], by_id: dict[str, Row]) -> Table:
    g, names, one_out = board.group, [ablation.rows[i].name for i in rows], ablation.form == "leave-one-out"
    planned = [{(spec.label_seed, spec.train_seed) for spec in specs} for specs in rows.values()]
    held: list[Row | None] = []  # rows of the board with their planned seeds alone
    for specs, pairs in zip(rows.values(), planned, strict=True):
        row = next((by_id[s.id] for s in specs if s.id in by_id), None)
        row = row and replace(row, seeds={p: s for p, s in row.seeds.items() if p in pairs})
        held.append(row if row and g.shared(row) else None)
    first, reference, called = f"the row '{names[0]}'", None, ""
    for row, name in ((held[0], first), (board.references[0], getattr(board.reference, "label", ""))):
        pairs = set(g.shared(row)) if row else set()
        defined = row and pairs and g.scores(row, pairs).mean(0).all()
        if defined and all(pairs & set(g.shared(other)) for other in held if other):
            reference, called = row, name
    lines: list[Line] = []
    for i, (name, row) in enumerate(zip(names, held, strict=True)):
        estimates, units = {}, len({g.unit(pair) for pair in planned[i]})
        for t, values in zip(g.tasks, g.scores(row, row.seeds).T, strict=True) if row else ():
            estimates[f"{t.name}_{t.metric}"] = statistics.estimate(float(values.mean()), values)
        if row and reference:
            a, base = g.over(g.shared(row, reference), row, reference)
            estimates["delta_m"] = statistics.delta_m(a, base, g.signs)
            other = held[0 if one_out else max(i - 1, 0)]
            if i and other and (both := g.shared(row, other, reference)):
                a, b, base = g.over(both, row, other, reference)
                estimates["difference"] = statistics.difference(a, b, base, g.signs)
        lines.append(Line(name, len(g.shared(row)) if row else 0, units, estimates))
    spec = next(iter(rows.values()))[0]
    balance = label(spec.balance, spec.weighting)
    about = f"{ablation.method}, {ablation.form}: {title(g)}"
    about += "" if balance == EQUAL else f", balance {balance}"
    compared = first if one_out else ABOVE
    return Table(about, g, balance, tuple(lines), called, compared, board.withheld)


def shown(table: Table) -> pd.DataFrame:
    """Return the table as people read it: `31.20 ± 1.10`."""
    found = pd.DataFrame({"row": [line.name for line in table.lines]})
    found["seeds"] = [f"{x.units}" + f" of {x.planned}" * (x.units < x.planned) for x in table.lines]
    columns = {f"{t.title} {t.arrow}": f"{t.name}_{t.metric}" for t in table.group.tasks}
    for column, name in (columns | {"Δm (%)": "delta_m", "difference": "difference"}).items():
        held = [line.estimates.get(name) for line in table.lines]
        places = digits(e.value for e in held if e) if column in columns else 2
        found[column] = [_text(e, places, fixed if column in columns else signed) for e in held]
    return found


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
    for table, line in ((each, line) for each in found for line in each.lines):
        g = table.group
        values = {"protocol": str(g.protocol["name"]), "dataset": g.dataset, "labels": g.labels}
        values |= {"balance": table.balance, "row": line.name}
        values |= {"n_seeds": str(line.units), "n_planned": str(line.planned)}
        for name in (*(f"{t.name}_{t.metric}" for t in g.tasks), "delta_m", "difference"):
            e = line.estimates.get(name)
            bounds = (e.value, e.low, e.high) if e else (None, None, None)
            values |= zip((name, f"{name}_low", f"{name}_high"), map(number, bounds), strict=True)
        lines.append(values | {"reference": table.reference, "compared_with": table.compared})
    return pd.DataFrame(lines).fillna("")
