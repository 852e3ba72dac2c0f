"""'Is A better than B here?': the verdict on two rows of a board, as a paragraph and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report import statistics
from benchmark.report.board import Board, Entry
from benchmark.report.formats import counted, fixed, interval, signed, with_interval
from benchmark.report.images import Resampled
from benchmark.report.naming import title
from benchmark.report.references import named
from benchmark.report.reruns import Rerun, pooled
from benchmark.report.statistics import ALPHA, Estimate
from benchmark.report.verdict import AHEAD, BEHIND, UNSURE, Comparison

_COSTS = {
    "seconds": "training time",
    "peak_gib": "memory",
    "params_train": "parameters in training",
    "params_infer": "parameters in inference",
}
_WORDS = {AHEAD: "yes", BEHIND: "no", UNSURE: "cannot tell"}


@dataclass(frozen=True)
class Answer:
    """a against b on a board.

    found: their comparison with its verdict. reference: what delta m is relative to; b itself where the
    board's reference shares no seeds. tasks: the parts of the difference, which is their mean. images: the
    same difference with its interval over test images. cost: {what: a's over b's}. rerun: the re-run floor of
    both rows together.
    """

    board: Board
    a: Entry
    b: Entry
    reference: str
    found: Comparison
    tasks: dict[str, Estimate]
    images: Estimate | None
    cost: dict[str, float]
    same_device: bool
    rerun: Rerun | None

    @property
    def verdict(self) -> str:
        """Return "yes", "no" or "cannot tell"."""
        return _WORDS[self.found.verdict]


def entry(board: Board, name: str) -> Entry | None:
    """Return the row that a name means: a label as the board prints it, or a method's plainest row."""
    row = named(board.group.rows, name)
    labels = [name, *([row.label] if row else [])]
    return next((e for label in labels for e in board.entries if e.label == label), None)


def answer(board: Board, a: Entry, b: Entry) -> Answer | None:
    """Return a against b; None where they share no complete seed."""
    g, found = board.group, board.verdicts.pair(a.row, b.row)
    if found is None:
        return None
    reference = board.verdicts.base(a.row, b.row)
    pairs = g.shared(a.row, b.row, reference)
    of_a, of_b, base = (g.scores(row, pairs) for row in (a.row, b.row, reference))
    changes = statistics.changes(of_a, base, g.signs) - statistics.changes(of_b, base, g.signs)
    influence = statistics.influence(of_a, base, g.signs) - statistics.influence(of_b, base, g.signs)
    parts = zip(g.tasks, changes, influence.T, strict=True)
    tasks = {t.name: statistics.estimate(float(change), psi) for t, change, psi in parts}
    images = Resampled(g).difference(a.row, b.row, reference, pairs)
    floor = pooled(board.reruns.get(e.label) for e in (a, b))
    cost = {} if not (a.cost and b.cost) else {
        name: getattr(a.cost, name) / getattr(b.cost, name)
        for name in _COSTS
        if getattr(a.cost, name) is not None and getattr(b.cost, name)
    }  # fmt: skip
    same = not (a.cost and b.cost) or a.cost.device == b.cost.device
    return Answer(board, a, b, reference.label, found, tasks, images, cost, same, floor)


def paragraph(found: Answer) -> str:
    """Return the answer first, then its numbers: difference, seeds, tasks and cost."""
    c, a, b, g = found.found, found.a.label, found.b.label, found.board.group
    where = " on held-out train images, for tuning only" if g.protocol["judge"] != "test" else ""
    if c.verdict == UNSURE:
        said = f"Cannot tell{where}: {c.reason.rstrip('.')}."
    else:
        better, worse = (a, b) if c.verdict == AHEAD else (b, a)
        said = f"{found.verdict.capitalize()}: {better} is better than {worse}{where}."
    gap = c.estimate
    above = "above" if gap.value >= 0 else "below"
    numbers = f"Δm of {a} is {fixed(abs(gap.value), 1)} points {above} that of {b}"
    if gap.low is not None:
        numbers += f" (relative to {found.reference}), 95 % interval {interval(gap)}"
    numbers += f" over {counted(gap.n, 'train seed' if g.fixed_mask else 'label seed')}"
    if found.images:
        numbers += f", and {interval(found.images)} over {found.images.n} test images"
    if c.p_holm is not None:
        numbers += (
            f"; exact sign-flip test, corrected for {counted(c.family, 'comparison')}: p = {c.p_holm:.2g}"
        )
    numbers += "; one mask of labels, so training noise only." if g.fixed_mask else "."
    ahead, seeds = sum(d > 0 for d in c.differences.values()), counted(len(c.differences), "seed")
    rho = "" if c.rho is None else f"; correlation of the two over seeds {fixed(c.rho, 2)}"
    tasks = ", ".join(f"{task} {with_interval(estimate)}" for task, estimate in found.tasks.items())
    parts = [
        f"{title(g)}: {said}",
        numbers,
        f"{a} is ahead in {ahead} of {seeds} (P(better) {c.p_better:.2f}){rho}.",
        f"By task, in points: {tasks}.",
    ]
    if found.rerun:
        parts.append(
            f"Run again, one run scatters with a standard deviation of {fixed(found.rerun.sd, 2)} points of "
            f"Δm ({counted(found.rerun.n, 'seed')} run twice)."
        )
    if found.cost:
        ratios = ", ".join(f"{_COSTS[what]} {ratio:.2g}x" for what, ratio in found.cost.items())
        parts.append(
            f"Cost of {a} over {b}: {ratios}{'' if found.same_device else ' (on different devices)'}."
        )
    return " ".join(parts)


def summary(answers: Sequence[Answer]) -> str:
    """Return on how many boards the answer is what, and the mean difference; "" for fewer than two."""
    mean = overall(answers)
    if mean is None:
        return ""
    verdicts = [x.verdict for x in answers]
    counts = ", ".join(f"{word} on {verdicts.count(word)}" for word in _WORDS.values())
    return (
        f"Over {len(answers)} boards: {counts}; mean difference {signed(mean.value)} points, 95 % interval "
        f"{interval(mean)} (bootstrap of seeds within boards, narrow below 10 seeds; a summary of these "
        f"boards, not a test)."
    )


def overall(answers: Sequence[Answer]) -> Estimate | None:
    """Return the mean difference over boards, None for fewer than two."""
    cells = [np.array([*x.found.differences.values()]) for x in answers]
    return statistics.over_boards(cells) if len(answers) > 1 else None


def as_object(found: Answer) -> dict[str, Any]:
    """Return the numbers of an answer by name, with its paragraph."""
    c = found.found
    return {
        "board": found.board.name,
        "a": found.a.label,
        "b": found.b.label,
        "verdict": found.verdict,
        "reason": c.reason,
        "relative_to": found.reference,
        "difference": estimate_object(c.estimate),
        "difference_over_images": estimate_object(found.images),
        "tasks": {task: estimate_object(estimate) for task, estimate in found.tasks.items()},
        "seeds": {str(unit): value for unit, value in c.differences.items()},
        "p": c.p,
        "p_holm": c.p_holm,
        "comparisons": c.family,
        "contrast": c.contrast,
        "alpha": ALPHA,
        "seeds_to_decide": statistics.seeds_to_decide(c.family),
        "p_better": c.p_better,
        "rho": c.rho,
        "cost": found.cost,
        "same_device": found.same_device,
        "rerun": {"sd": found.rerun.sd, "n": found.rerun.n} if found.rerun else None,
        "text": paragraph(found),
    }


def estimate_object(found: Estimate | None) -> dict[str, Any] | None:
    """Return an estimate as plain values."""
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n} if found else None
