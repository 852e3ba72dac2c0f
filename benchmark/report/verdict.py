"""Which row is ahead of which: the one rule that all of tiers, figures, `bench compare` and page follow.

A is *surely* ahead of B where the exact sign-flip test of their paired differences says so at `ALPHA` after
Holm's correction within its family, both rows have every planned seed, and the board ranks at all. The
families are the contrasts that plans named before their runs; where there are none, the comparisons of
methods with the protocol's baseline, and those of ablations and controls with it. A pair of neither is
corrected for all pairs of the board. Tiers group rows, and claim nothing. A row whose learning rate is not of
the same trials as the baseline's is sure of nothing, and has no tier; the others are ranked without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations
from typing import Any

import numpy as np
import pandas as pd

from benchmark.report import statistics
from benchmark.report.references import Other, References, beside, named, plainness
from benchmark.report.rows import Group, Row, canonical
from benchmark.report.statistics import ALPHA, Estimate
from benchmark.spec.weighting import matches

RANKED_SEEDS = 5  # fewer is development
APART = ("ablation", "control")  # roles of rows with a table and a family of tests of their own
AHEAD, BEHIND, UNSURE = "ahead", "behind", "cannot tell"
DEMONSTRATION = "A demonstration of the tool: too few images, steps and seeds to rank methods."
UNDERTRAINED = "Undertrained: no ranking"
UNTUNED = "Learning rates not by the same trials: no ranking"
TOO_FEW = "too few seeds to decide"
NEEDED = "; a difference of this size would need about {} more"
OUT_OF_REACH = "; no number of seeds that one would run decides a difference of this size"
LEARNT_IOU = 5.0  # percent, above which a class counts as learnt; half of those that occur must be
DOUBLED = 5.0  # percent of a primary score, by which twice the epochs may improve it


@dataclass(frozen=True)
class Comparison:
    """A row with another over the n units that both share with the reference.

    differences: {unit: difference in points of delta m}. estimate: their mean with its 95 % interval. p:
    exact two-sided sign-flip test. p_better: share of units in which the row is ahead, ties half. rho:
    correlation of the two over units, None below three. family: how many comparisons p_holm is corrected for;
    contrast: the name that a plan gave to this one, if it did. p_holm: None with too few seeds to decide.
    reason: why it is not sure, empty where it is.
    """

    differences: dict[int, float]
    estimate: Estimate
    p: float
    p_better: float
    rho: float | None
    family: int = 1
    contrast: str = ""
    p_holm: float | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """Return `AHEAD` or `BEHIND` where that is sure, else `UNSURE`."""
        return UNSURE if self.reason else AHEAD if self.estimate.value > 0 else BEHIND

    def turned(self) -> Comparison:
        """Return the comparison of the second row with the first."""
        e, negative = self.estimate, {unit: -value for unit, value in self.differences.items()}
        low, high = (None if bound is None else -bound for bound in (e.high, e.low))
        estimate = Estimate(-e.value, low, high, e.n)
        return replace(self, differences=negative, estimate=estimate, p_better=1 - self.p_better)


Side = Row | Other  # a row of the board, or its reference at another budget
Family = list[tuple[str, Side | None, Side | None]]  # (name of the contrast, first, second)
Tests = dict[frozenset[str], dict[str, Any]]  # {two labels: {contrast, family, p_holm} as of `Comparison`}


class Verdicts:
    """The verdicts on all pairs of rows of a group.

    reference: what delta m is relative to; of a pair that shares no seed with it, its second row.
    withheld: why the board ranks nothing, empty if it does.
    """

    def __init__(self, g: Group, reference: Row | None, others: References, withheld: str = "") -> None:
        self._g, self._reference, self._withheld = g, reference, withheld
        self._baseline = named(g.rows, g.protocol["baseline"])
        self._others = [*beside(g, others).values()]
        self._rows = [row for row in g.rows if g.shared(row)]
        self._bare: dict[tuple[str, str], Comparison | None] = {}

    def pair(self, a: Side, b: Side) -> Comparison | None:
        """Return the comparison of a with b, None where they share no seed."""
        key = frozenset((a.label, b.label))
        return self._judged(self._families.get(key) or self._every.get(key), a, b)

    def family(self, family: Family) -> list[Comparison | None]:
        """Return each pair's comparison, corrected for all of them; relative to a row of another group."""
        tests = self._tests([family])
        pairs = [(a, b) for _, a, b in family if a and b]
        return [self._judged(tests[frozenset((a.label, b.label))], a, b) for a, b in pairs]

    @property
    def contrasts(self) -> list[tuple[Side, Side, Comparison]]:
        """Return (first, second, comparison) of each contrast that a plan named."""
        return [
            (a, b, c)
            for name, a, b in chain(*self._named)
            if a and b and (c := self.pair(a, b)) and c.contrast == name
        ]

    def base(self, a: Row, b: Row) -> Row:
        """Return what the delta m of a pair is relative to: b where no seed of the reference serves both."""
        pairs = self._g.shared(a, b, self._reference) if self._reference else []
        defined = self._reference and pairs and self._g.scores(self._reference, pairs).mean(0).all()
        return self._reference if self._reference and defined else b

    def _compare(self, a: Side, b: Side) -> Comparison | None:
        """Return the bare comparison, uncorrected; None without shared seeds or where the reference is 0."""
        if isinstance(a, Other):
            found = None if isinstance(b, Other) else self._compare(b, a)
            return found and found.turned()
        g, key = self._g, (a.label, b.label)
        if key not in self._bare:
            self._bare[key] = None
            if isinstance(b, Other):
                pairs, base = b.scores(g, a)
                of_b = base
            else:
                reference = self.base(a, b)
                pairs = g.shared(a, b, reference)
                of_b, base = g.over(pairs, b, reference)
            if pairs and base.mean(0).all():
                scores = g.scores(a, pairs), of_b, base, g.signs
                d = statistics.differences(*scores)
                by_unit = dict(zip(g.units(pairs), d.tolist(), strict=True))
                gap, rho = statistics.difference(*scores), statistics.correlation(*scores)
                p, better = statistics.sign_flip(d), statistics.p_better(d)
                self._bare[key] = Comparison(by_unit, gap, p, better, rho)
        return self._bare[key]

    def _judged(self, test: dict[str, Any] | None, a: Side, b: Side) -> Comparison | None:
        bare = self._compare(a, b)
        if bare is None or test is None:
            return None
        found = replace(bare, **test)
        return replace(found, reason=self._reason(found, a, b))

    def _reason(self, c: Comparison, a: Side, b: Side) -> str:
        """Return why a comparison is not sure, empty where it is."""
        n, sides = len(c.differences), [x if isinstance(x, Other) else Other(self._g, x) for x in (a, b)]
        rows = [side.row for side in sides]
        untuned = sorted(row.label for row in rows if row.untuned(self._reference, self._baseline))
        whole = {x.label: side.g.whole(side.row) for x, side in zip((a, b), sides, strict=True)}
        if self._withheld or untuned:
            return self._withheld or f"{UNTUNED} for {' and '.join(untuned)}"
        if lacking := [label for label, complete in whole.items() if not complete]:
            return f"a planned seed of {' and '.join(lacking)} is missing"
        if c.estimate.low is None and n > 1:
            return "seeds without any spread say nothing of noise"
        needed = statistics.seeds_needed(np.array([*c.differences.values()]), c.family)
        more = OUT_OF_REACH if needed is None else NEEDED.format(max(1, needed - n))
        if c.p_holm is None:
            return f"{TOO_FEW}: {n} of {statistics.seeds_to_decide(c.family)}{more if n > 1 else ''}"
        return f"p = {c.p_holm:.2g}, corrected for {c.family}{more}" if c.p_holm > ALPHA else ""

    def _tests(self, families: Sequence[Family]) -> Tests:
        """Return the tests of the pairs of some families; of a pair in two, the one with the larger p."""
        found: Tests = {}
        for family in families:
            p = _corrected([self._compare(a, b) if a and b else None for _, a, b in family])
            for (name, a, b), corrected in zip(family, p, strict=True):
                key = frozenset(row.label for row in (a, b) if row)
                if key not in found or (corrected or 1.0) > (found[key]["p_holm"] or 1.0):
                    found[key] = {"contrast": name, "family": len(family), "p_holm": corrected}
        return found

    @cached_property
    def _every(self) -> Tests:
        return self._tests([[("", a, b) for a, b in combinations(self._rows, 2)]])

    @cached_property
    def _families(self) -> Tests:
        return self._tests(self._named or self._protocol())

    def _protocol(self) -> list[Family]:
        """Return the methods, and the further rows of methods, each against the protocol's baseline."""
        baseline, reference = (named(self._rows, self._g.protocol[r]) for r in ("baseline", "reference"))
        rows = [row for row in self._rows if baseline and row is not baseline and row is not reference]
        apart = [row for row in rows if further(self._g, row, self._rows)]
        plain = [row for row in rows if row not in apart]
        return [[("", row, baseline) for row in family] for family in (plain, apart) if family]

    @cached_property
    def _named(self) -> list[Family]:
        """Return the contrasts of each plan whose runs are on the board, with the rows that they mean.

        A contrast counts where every run of one of its rows kept it from before it ran; others of the plan,
        and those that were not run yet, are corrected for all the same.
        """
        plans: dict[str, list[dict[str, Any]]] = {}
        held: dict[str, str] = {}
        for row in self._rows:
            records = [r for pair in self._g.shared(row) for r in row.seeds[pair].records]
            kept = {canonical(r.spec.get("contrasts", [])) for r in records}
            if len(kept) == 1 and (contrasts := records[0].spec.get("contrasts")):
                held[row.label] = kept.pop()
                plans[held[row.label]] = contrasts
        families = []
        for plan, contrasts in sorted(plans.items()):
            family: Family = []
            for contrast in contrasts:
                first, second = contrast["first"], contrast["second"]
                if self._here(first) and self._here(second):
                    a, b = self._side(first), self._side(second)
                    keeps = any(isinstance(x, Row) and held.get(x.label) == plan for x in (a, b))
                    family.append((contrast["name"], a if keeps else None, b))
            families.append(family)
        return [family for family in families if family]

    def _here(self, side: dict[str, Any]) -> bool:
        """Tell whether a side of a contrast can be on this board: its labels and protocol keys are."""
        groups = [self._g, *(other.g for other in self._others)]
        keys = [key for key in side if key == "labels" or key in self._g.protocol]
        return any(all({**g.protocol, "labels": g.labels}[key] == side[key] for key in keys) for g in groups)

    def _side(self, side: dict[str, Any]) -> Side | None:
        """Return the row that a side means: the plainest that fits, else a reference at another budget."""
        rows = [row for row in self._rows if _fits(row.records[0].spec, side)]
        if rows:
            return min(rows, key=plainness)
        return next((o for o in self._others if _fits(o.row.records[0].spec, side)), None)


