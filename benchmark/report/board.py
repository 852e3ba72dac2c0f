"""Boards: the rows of a group with their scores, differences, intervals and tiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmark.report import statistics, verdict
from benchmark.report.grouping import group
from benchmark.report.images import Resampled
from benchmark.report.naming import file_name
from benchmark.report.records import Collection
from benchmark.report.references import Beside, named, references, secondary
from benchmark.report.reruns import Rerun
from benchmark.report.rows import Cost, Group, Pair, Row
from benchmark.report.statistics import Estimate, Spread
from benchmark.report.verdict import RANKED_SEEDS, Comparison, Verdicts


@dataclass(frozen=True)
class Entry:
    """A row with its numbers; n counts units (label seeds, see `Group`).

    tier: a number from 1, "tuning" where a part of the train images judged, "demonstration" or "undertrained"
    where the board ranks nothing, "development" below `RANKED_SEEDS`, "incomplete" while a planned seed
    failed or is missing, "version 1 (current 2)" for an outdated row, or "" without delta m or against an
    outdated reference. by_unit: {task: {metric: {unit: value}}} over all complete units, spreads: the same
    summed up. paired: units that row and reference share; delta, changes and psi rest on them alone. changes:
    {task: relative change in %}. psi: {unit: influence on delta m}. versus: delta m minus that of the
    baseline, over the units that all three share; compared: more about it, None for the reference and the
    baseline; decidable: whether there are seeds enough to test it. undefined: tasks on which the reference
    scores 0 over the paired units, so that there is no delta m. beside: secondary numbers.
    """

    row: Row
    role: str
    tier: str
    units: tuple[int, ...]
    failed: int
    by_unit: dict[str, dict[str, dict[int, float]]]
    spreads: dict[str, dict[str, Spread]]
    cost: Cost | None
    paired: tuple[int, ...] = ()
    delta: Estimate | None = None
    changes: dict[str, Estimate | None] | None = None
    psi: dict[int, float] | None = None
    versus: Estimate | None = None
    decidable: bool | None = None
    undefined: tuple[str, ...] = ()
    compared: Comparison | None = None
    beside: Beside = field(default_factory=Beside)

    @property
    def label(self) -> str:
        """Return the name of the row."""
        return self.row.label


@dataclass(frozen=True)
class Constant:
    """The best predictor that ignores the image: means over the seeds' constants, without intervals."""

    means: dict[str, dict[str, float]]
    changes: dict[str, float]
    delta: float | None


@dataclass(frozen=True)
class Lead:
    """The row with the highest delta m and the next one, or the reference where none is above it.

    Among rows that have every planned seed, where one besides the reference does. compared: the first with
    the second; its verdict says whether the order is sure.
    """

    best: Entry
    second: Entry | None
    compared: Comparison | None


