"""Boards: the rows of a group with their scores, differences, intervals and tiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from benchmark.report import references, statistics, verdict
from benchmark.report.grouping import file_name, group
from benchmark.report.images import Resampled
from benchmark.report.records import Collection
from benchmark.report.references import named
from benchmark.report.reruns import Rerun
from benchmark.report.rows import Group, Pair, Row, TaskInfo
from benchmark.report.statistics import Array, Estimate, Split
from benchmark.report.verdict import APART, RANKED_SEEDS, Comparison, Verdicts


@dataclass(eq=False)
class Entry:
    """A row on its board; numbers that are not defined are None or absent.

    role: "reference", "baseline", "ablation" or "control" (see `verdict.further`), or "". tier: a number from
    1, "tuning" where a part of the train images judged, "demonstration" or "undertrained" where the board
    ranks nothing, "untuned" where its rate is not of the same trials as the baseline's, its role for one of
    `APART`, "development" below `RANKED_SEEDS`, "incomplete" while a planned seed failed or is missing, or ""
    without delta m.
    """

    board: Board
    row: Row
    role: str
    tier: str = ""

    @property
    def label(self) -> str:
        """Return the name of the row."""
        return self.row.label

    @cached_property
    def units(self) -> tuple[int, ...]:
        """Return the units (label seeds, see `Group`) that are complete."""
        return self.board.group.units(self.row.seeds)

    @cached_property
    def metrics(self) -> dict[str, dict[str, Array]]:
        """Return {task: {metric, the primary one first: its values over complete units}}."""
        seeds = [self.row.seeds[pair] for pair in self.board.group.shared(self.row)]
        return {t.name: _shared(t, [s.metrics[t.name] for s in seeds]) for t in self.board.group.tasks}

    @cached_property
    def pairs(self) -> list[Pair]:
        """Return the seeds that the row shares with the reference; delta m rests on them alone."""
        reference = self.board.references[0]
        return self.board.group.shared(self.row, reference) if reference else []

    @cached_property
    def paired(self) -> tuple[int, ...]:
        """Return the units of `pairs`."""
        return self.board.group.units(self.pairs)

    @cached_property
    def _scores(self) -> tuple[Array, Array]:
        """Return (n, T) scores of the row and of the reference over `pairs`."""
        g, reference = self.board.group, self.board.references[0]
        return g.scores(self.row, self.pairs), g.scores(reference or self.row, self.pairs)

    @cached_property
    def undefined(self) -> tuple[str, ...]:
        """Return the tasks on which the reference scores 0, so that there is no delta m."""
        means = self._scores[1].mean(0) if self.pairs else ()
        return tuple(t.name for t, mean in zip(self.board.group.tasks, means, strict=False) if mean == 0)

    @cached_property
    def delta(self) -> Estimate | None:
        """Return delta m; that of the reference is 0, without an interval."""
        defined = self.pairs and not self.undefined
        return statistics.delta_m(*self._scores, self.board.group.signs) if defined else None

    @cached_property
    def changes(self) -> dict[str, Estimate]:
        """Return {task: relative change in %}."""
        g = self.board.group
        changes = statistics.task_changes(*self._scores, g.signs) if self.delta else ()
        return {task.name: change for task, change in zip(g.tasks, changes, strict=False)}

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Return {unit: delta m plus its influence}: their mean is delta m, their spread its interval."""
        if self.delta is None:
            return {}
        values = self.delta.value + statistics.influence(*self._scores, self.board.group.signs).mean(-1)
        values = values * (self.role != "reference")  # there nothing but rounding
        return dict(zip(self.paired, values.tolist(), strict=True))

    @cached_property
    def compared(self) -> Comparison | None:
        """Return the comparison with the baseline, over the seeds that both share with the reference."""
        reference, baseline = self.board.references
        if not reference or not baseline or self.row is baseline:
            return None
        shared = self.board.group.shared(self.row, baseline, reference)
        return self.board.verdicts.pair(self.row, baseline) if shared else None

    @property
    def decidable(self) -> bool | None:
        """Tell whether seeds are enough to test against the baseline; None where nothing is to be tested."""
        reference, baseline = self.board.references
        tested = reference and reference.seeds and baseline and self.row.seeds
        if not tested or self.row is baseline:
            return None
        return self.compared is not None and self.compared.p_holm is not None

    @cached_property
    def against(self) -> dict[str, Estimate]:
        """Return {name as in `references.references`: delta m against that reference}."""
        g = self.board.group
        others = self.board.others.items() if self.units else ()
        return {name: e for name, other in others if (e := references.against(g, self.row, other))}

    @property
    def definitions(self) -> dict[str, float | None]:
        """Return {column: delta m by another definition}."""
        reference, flat, by_task = self.board.references[0], None, None
        if reference and self.delta:
            flat, by_task = references.definitions(self.board.group, self.row, reference, self.pairs)
        return {"delta_m_all_metrics": flat, "delta_m_task_mean": by_task}

    @property
    def images(self) -> dict[str, Estimate | None]:
        """Return {column: interval over test images}: of delta m less the baseline's, of primary metrics."""
        g, (reference, baseline), over = self.board.group, self.board.references, self.board.images
        versus = None
        if reference and baseline and self.compared and self.row is not reference:
            shared = g.shared(self.row, baseline, reference)
            versus = over.difference(self.row, baseline, reference, shared)
        scores = over.scores(self.row)
        return {"vs_baseline": versus, **{f"{t.name}_{t.metric}": scores[t.name] for t in g.tasks}}

    @cached_property
    def variance(self) -> dict[str, Split]:
        """Return {task, or `references.DELTA_M`: the split of its noise into label seed and train seed}."""
        return references.splits(self.board.group, self.row, self.board.references[0])


