"""Boards: the rows of a group with their scores, differences, intervals and tiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from benchmark.report import statistics
from benchmark.report.images import Resampled
from benchmark.report.naming import file_name
from benchmark.report.records import Collection
from benchmark.report.references import Beside, beside, named, references
from benchmark.report.reruns import Rerun
from benchmark.report.rows import Cost, Group, Pair, Row, group
from benchmark.report.statistics import Array, Estimate, Spread
from benchmark.report.verdict import Comparison, compare, holm, shared

RANKED_SEEDS = 5  # fewer is development: shown, not ranked


@dataclass(frozen=True)
class Entry:
    """A row with its numbers; n counts units (label seeds, see `Group`).

    tier: a number from 1, "tuning" where a part of the train images judged, "demonstration" where the
    protocol is none to rank by, "development" below `RANKED_SEEDS`, "incomplete" while a planned seed failed
    or is missing, "version 1 (current 2)" for an outdated row, or "" without delta m or against an outdated
    reference. by_unit: {task: {metric: {unit: value}}} over all
    complete seeds, spreads: the same summed up. paired:
    units that row and reference share; delta, changes and psi rest on them alone. changes: {task: relative
    change in %}. psi: {unit: influence on delta m}. versus: delta m minus that of the baseline, over the
    units that all three share. undefined: tasks on which the reference scores 0 over the paired units, so
    that there is no delta m. decidable: None outside the family of comparisons with the baseline. compared:
    more about versus. beside: what stands beside delta m.
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
        return self.row.label

    def whole(self, planned: tuple[int, ...]) -> bool:
        """Whether every planned unit is complete."""
        return not self.failed and not self.row.partial and self.units == planned


@dataclass(frozen=True)
class Constant:
    """The best predictor that ignores the image: means over the seeds' constants; its delta m has no
    interval.
    """

    means: dict[str, dict[str, float]]
    changes: dict[str, float]
    delta: float | None


@dataclass(frozen=True)
class Lead:
    """The row with the highest delta m, the next one, and their difference over the seeds they share.

    Among rows that have every planned seed, where one besides the reference does. p: of the exact sign-flip
    test of that difference, or, where the best row is not above the reference, of its difference to that;
    None with too few seeds for it.
    """

    best: Entry
    second: Entry | None
    margin: Estimate | None
    p: float | None = None


@dataclass(frozen=True)
class Board:
    """One leaderboard. entries: by delta m, those without one last. planned: units that any current row has
    attempted.

    comparisons: rows compared with the baseline, the size of the confirmatory family. reruns: {row: its
    re-run floor} of rows of which seeds were run a second time.
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
    reruns: Mapping[str, Rerun] = field(default_factory=dict)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of every finished run on the board, of incomplete seeds too."""
        return self.group.run_ids


def build(collection: Collection, current: Mapping[str, int] | None = None) -> list[Board]:
    """The boards of a collection, in the order of their names. Raises `UserError` where records must not be
    compared.

    current: {method: its version today}; rows of earlier versions are outdated.
    """
    groups = group(collection, current)
    return sorted((_board(file_name(g), g, groups) for g in groups), key=lambda board: board.name)


def _board(name: str, g: Group, groups: Sequence[Group]) -> Board:
    signs = np.array([t.sign for t in g.tasks], dtype=float)
    reference, baseline = named(g.rows, g.protocol["reference"]), named(g.rows, g.protocol["baseline"])
    current = [row for row in g.rows if not row.outdated]
    # Where every row is outdated, what they attempted was the plan.
    planned = g.units({pair for row in current or g.rows for pair in (*row.seeds, *row.failed, *row.partial)})
    family = [row for row in current if baseline and row.seeds and row not in (baseline, reference)]
    others, resampled = references(g, groups), Resampled(g)
    entries = []
    for row in g.rows:
        entry = _entry(g, row, "reference" if row is reference else "baseline" if row is baseline else "")
        if reference and reference.seeds:
            entry = _scored(g, entry, reference, signs)
            if baseline and row in family:
                versus = _difference(g, row, baseline, reference, signs)
                decided = statistics.decidable(versus.n if versus else 0, len(family))
                entry = replace(
                    entry, versus=versus, decidable=decided, compared=compare(g, row, baseline, reference)
                )
        found = beside(g, row, reference, baseline if row in family else None, others, resampled)
        entries.append(replace(entry, beside=found))
    entries = _corrected(entries)
    entries.sort(key=lambda e: (e.row.outdated, -e.delta.value if e.delta else math.inf, e.label))
    entries = _tiers(g, entries, reference, signs, planned)
    of = {e.row.label: e for e in entries}
    return Board(
        name,
        g,
        tuple(entries),
        of[reference.label] if reference else None,
        of[baseline.label] if baseline else None,
        planned,
        len(family),
        _constant(g, reference),
        _lead(g, entries, reference, signs, planned),
    )


def _corrected(entries: list[Entry]) -> list[Entry]:
    """The entries with the p values of the family corrected for each other, where they can decide."""
    family = [e for e in entries if e.decidable is not None]
    corrected = {e.label: p for e, p in zip(family, holm([e.compared for e in family]), strict=True)}
    return [
        replace(e, compared=replace(e.compared, p_holm=corrected[e.label]))
        if e.compared and e.decidable
        else e
        for e in entries
    ]


def _entry(g: Group, row: Row, role: str) -> Entry:
    by_unit: dict[str, dict[str, dict[int, float]]] = {}
    for task in g.tasks:
        names = {m for seed in row.seeds.values() for m in seed.metrics(task.name)}
        ordered = [task.metric, *sorted(names - {task.metric})]
        by_unit[task.name] = {
            m: values for m in ordered if (values := g.by_unit(row, task.name, m, row.seeds))
        }
    spreads = {
        task: {m: statistics.spread(np.array([*v.values()])) for m, v in found.items()}
        for task, found in by_unit.items()
    }
    return Entry(row, role, "", g.units(row.seeds), len(row.failed), by_unit, spreads, _cost(row))