@dataclass(frozen=True)
class Board:
    """One leaderboard.

    entries: by delta m, those without one last. planned: units that any current row has attempted.
    comparisons: rows compared with the baseline. withheld: why nothing is ranked, empty if it is; unknown:
    that the protocol is not known to be trained. reruns: {row: its re-run floor} of rows of which seeds were
    run a second time.
    """

    name: str
    group: Group
    entries: tuple[Entry, ...]
    reference: Entry | None
    baseline: Entry | None
    planned: tuple[int, ...]
    comparisons: int
    constant: Constant
    lead: Lead | None
    verdicts: Verdicts
    withheld: str = ""
    unknown: str = ""
    reruns: Mapping[str, Rerun] = field(default_factory=dict)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Return the ids of every finished run on the board, of incomplete seeds too."""
        return self.group.run_ids


def build(collection: Collection, current: Mapping[str, int] | None = None) -> list[Board]:
    """Return the boards of a collection, in the order of their names.

    current: {method: its version today}; rows of earlier versions are outdated. Raises `UserError` where
    records must not be compared.
    """
    groups = group(collection, current)
    return sorted((_board(file_name(g), g, groups) for g in groups), key=lambda board: board.name)


def _board(name: str, g: Group, groups: Sequence[Group]) -> Board:
    reference, baseline = named(g.rows, g.protocol["reference"]), named(g.rows, g.protocol["baseline"])
    held = verdict.withheld(g, reference, baseline)
    others, resampled = references(g, groups), Resampled(g)
    verdicts = Verdicts(g, reference, others, held)
    entries = []
    for row in g.rows:
        entry = _entry(g, row, "reference" if row is reference else "baseline" if row is baseline else "")
        rival = baseline if row.seeds and not row.outdated and entry.role == "" else None
        if reference and reference.seeds:
            entry = _scored(g, entry, reference)
            if rival:
                compared = verdicts.pair(row, rival) if g.shared(row, rival, reference) else None
                versus, decided = (compared.estimate, compared.decidable) if compared else (None, False)
                entry = replace(entry, compared=compared, versus=versus, decidable=decided)
        found = secondary(g, row, reference, rival, others, resampled)
        entries.append(replace(entry, beside=found))
    entries.sort(key=lambda e: (e.row.outdated, -e.delta.value if e.delta else math.inf, e.label))
    unranked = {entry.label: _unranked(g, entry, reference, held) for entry in entries}
    ranked = [entry.row for entry in entries if unranked[entry.label] is None]
    numbers = verdict.tiers(g, ranked, reference) if reference else []
    tiers = {row.label: str(n) for row, n in zip(ranked, numbers, strict=True)}
    entries = [replace(e, tier=unranked[e.label] or tiers.get(e.label, "")) for e in entries]
    of = {e.row.label: e for e in entries}
    return Board(
        name,
        g,
        tuple(entries),
        of[reference.label] if reference else None,
        of[baseline.label] if baseline else None,
        g.planned,
        sum(e.decidable is not None for e in entries),
        _constant(g, reference),
        _lead(g, entries, verdicts),
        verdicts,
        held,
        verdict.unknown(g),
    )


def _entry(g: Group, row: Row, role: str) -> Entry:
    by_unit: dict[str, dict[str, dict[int, float]]] = {}
    pairs = g.shared(row)
    for task in g.tasks:
        others = {m for pair in pairs for m in row.seeds[pair].metrics(task.name)} - {task.metric}
        values = {m: g.by_unit(row, task.name, m, pairs) for m in (task.metric, *sorted(others))}
        by_unit[task.name] = {m: found for m, found in values.items() if found}
    spreads = {
        task: {m: statistics.spread(np.array([*v.values()])) for m, v in found.items()}
        for task, found in by_unit.items()
    }
    return Entry(row, role, "", g.units(pairs), len(row.failed), by_unit, spreads, row.cost)


def _scored(g: Group, entry: Entry, reference: Row) -> Entry:
    pairs = g.shared(entry.row, reference)
    if not pairs:
        return entry
    units, scores, base = g.units(pairs), g.scores(entry.row, pairs), g.scores(reference, pairs)
    undefined = tuple(t.name for t, mean in zip(g.tasks, base.mean(0), strict=True) if mean == 0)
    if undefined:
        return replace(entry, paired=units, undefined=undefined)
    names = [t.name for t in g.tasks]
    if entry.row is reference:  # 0 by definition, without an interval of its own
        zero = Estimate(0.0, None, None, len(units))
        changes: dict[str, Estimate | None] = dict.fromkeys(names, zero)
        return replace(entry, paired=units, delta=zero, changes=changes, psi=dict.fromkeys(units, 0.0))
    delta = statistics.delta_m(scores, base, g.signs)
    changes = dict(zip(names, statistics.task_changes(scores, base, g.signs), strict=True))
    influence = statistics.influence(scores, base, g.signs).mean(-1)
    psi = {unit: float(value) for unit, value in zip(units, influence, strict=True)}
    return replace(entry, paired=units, delta=delta, changes=changes, psi=psi)


def _unranked(g: Group, entry: Entry, reference: Row | None, held: str) -> str | None:
    """Return what stands in place of the tier of a row, None where it is ranked."""
    if entry.row.outdated:
        return entry.row.age
    if g.protocol["judge"] != "test":
        return "tuning"
    if entry.delta is None or reference is None or reference.outdated:
        return ""
    if held:
        return "demonstration" if g.protocol["demonstration"] else "undertrained"
    if len(entry.paired) < RANKED_SEEDS:
        return "development"
    return None if g.whole(entry.row) else "incomplete"


def _lead(g: Group, entries: Sequence[Entry], verdicts: Verdicts) -> Lead | None:
    current = [e for e in entries if e.delta and not e.row.outdated]
    whole = [e for e in current if g.whole(e.row)]
    ordered = whole if any(e.role != "reference" for e in whole) else current
    best = next((e for e in ordered if e.role != "reference"), None)
    if best is None or best.delta is None:
        return None
    reference = next((e for e in entries if e.role == "reference"), None)
    second = next((e for e in ordered if e is not best), None) if best.delta.value > 0 else reference
    return Lead(best, second, verdicts.pair(best.row, second.row) if second else None)


def _constant(g: Group, reference: Row | None) -> Constant:
    means: dict[str, dict[str, float]] = {}
    records = sorted((r for row in g.rows for r in row.records), key=lambda r: r.id)
    for task in g.tasks:
        by_pair: dict[Pair, dict[str, float]] = {}
        for record in (r for r in records if task.name in r["constant"]):
            found = {m: float(v) for m, v in record["constant"][task.name].items() if v is not None}
            by_pair.setdefault((record.spec["label_seed"], record.spec["train_seed"]), found)
        values = [found for _, found in sorted(by_pair.items())]
        shared = set.intersection(*map(set, values)) if values else set()
        ordered = [m for m in (task.metric, *sorted(shared - {task.metric})) if m in shared]
        means[task.name] = {m: float(np.mean([found[m] for found in values])) for m in ordered}
    pairs = g.shared(reference) if reference else []
    if reference is None or not pairs or not all(t.metric in means[t.name] for t in g.tasks):
        return Constant(means, {}, None)
    scores = np.array([[means[t.name][t.metric] for t in g.tasks]])
    changes = statistics.changes(scores, g.scores(reference, pairs), g.signs)
    if not np.isfinite(changes).all():
        return Constant(means, {}, None)
    each = {t.name: float(v) for t, v in zip(g.tasks, changes, strict=True)}
    return Constant(means, each, float(changes.mean()))