class Board:
    """One leaderboard.

    entries: by delta m, those without one last, ablations after the methods. references: the rows of
    reference and baseline, of which reference and baseline are the entries. others: the references of other
    groups. withheld: why nothing is ranked, empty if it is. reruns: {row: its re-run floor} of rows of which
    seeds were run a second time.
    """

    def __init__(self, g: Group, groups: Sequence[Group] = ()) -> None:
        self.group, self.name = g, file_name(g)
        self.reruns: dict[str, Rerun] = {}
        self.references = reference, baseline = [
            named(g.rows, g.protocol[role]) for role in ("reference", "baseline")
        ]
        self.withheld = verdict.withheld(g, reference, baseline)
        self.others, self.images = references.references(g, groups), Resampled(g)
        self.verdicts = Verdicts(g, reference, self.others, self.withheld)
        entries = [Entry(self, row, self._role(row)) for row in g.rows]
        entries.sort(
            key=lambda e: (
                e.role in APART,
                -e.delta.value if e.delta else math.inf,
                e.label,
            )
        )
        self.entries = tuple(entries)
        for entry in entries:
            entry.tier = self._unranked(entry)
        ranked = [entry for entry in entries if entry.tier == _RANKED]
        tiers = verdict.tiers(g, [e.row for e in ranked], reference) if reference else []
        for entry, tier in zip(ranked, tiers, strict=True):
            entry.tier = str(tier)
        self.reference, self.baseline = (
            next((e for e in entries if e.row is row), None) for row in self.references
        )

    @property
    def compares(self) -> bool:
        """Tell whether it holds more than references."""
        return any(row.method != self.group.protocol["reference"] for row in self.group.rows)

    def _role(self, row: Row) -> str:
        if row in self.references:
            return "reference" if row is self.references[0] else "baseline"
        return verdict.further(self.group, row, self.group.rows)

    def _unranked(self, entry: Entry) -> str:
        """Return what stands in place of the tier of a row, `_RANKED` where it is ranked."""
        g, reference = self.group, self.references[0]
        if g.protocol["judge"] != "test":
            return "tuning"
        if entry.delta is None or reference is None:
            return ""
        if self.withheld:
            kinds = {verdict.DEMONSTRATION: "demonstration", verdict.UNDERTRAINED: "undertrained"}
            return next((tier for start, tier in kinds.items() if self.withheld.startswith(start)), "untuned")
        if entry.row.untuned(*self.references):
            return "untuned"
        if len(entry.paired) < RANKED_SEEDS:
            return "development"
        if not g.whole(entry.row):
            return "incomplete"
        return entry.role if entry.role in APART else _RANKED

    @cached_property
    def lead(self) -> list[Entry]:
        """Return the row with the highest delta m and the next, or the reference where none is above it.

        Among rows that have every planned seed, where one besides the reference does. Empty without a row,
        one where there is no second.
        """
        current = [e for e in self.entries if e.delta and e.role not in APART]
        current = [e for e in current if e.tier != "untuned"] or current
        whole = [e for e in current if self.group.whole(e.row)]
        ordered = whole if any(e.role != "reference" for e in whole) else current
        best = next((e for e in ordered if e.role != "reference"), None)
        if best is None or best.delta is None:
            return []
        second = next((e for e in ordered if e is not best), None) if best.delta.value > 0 else self.reference
        return [best, second] if second else [best]

    @cached_property
    def constant(self) -> dict[str, dict[str, float]]:
        """Return {task: {metric, the primary one first: mean}} of the best constant prediction over seeds."""
        found: dict[str, dict[str, float]] = {}
        records = sorted((r for row in self.group.rows for r in row.records), key=lambda r: r.id)
        for task in self.group.tasks:
            by_pair: dict[Pair, dict[str, float]] = {}
            for record in (r for r in records if task.name in r["constant"]):
                pair = record.spec["label_seed"], record.spec["train_seed"]
                by_pair.setdefault(pair, record["constant"][task.name])
            floors = _shared(task, [by_pair[pair] for pair in sorted(by_pair)])
            found[task.name] = {name: float(values.mean()) for name, values in floors.items()}
        return found


def _shared(task: TaskInfo, seeds: Sequence[Mapping[str, float]]) -> dict[str, Array]:
    """Return {metric, the primary one first: values over seeds} of the metrics that every seed has."""
    table = pd.DataFrame(seeds, dtype=float).dropna(axis=1)
    names = sorted(table, key=lambda name: (name != task.metric, name))
    return {str(name): table[name].to_numpy() for name in names}


_RANKED = "ranked"  # until the tiers are known


def build(collection: Collection, current: Mapping[str, int] | None = None) -> list[Board]:
    """Return the boards of a collection, in the order of their names.

    References of another budget have no board of their own where one with other rows shows them. current:
    {method: its version today}; runs of earlier versions are in none. Raises `UserError` where records must
    not be compared.
    """
    groups = group(collection, current)
    boards = sorted((Board(g, groups) for g in groups), key=lambda board: board.name)
    comparing = [b for b in boards if b.compares]
    shown = [other.g for b in comparing for other in references.beside(b.group, b.others).values()]
    return [b for b in boards if b.compares or not any(b.group is g for g in shown)]