def _fits(spec: dict[str, Any], side: dict[str, Any]) -> bool:
    values = spec["protocol"] | spec["hyperparameters"] | {"lr_scale": 1.0} | spec
    tables = side.get("weighting")
    if tables is not None and not matches(spec["balance"], spec.get("weighting", {}), tables):
        return False
    return all(values.get(key) == value for key, value in side.items() if key != "weighting")


def _corrected(family: Sequence[Comparison | None]) -> list[float | None]:
    """Return the corrected p of a family, None where there are too few seeds; one without seeds has p = 1."""
    p = statistics.holm(np.array([c.p if c else 1.0 for c in family]))
    enough = [c is not None and statistics.decidable(len(c.differences), len(family)) for c in family]
    return [float(value) if able else None for value, able in zip(p, enough, strict=True)]


def tiers(g: Group, rows: Sequence[Row], reference: Row) -> list[int]:
    """Return the tier of each of the rows, the best first.

    A row shares its leader's tier unless the interval of their difference excludes 0 at level 1 - alpha over
    the number of all pairs, as the data choose the leader; then it opens the next tier.
    """
    level = 1 - ALPHA / max(1, len(rows) * (len(rows) - 1) // 2)
    found: list[int] = []
    leader = next(iter(rows), reference)
    for row in rows:
        pairs = g.shared(leader, row, reference)
        a, b, base = g.over(pairs, leader, row, reference)
        low = statistics.difference(a, b, base, g.signs, level).low
        opens = low is not None and low > 0
        leader = row if opens else leader
        found.append((found[-1] if found else 1) + opens)
    return found


def further(g: Group, row: Row, rows: Sequence[Row]) -> str:
    """Return "control" where the protocol says so, "ablation" where a plainer row of the method is, or ""."""
    if row.method in g.protocol["controls"]:
        return "control"
    return "" if row is named([r for r in rows if r.balance == row.balance], row.method) else "ablation"


def withheld(g: Group, reference: Row | None, baseline: Row | None) -> str:
    """Return why a board ranks nothing: demonstration, undertrained, or untuned; empty where it ranks.

    Undertrained: the reference or the baseline has fewer than half of the classes that occur above
    `LEARNT_IOU`, or the protocol's trial of twice the epochs improved a primary score of theirs by more than
    `DOUBLED`. Untuned: their learning rates, which turn the sign of delta m, are not of the same trials.
    """
    if g.protocol["demonstration"]:
        return DEMONSTRATION
    rows = [row for row in (reference, baseline) if row]
    for row, task in ((row, task) for row in rows for task in g.tasks if task.kind == "classes"):
        metrics = pd.DataFrame([row.seeds[pair].metrics[task.name] for pair in g.shared(row)])
        means = metrics.filter(regex="^IoU/").mean()
        learnt = int((means > LEARNT_IOU).sum())
        if 2 * learnt < len(means):
            found = f"{learnt} of {len(means)} classes of {task.name} above {LEARNT_IOU:g} % IoU"
            return f"{UNDERTRAINED}: {row.label} has {found}."
    for trial, gain in sorted(g.protocol["doubled"].items()):
        method, *_, task_name = trial.split()
        if gain > DOUBLED and method in {row.method for row in rows}:
            return f"{UNDERTRAINED}: twice the epochs improve {task_name} of {method} by {gain:.3g} %."
    lacking = sorted(row.label for row in rows if row.untuned(reference, baseline))
    return f"{UNTUNED}; none for {', '.join(lacking)}." if lacking else ""
