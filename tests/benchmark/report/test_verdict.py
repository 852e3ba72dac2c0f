"""The one rule for 'A is ahead of B': families, correction, seeds, tiers, and boards that rank nothing."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import references, statistics, verdict
from benchmark.report.captions import UNKNOWN, facts
from benchmark.report.records import Record
from benchmark.report.references import Other, References
from benchmark.report.rows import Group, Row, Seed, TaskInfo
from benchmark.report.statistics import holm, sign_flip
from benchmark.report.verdict import AHEAD, BEHIND, UNSURE, Verdicts
from tests.benchmark.report import make

TASKS = (TaskInfo("semseg", "mIoU", "%", True, 64, "classes"), TaskInfo("depth", "absErr", "m", False, 64))
SIGNS = np.array([1.0, -1.0])
BASE = np.array([30.0, 0.4])
ALONE: References = {}
PROTOCOL: dict[str, Any] = {"reference": "single", "baseline": "multi", "demonstration": False}
PROTOCOL |= {"doubled": {}, "controls": [], "budget": "epochs"}
DIAGONAL = [(i, i) for i in range(99)]


def row(
    label: str, scores: np.ndarray, contrasts: Any = (), pairs: Any = DIAGONAL, tuning: str = make.RATES,
    **metrics: float,
) -> Row:  # fmt: skip
    """Return a row of scores (n, 2), by default on the seeds (0, 0), (1, 1), ..."""
    method, _, changed = label.partition("(")
    values = {"width": float(changed.rstrip(")").partition("=")[2])} if changed else {}
    common = {"protocol": PROTOCOL, "labels": "one", "balance": "equal", "tuning": tuning, "method": method}
    seeds = {}
    for (label_seed, train_seed), (iou, error) in zip(pairs, scores, strict=False):
        spec = common | {"tasks": ["semseg", "depth"], "hyperparameters": {"width": 1.0} | values}
        spec["contrasts"] = list(contrasts)
        found = {"semseg": {"mIoU": iou, **metrics}, "depth": {"absErr": error}}
        record = Record(Path(label), {"spec": spec, "metrics": found, "id": label}, None, None)
        seeds[label_seed, train_seed] = Seed(label_seed, train_seed, (record,))
    return Row(method, 1, values, "equal", label, {}, seeds, {}, {})


def group(*rows: Row, labels: str = "one", **protocol: Any) -> Group:
    """Return rows as a group."""
    return Group(PROTOCOL | protocol, "d", "v", labels, TASKS, rows, ())


def noisy(gains: dict[str, float], n: int, seed: int = 0, sd: float = 0.01) -> dict[str, np.ndarray]:
    """Return {label: scores (n, 2)}, each so many percent better than the base, with own noise."""
    rng = np.random.default_rng(seed)
    return {label: BASE * (1 + SIGNS * gain / 100 + sd * rng.normal(size=(n, 2)))
            for label, gain in gains.items()}  # fmt: skip


def made(gains: dict[str, float], n: int, contrasts: Any = (), **protocol: Any) -> tuple[Group, Verdicts]:
    """Return a group of noisy rows, and its verdicts."""
    g = group(*(row(label, scores, contrasts) for label, scores in noisy(gains, n).items()), **protocol)
    return g, Verdicts(g, g.rows[0], ALONE)


def bare(g: Group, a: Row, b: Row) -> float:
    """Return the p of two rows, from scipy and the definition of the paired differences."""
    x, y, base = (np.array([[seed.metrics[t.name][t.metric] for t in TASKS] for seed in r.seeds.values()])
                  for r in (a, b, g.rows[0]))  # fmt: skip
    centre = base.mean(0)
    d = 100 * SIGNS * ((x - y) / centre - (x - y).mean(0) * (base - centre) / centre**2)
    found = scipy_stats.permutation_test((d.mean(1),), np.sum, permutation_type="samples", n_resamples=np.inf)
    return float(found.pvalue)


GAINS = {"single": 0.0, "multi": 2.0, "good": 6.0, "equal": 2.1, "bad": -3.0}


def test_without_named_contrasts_methods_are_tested_against_the_baseline() -> None:
    g, verdicts = made(GAINS | {"good(width=2)": 9.0, "good(width=3)": 2.3}, 9)
    rows = {r.label: r for r in g.rows}
    for family in (("good", "equal", "bad"), ("good(width=2)", "good(width=3)")):  # ablations by themselves
        p = holm(np.array([bare(g, rows[label], rows["multi"]) for label in family]))
        for label, corrected in zip(family, p, strict=True):
            found = verdicts.pair(rows[label], rows["multi"])
            assert found and found.family == len(family)
            assert found.p_holm == pytest.approx(corrected, abs=1e-9)
            assert (found.verdict == UNSURE) == (corrected > 0.05)
            back = verdicts.pair(rows["multi"], rows[label])
            assert back and back.p_holm == found.p_holm and back.estimate.value == -found.estimate.value
    good, bad = (verdicts.pair(rows[label], rows["multi"]) for label in ("good", "bad"))
    assert good and bad and (good.verdict, bad.verdict) == (AHEAD, BEHIND)
    assert verdicts.contrasts == []


def test_a_pair_that_is_no_contrast_is_corrected_for_all_pairs() -> None:
    g, verdicts = made(GAINS, 9)
    pairs = list(combinations(sorted(g.rows, key=lambda r: r.label), 2))
    corrected = holm(np.array([bare(g, a, b) for a, b in pairs]))
    for (a, b), p in zip(pairs, corrected, strict=True):
        found = verdicts.pair(a, b)
        assert found
        if "multi" not in (a.label, b.label) or "single" in (a.label, b.label):
            assert (found.family, found.p_holm) == (10, pytest.approx(p, abs=1e-9))
            assert (found.verdict == UNSURE) == (p > 0.05)
    few = made(GAINS, 8)[1].pair(g.rows[2], g.rows[4])  # 8 seeds: 10 pairs take 9
    assert few and few.p_holm is None and few.reason.startswith("too few seeds to decide: 8 of 9;")


def contrast(name: str, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "first": first, "second": second}


PLAN = [
    contrast("ours", {"method": "good", "width": 1.0}, {"method": "multi"}),
    contrast("ablation", {"method": "good", "width": 1.0}, {"method": "good", "width": 2.0}),
    contrast("steps", {"method": "multi"}, {"method": "single", "budget": "steps"}),
    contrast("elsewhere", {"method": "good", "labels": "random"}, {"method": "multi", "labels": "random"}),
]


def test_a_side_of_a_contrast_may_name_hyperparameters_of_a_weighting() -> None:
    g, _ = made({"single": 0.0, "good": 6.0, "bad": 1.0}, 9)
    sides = [{"method": "good", "weighting": {"amtl_g": {"gamma": value}}} for value in (1.0, 2.0, 3.0)]
    for r in g.rows:
        plan = [{"name": f"{s['weighting']}", "first": s, "second": {"method": "bad"}} for s in sides]
        for record in r.records:
            record.spec.update(balance="amtl_g", weighting={"gamma": 1.0}, contrasts=plan)
    named = [c.contrast for _, _, c in Verdicts(g, g.rows[0], ALONE).contrasts]
    assert named == ["{'amtl_g': {'gamma': 1.0}}"]


def test_named_contrasts_are_the_family() -> None:
    scores = noisy(GAINS | {"good(width=2)": 5.9, "at steps": 4.0}, 9)
    steps = row("single", scores.pop("at steps"))
    other = group(steps, budget="steps")
    steps.records[0].spec["protocol"] = PROTOCOL | {"budget": "steps"}
    g = group(*(row(label, values, PLAN) for label, values in scores.items()))
    rows = {r.label: r for r in g.rows}
    verdicts = Verdicts(g, rows["single"], {"equal_steps": Other(other, steps)})
    found = {c.contrast: (a.label, b.label, c) for a, b, c in verdicts.contrasts}
    sides = [("good", "multi"), ("good", "good(width=2)"), ("multi", "single at equal steps")]
    assert list(found) == ["ours", "ablation", "steps"] and [side[:2] for side in found.values()] == sides
    base = g.scores(steps, g.diagonal)
    against = sign_flip(statistics.differences(g.scores(rows["multi"], g.diagonal), base, base, SIGNS))
    plain = [bare(g, rows["good"], rows["multi"]), bare(g, rows["good"], rows["good(width=2)"]), against]
    assert [c.p_holm for *_, c in verdicts.contrasts] == pytest.approx(list(holm(np.array(plain))), abs=1e-9)
    assert (found["ours"][2].verdict, found["ablation"][2].verdict) == (AHEAD, UNSURE)
    # A side at another budget may come first: then the contrast is that of the two turned round.
    turned = [PLAN[2] | {"first": PLAN[2]["second"], "second": PLAN[2]["first"]}]
    again = group(*(row(label, values, turned) for label, values in scores.items()))
    ((a, b, c),) = Verdicts(again, again.rows[0], {"equal_steps": Other(other, steps)}).contrasts
    plain_first = found["steps"][2]
    assert (a.label, b.label, c.estimate.value) == (
        "single at equal steps",
        "multi",
        -plain_first.estimate.value,
    )
    assert (c.estimate.low, c.p_better) == (-(plain_first.estimate.high or 0), 1 - plain_first.p_better)
    # What is no contrast is no longer of a family of its own.
    unnamed = verdicts.pair(rows["bad"], rows["multi"])
    assert unnamed and (unnamed.family, unnamed.contrast) == (15, "")
    named = verdicts.pair(rows["multi"], rows["good"])
    assert named and (named.family, named.contrast, named.verdict) == (3, "ours", BEHIND)


def test_a_contrast_that_was_thought_of_after_the_runs_is_none() -> None:
    g, _ = made(GAINS, 9)
    late = [row(r.label, g.scores(r, g.diagonal), PLAN[:1] if r.label == "bad" else ()) for r in g.rows]
    g = group(*late)
    assert Verdicts(g, g.rows[0], ALONE).contrasts == []
    # Nor is one that some seeds lack, while one that was not run yet counts in the correction.
    scores = noisy({"single": 0.0, "multi": 2.0, "good": 6.0}, 9)
    g = group(*(row(label, values, PLAN) for label, values in scores.items()))
    ((_, _, found),) = Verdicts(g, g.rows[0], ALONE).contrasts
    assert found.contrast == "ours" and found.family == 2
    for r in g.rows:
        r.seeds[0, 0].records[0].spec["contrasts"] = []
    assert Verdicts(g, g.rows[0], ALONE).contrasts == []


def test_a_pair_that_two_plans_name_has_the_larger_p_in_both_directions() -> None:
    scores = noisy({"single": 0.0, "multi": 2.0, "good": 6.0, "bad": -3.0}, 9)
    back = [
        contrast("back", *({"method": side} for side in sides))
        for sides in (("multi", "good"), ("bad", "multi"))
    ]
    plans = {"good": PLAN[:1], "multi": back}
    g = group(*(row(label, values, plans.get(label, ())) for label, values in scores.items()))
    verdicts = Verdicts(g, g.rows[0], ALONE)
    found = verdicts.pair(g.rows[2], g.rows[1]), verdicts.pair(g.rows[1], g.rows[2])
    assert [c and (c.contrast, c.family, c.p_holm) for c in found] == [("back", 2, 2**-7)] * 2


def test_a_p_below_the_level_before_correction_alone_is_not_sure() -> None:
    gains = (made(GAINS | {"good": gain}, 9) for gain in np.linspace(2.2, 2.6, 41))
    every = [verdicts.pair(g.rows[2], g.rows[1]) for g, verdicts in gains]
    between = [c for c in every if c and c.p_holm and c.p <= 0.05 < c.p_holm]
    assert between and {c.verdict for c in between} == {UNSURE}


def test_a_row_that_lacks_a_planned_seed_and_seeds_without_spread_tell_nothing() -> None:
    scores = noisy(GAINS, 9)
    g = group(*(row(label, values[: 8 if label == "good" else 9]) for label, values in scores.items()))
    found = Verdicts(g, g.rows[0], ALONE).pair(g.rows[2], g.rows[1])
    assert found and found.verdict == UNSURE and found.reason == "a planned seed of good is missing"
    g = group(*(row(label, values[:1].repeat(9, 0)) for label, values in scores.items()))
    found = Verdicts(g, g.rows[0], ALONE).pair(g.rows[2], g.rows[1])
    assert found and found.p == 2**-8 and found.reason == "seeds without any spread say nothing of noise"
    g, _ = made(GAINS, 9)
    found = Verdicts(g, g.rows[0], ALONE, "why").pair(g.rows[2], g.rows[1])
    assert found and (found.verdict, found.reason) == (UNSURE, "why")


def test_a_pair_without_the_reference_is_relative_to_its_second_row() -> None:
    g, _ = made(GAINS, 9)
    found, base = Verdicts(g, None, ALONE).pair(g.rows[2], g.rows[1]), g.scores(g.rows[1], g.diagonal)
    plain = statistics.delta_m(g.scores(g.rows[2], g.diagonal), base, SIGNS)
    assert found and found.estimate == plain


def test_the_diagonal_of_a_grid_is_the_unit() -> None:
    grid = [(i, j) for i in range(4) for j in range(3)]
    values = noisy({"a": 0.0}, 12)["a"]
    g = group(row("a", values, pairs=grid))
    assert g.diagonal == {(0, 0), (1, 1), (2, 2)} and g.planned == (0, 1, 2)
    np.testing.assert_array_equal(g.scores(g.rows[0], g.rows[0].seeds), values[[0, 4, 8]])
    assert group(row("a", values, pairs=[(i, 9 - i) for i in range(5)])).planned == (0, 1, 2, 3, 4)
    assert group(row("a", values, pairs=[(i, 0) for i in range(5)])).planned == (0,)
    fixed = group(row("a", values, pairs=[(0, 0), (0, 1), (1, 1), (0, 2)]), labels="full")
    assert fixed.planned == (0, 1, 2) and fixed.diagonal == {(0, 0), (1, 1), (0, 2)}
    # All rows rest on the same seeds: one with others is incomplete.
    g = group(row("a", values, pairs=[(0, 0), (1, 1)]), row("b", values, pairs=[(0, 1), (1, 0)]))
    assert g.whole(g.rows[0]) and not g.whole(g.rows[1]) and g.shared(g.rows[1]) == []


def test_intervals_over_a_grid_cover_only_on_its_diagonal() -> None:
    rng, n, covered = np.random.default_rng(0), 6, []
    grid = [(i, j) for i in range(n) for j in range(n)]
    for _ in range(500):
        noise = rng.normal(size=(n, 1, 2)) + 1.5 * rng.normal(size=(1, n, 2)) + rng.normal(size=(n, n, 2))
        scores = BASE * (1 + 0.01 * noise)
        g = group(row("a", scores.reshape(-1, 2), pairs=grid))
        rests = g.scores(g.rows[0], grid), scores.mean(1)  # the diagonal, and what averages would give
        estimates = [statistics.delta_m(x, np.tile(BASE, (n, 1)), SIGNS) for x in rests]
        covered.append([e.low is None or e.high is None or e.low <= 0 <= e.high for e in estimates])
    diagonal, averaged = np.mean(covered, 0)
    assert diagonal == pytest.approx(0.95, abs=0.03) and averaged < 0.85


def test_a_row_leaves_a_tier_by_the_interval_at_the_level_of_all_pairs() -> None:
    scores = noisy({"single": 0.0, "multi": 20.0, "equal": 20.5, "good": 40.0}, 8)
    g = group(*(row(label, values) for label, values in scores.items()))
    single, multi, equal, good = g.rows
    assert verdict.tiers(g, [good, equal, multi, single], single) == [1, 2, 2, 3]
    assert verdict.tiers(g, [], single) == [] and verdict.tiers(g, [good], single) == [1]
    for gain in np.linspace(0.2, 3, 12):
        a, b = noisy({"a": gain, "b": 0.0}, 8, 7).values()
        fillers = [row(f"f{i}", BASE * (1 - SIGNS) + a * 0 + i) for i in range(4)]
        g = group(row("a", a), row("b", b), *fillers)
        gap = statistics.difference(a, b, b, SIGNS, 1 - 0.05 / 15)
        found = verdict.tiers(g, list(g.rows), g.rows[1])
        assert gap.low is not None and (found[1] == 2) == (gap.low > 0)


def classes(learnt: int, of: int = 4) -> dict[str, float]:
    return {f"IoU/{i}": 6.0 if i < learnt else 4.9 for i in range(of)}


def test_undertrained_boards_rank_nothing() -> None:
    def why(*rows: Row, **protocol: Any) -> str:
        g = group(*rows, **protocol)
        return verdict.withheld(g, g.rows[0], g.rows[-1])

    values = noisy({"a": 0.0}, 6)["a"]
    known = {"multi steps depth": 4.9, "other epochs depth": 90.0}
    good, bad = row("single", values, **classes(2)), row("multi", values, **classes(1))
    assert why(good, good, doubled=known) == ""
    assert why(good, bad) == "Undertrained: no ranking: multi has 1 of 4 classes of semseg above 5 % IoU."
    assert why(bad, good).startswith("Undertrained: no ranking: multi has")
    twice = why(good, row("multi", values, **classes(3)), doubled={"multi epochs depth": 5.1} | known)
    assert twice == "Undertrained: no ranking: twice the epochs improve depth of multi by 5.1 %."
    assert why(bad, bad, demonstration=True) == verdict.DEMONSTRATION
    assert why(good, row("multi", values, tuning=make.RATES.replace("on 2 seeds", "on 1 seed"))) == ""
    for how in ("", "9 trials on the last 10% of train", make.RATES.replace("0.5, 1", "1, 2")):
        lacking = why(good, row("multi", values, tuning=how))
        assert lacking == f"{verdict.UNTUNED}; none for multi."
    untuned = row("single", values, tuning=""), row("multi", values, tuning="")
    assert why(*untuned) == f"{verdict.UNTUNED}; none for multi, single."


def test_a_row_with_an_unsearched_rate_is_sure_of_nothing_and_leaves_the_others_ranked() -> None:
    scores = noisy(GAINS, 9)
    rows = [
        row(label, values, tuning="" if label == "good" else make.RATES) for label, values in scores.items()
    ]
    g = group(*rows, row("multi", scores["multi"] * 2, tuning=""))
    single, multi, good, _, bad, _ = g.rows
    assert verdict.withheld(g, single, multi) == "" and references.named(g.rows[::-1], "multi") is multi
    assert [r.untuned(single, multi) for r in g.rows] == [False, False, True, False, False, True]
    found = Verdicts(g, single, ALONE).pair(good, multi), Verdicts(g, single, ALONE).pair(bad, multi)
    assert found[0] and found[0].reason == f"{verdict.UNTUNED} for good" and found[0].verdict == UNSURE
    assert found[1] and found[1].verdict == BEHIND


def test_a_trial_in_the_shipped_protocol_is_known_to_earlier_runs(tmp_path: Path, monkeypatch: Any) -> None:
    from benchmark.report import grouping
    from benchmark.report.board import build
    from benchmark.report.records import collect

    make.write_board(tmp_path, seeds=2)
    (before,) = build(collect(tmp_path))
    assert ("training", f"{UNKNOWN} for multi_task, single_task") in facts(before) and not before.withheld
    shipped = (grouping.shipped_values("thin") or {}) | {"doubled": {"multi_task steps depth": 9.0}}
    monkeypatch.setattr(grouping, "shipped_values", lambda name: shipped)
    (after,) = build(collect(tmp_path))
    assert ("training", f"{UNKNOWN} for single_task") in facts(after) and after.withheld
    assert {e.tier for e in after.entries} == {"undertrained"}
