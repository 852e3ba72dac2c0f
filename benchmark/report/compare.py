"""'Is A better than B here?': the verdict on two rows of a board, as a paragraph and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.report import statistics
from benchmark.report.board import Board, Entry
from benchmark.report.formats import counted, fixed, interval, with_interval
from benchmark.report.grouping import away, title, value_text
from benchmark.report.references import Other, named, same_data, unnamed
from benchmark.report.reruns import pooled
from benchmark.report.rows import Row
from benchmark.report.statistics import ALPHA, Estimate
from benchmark.report.verdict import AHEAD, BEHIND, UNSURE, Comparison

_COSTS = {
    "operations": "operations in training",
    "cpu_seconds": "CPU time",
    "gpu_hours": "GPU time",
    "peak_gib": "memory",
    "params_train": "parameters in training",
    "params_infer": "parameters in inference",
}
ENCODER = ("encoder", "weights")  # in which boards may differ that are compared across encoders
_WORDS = {AHEAD: "yes", BEHIND: "no", UNSURE: "cannot tell"}
Answer = dict[str, Any]


def entry(board: Board, name: str) -> Entry | None:
    """Return the row that a name means: a label as the board prints it, or a method's plainest row."""
    row = named(board.group.rows, name)
    labels = [name, *([row.label] if row else [])]
    return next((e for label in labels for e in board.entries if e.label == label), None)


def _costs(a: Entry, b: Entry) -> dict[str, float]:
    """Return {what: a's cost over b's}; times of one device alone, and none that a busy machine lengthens."""
    mine, other = a.row.cost, b.row.cost
    timed = mine["device"] == other["device"]
    apart = {"cpu_seconds": not timed or not mine["device"].startswith("CPU "), "gpu_hours": not timed}
    keys = (k for k in _COSTS if not apart.get(k))
    return {k: mine[k] / other[k] for k in keys if mine[k] is not None and other[k]}


def _numbers(c: Comparison, tasks: dict[str, Estimate]) -> Answer:
    return {
        "verdict": _WORDS[c.verdict],
        "reason": c.reason,
        "difference": asdict(c.estimate),
        "tasks": {task: asdict(estimate) for task, estimate in tasks.items()},
        "seeds": {str(unit): value for unit, value in c.differences.items()},
        "p": c.p,
        "p_holm": c.p_holm,
        "comparisons": c.family,
    }


def answer(board: Board, a: Entry, b: Entry) -> Answer | None:
    """Return the numbers of a against b by name, with a paragraph; None where they share no complete seed.

    relative_to: what delta m is relative to; b itself where the board's reference shares no seeds. tasks: the
    parts of the difference, which is their mean. cost: {what: a's over b's}. rerun: the re-run floor of both
    rows together.
    """
    g, c = board.group, board.verdicts.pair(a.row, b.row)
    if c is None:
        return None
    reference = board.verdicts.base(a.row, b.row)
    pairs = g.shared(a.row, b.row, reference)
    of_a, of_b, base = g.over(pairs, a.row, b.row, reference)
    changes = statistics.changes(of_a, base, g.signs) - statistics.changes(of_b, base, g.signs)
    influence = statistics.influence(of_a, base, g.signs) - statistics.influence(of_b, base, g.signs)
    parts = zip(g.tasks, changes, influence.T, strict=True)
    tasks = {t.name: statistics.estimate(float(change), psi) for t, change, psi in parts}
    images = board.images.difference(a.row, b.row, reference, pairs)
    again, mine, other = pooled(board.reruns.get(e.label) for e in (a, b)), a.row.cost, b.row.cost
    found = {"board": board.name, "a": a.label, "b": b.label, **_numbers(c, tasks)}
    found |= {
        "relative_to": reference.label,
        "difference_over_images": images and asdict(images),
        "contrast": c.contrast,
        "alpha": ALPHA,
        "seeds_to_decide": statistics.seeds_to_decide(c.family),
        "p_better": c.p_better,
        "rho": c.rho,
        "cost": _costs(a, b),
        "same_device": mine["device"] == other["device"],
        "rerun": again and {"sd": again.sd, "n": again.n},
    }
    return found | {"text": _paragraph(board, found, c.estimate, images, tasks)}


def _paragraph(
    board: Board, found: Answer, gap: Estimate, images: Estimate | None, tasks: dict[str, Estimate]
) -> str:
    """Return the answer first, then its numbers: difference, seeds, tasks and cost."""
    g, a, b = board.group, found["a"], found["b"]
    where = " on held-out train images, for tuning only" if g.protocol["judge"] != "test" else ""
    said = f"Cannot tell{where}: {found['reason'].rstrip('.')}."
    if not found["reason"]:
        better, worse = (a, b) if found["verdict"] == "yes" else (b, a)
        said = f"{found['verdict'].capitalize()}: {better} is better than {worse}{where}."
    numbers = (
        f"Δm of {a} is {fixed(abs(gap.value), 1)} points {'above' if gap.value >= 0 else 'below'} that of {b}"
    )
    if gap.low is not None:
        numbers += f" (relative to {found['relative_to']}), 95 % interval {interval(gap)}"
    numbers += f" over {counted(gap.n, 'train seed' if g.fixed_mask else 'label seed')}"
    numbers += f", and {interval(images)} over {images.n} test images" if images else ""
    numbers += _test(found["p_holm"], counted(found["comparisons"], "comparison"))
    numbers += "; one mask of labels, so training noise only." if g.fixed_mask else "."
    ahead, seeds = sum(d > 0 for d in found["seeds"].values()), counted(len(found["seeds"]), "seed")
    rho = "" if found["rho"] is None else f"; correlation of the two over seeds {fixed(found['rho'], 2)}"
    listed = ", ".join(f"{task} {with_interval(estimate)}" for task, estimate in tasks.items())
    text = (
        f"{title(g)}: {said} {numbers} {a} is ahead in {ahead} of {seeds} (P(better) {found['p_better']:.2f})"
        f"{rho}. By task, in points: {listed}."
    )
    if again := found["rerun"]:
        text += (
            f" Run again, one run scatters with a standard deviation of {fixed(again['sd'], 2)} points of Δm "
            f"({counted(again['n'], 'seed')} run twice)."
        )
    if found["cost"]:
        ratios = ", ".join(f"{_COSTS[what]} {ratio:.2g}x" for what, ratio in found["cost"].items())
        text += f" Cost of {a} over {b}: {ratios}."
    return text