def _cost(row: Row) -> Cost | None:
    """The mean over seeds of what a seed costs; a value that some seed lacks is None."""
    costs = [seed.cost for seed in row.seeds.values()]
    if not costs:
        return None

    def mean(name: str) -> float | None:
        values = [getattr(cost, name) for cost in costs]
        return None if None in values else float(np.mean(values))

    numbers = {f.name: mean(f.name) for f in fields(Cost) if f.name != "device"}
    return Cost(
        **numbers, device="; ".join(sorted({device for cost in costs for device in cost.device.split("; ")}))
    )


def _scored(g: Group, entry: Entry, reference: Row, signs: Array) -> Entry:
    pairs = shared(entry.row, reference)
    if not pairs:
        return entry
    units = g.units(pairs)
    scores, base = g.scores(entry.row, pairs), g.scores(reference, pairs)
    undefined = tuple(t.name for t, mean in zip(g.tasks, base.mean(0), strict=True) if mean == 0)
    if undefined:
        return replace(entry, paired=units, undefined=undefined)
    if entry.row is reference:  # 0 by definition, without an interval of its own
        zero = Estimate(0.0, None, None, len(units))
        return replace(
            entry,
            paired=units,
            delta=zero,
            changes={t.name: zero for t in g.tasks},
            psi=dict.fromkeys(units, 0.0),
        )
    delta = statistics.delta_m(scores, base, signs)
    psi = statistics.influence(scores, base, signs).mean(-1)
    changes = dict(zip((t.name for t in g.tasks), statistics.task_changes(scores, base, signs), strict=True))
    by_unit = {unit: float(value) for unit, value in zip(units, psi, strict=True)}
    return replace(entry, paired=units, delta=delta, changes={**changes}, psi=by_unit)


def _difference(g: Group, a: Row, b: Row, reference: Row, signs: Array) -> Estimate | None:
    pairs = shared(a, b, reference)
    if not pairs:
        return None
    found = statistics.difference(g.scores(a, pairs), g.scores(b, pairs), g.scores(reference, pairs), signs)
    return found if math.isfinite(found.value) else None


def _tiers(
    g: Group, entries: list[Entry], reference: Row | None, signs: Array, planned: tuple[int, ...]
) -> list[Entry]:
    """A row shares its leader's tier unless the interval of their difference excludes 0; then it opens the
    next tier.
    """
    tiers: list[Entry] = []
    leader: Row | None = None
    number = 1
    for entry in entries:
        if entry.row.outdated:
            tier = f"version {entry.row.version} (current {entry.row.newest})"
        elif g.protocol["judge"] != "test":
            tier = "tuning"
        elif entry.delta is None or reference is None or reference.outdated:
            tier = ""
        elif g.protocol["demonstration"]:
            tier = "demonstration"
        elif len(entry.paired) < RANKED_SEEDS:
            tier = "development"
        elif not entry.whole(planned):
            tier = "incomplete"
        else:
            gap = _difference(g, leader, entry.row, reference, signs) if leader else None
            if leader is None or (gap and gap.low is not None and gap.low > 0):
                number, leader = number + (leader is not None), entry.row
            tier = str(number)
        tiers.append(replace(entry, tier=tier))
    return tiers


def _lead(
    g: Group, entries: Sequence[Entry], reference: Row | None, signs: Array, planned: tuple[int, ...]
) -> Lead | None:
    current = [e for e in entries if e.delta and not e.row.outdated]
    whole = [e for e in current if e.whole(planned)]
    ordered = whole if any(e.role != "reference" for e in whole) else current
    best = next((e for e in ordered if e.role != "reference"), None)
    if best is None or best.delta is None or reference is None:
        return None
    second = next((e for e in ordered if e is not best), None)
    margin = _difference(g, best.row, second.row, reference, signs) if second else None
    rival = second.row if second and best.delta.value > 0 else reference
    found = compare(g, best.row, rival, reference)
    return Lead(
        best, second, margin, found.p if found and statistics.decidable(len(found.differences), 1) else None
    )


def _constant(g: Group, reference: Row | None) -> Constant:
    means: dict[str, dict[str, float]] = {}
    for task in g.tasks:
        by_pair: dict[Pair, dict[str, float]] = {}
        for record in sorted((r for row in g.rows for r in row.records), key=lambda r: r.id):
            if task.name in record["constant"]:
                found = {m: float(v) for m, v in record["constant"][task.name].items() if v is not None}
                by_pair.setdefault((record.spec["label_seed"], record.spec["train_seed"]), found)
        shared = set.intersection(*map(set, by_pair.values())) if by_pair else set()
        ordered = [m for m in (task.metric, *sorted(shared - {task.metric})) if m in shared]
        means[task.name] = {
            m: float(np.mean([by_pair[pair][m] for pair in sorted(by_pair)])) for m in ordered
        }
    complete = all(t.metric in means[t.name] for t in g.tasks)
    if not (g.tasks and complete and reference and reference.seeds):
        return Constant(means, {}, None)
    scores = np.array([[means[t.name][t.metric] for t in g.tasks]])
    changes = statistics.changes(
        scores, g.scores(reference, reference.seeds), np.array([t.sign for t in g.tasks], dtype=float)
    )
    if not np.isfinite(changes).all():
        return Constant(means, {}, None)
    return Constant(
        means, {t.name: float(v) for t, v in zip(g.tasks, changes, strict=True)}, float(changes.mean())
    )