def _test(p_holm: float | None, corrected: str) -> str:
    return "" if p_holm is None else f"; exact sign-flip test, corrected for {corrected}: p = {p_holm:.2g}"


def twins(boards: Sequence[Board], a: str, b: str) -> list[tuple[Board, Board]]:
    """Return the pairs of boards that two encoders or names of boards mean; none where neither means any.

    Raises `UserError` where one means none, both mean one, or every pair differs in more than the encoder.
    """
    sides = [[x for x in boards if name in (x.name, x.group.protocol["encoder"])] for name in (a, b)]
    if not any(sides):
        return []
    for name, side in zip((a, b), sides, strict=True):
        if not side:
            known = {x for board in boards for x in (board.name, board.group.protocol["encoder"])}
            raise unknown("board or encoder", name, known)
    pairs = [(x, y) for x in sides[0] for y in sides[1] if x is not y]
    if not pairs:
        raise UserError(f"{a} and {b} mean one board; name two encoders, or two boards by their names.")
    differing = [(other_values(*pair), pair) for pair in pairs]
    values, (x, y) = min(differing, key=lambda each: len(each[0]))
    if values:
        raise UserError(
            f"{x.name} and {y.name} differ in more than encoder and weights: {', '.join(values)}; run both "
            "with the same values."
        )
    return [pair for values, pair in differing if not values]


def other_values(a: Board, b: Board) -> list[str]:
    """Return `["epochs (20 and 10)"]`: in what two boards differ beside the encoder and its weights."""
    values = [unnamed(g.protocol) | {"dataset": g.variant, "labels": g.labels} for g in (a.group, b.group)]
    keys = [key for key, value in values[0].items() if key not in ENCODER and value != values[1].get(key)]
    found = [f"{key} ({value_text(values[0][key])} and {value_text(values[1].get(key))})" for key in keys]
    return found or ([] if same_data(a.group, b.group) else ["the images or labels themselves"])


def _own(row: Row) -> dict[str, Any]:
    """Return what a row is but for its learning rate, of which each encoder may have its own."""
    values = away(row.records[0].spec) | {"version": row.version}
    return {name: value for name, value in values.items() if name not in ("lr_scale", "tuned")}


def across(a: Board, b: Board) -> tuple[list[Answer], list[str]]:
    """Return how each row fares with the encoder of one board against that of another, seed by seed.

    The boards differ as `other_values` allows. Numbers as of `answer`, delta m relative to the same row on
    the other board, corrected for all rows; and the labels of rows that the two have not both, with the same
    hyperparameters and a seed in common.
    """
    sides = [{e.label: e.row for e in x.entries if e.row.seeds} for x in (a, b)]
    both = [(row, sides[1][label]) for label, row in sides[0].items() if label in sides[1]]
    rows = [(x, Other(b.group, y, where=f"on {b.name}")) for x, y in both if _own(x) == _own(y)]
    found, names, g = list[Answer](), [encoder_name(board) for board in (a, b)], a.group
    for (own, on_b), c in zip(rows, a.verdicts.family([("", *pair) for pair in rows]), strict=True):
        if c is None:
            continue
        c = c if c.reason else replace(c, reason=b.withheld)
        pairs, base = on_b.scores(g, own)
        changes = statistics.task_changes(g.scores(own, pairs), base, g.signs)
        tasks = dict(zip((t.name for t in g.tasks), changes, strict=True))
        rates = [row.records[0].spec.get("lr_scale", 1.0) for row in (own, on_b.row)]
        about = {"boards": [a.name, b.name], "encoders": names, "row": own.label}
        found.append(about | _numbers(c, tasks) | {"lr_scale": rates})
        said = f"Cannot tell: {c.reason.rstrip('.')}"
        if not c.reason:
            said = f"{_WORDS[c.verdict].capitalize()}: better with {names[c.verdict == BEHIND]}"
        numbers = f"{with_interval(c.estimate)} % over {counted(c.estimate.n, 'seed')}"
        numbers += _test(c.p_holm, counted(c.family, "row"))
        x, y = rates
        rate = f" Learning rates: {x:g} and {y:g} times the protocol's." if x != y else ""
        found[-1]["text"] = (
            f"{own.label}: {said}. {names[0]} over {names[1]}: {numbers}. By task: "
            f"{', '.join(f'{task} {with_interval(estimate)}' for task, estimate in tasks.items())}.{rate}"
        )
    told = {each["row"] for each in found}
    return found, [label for label in sides[0] | sides[1] if label not in told]


def encoder_name(board: Board) -> str:
    """Return a board's encoder, with its weights where it has any."""
    encoder, weights = (str(board.group.protocol[key]) for key in ENCODER)
    return encoder + (f" ({weights})" if weights != "none" else "")
