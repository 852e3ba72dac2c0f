"""The answer to 'is A better than B here?' as a paragraph and as an object for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.report.captions import demonstration
from benchmark.report.compare import Answer
from benchmark.report.formats import counted, fixed, interval, signed, with_interval
from benchmark.report.naming import title
from benchmark.report.statistics import ALPHA, Estimate, over_boards

_COSTS = {
    "seconds": "training time",
    "peak_gib": "memory",
    "params_train": "parameters in training",
    "params_infer": "parameters in inference",
}


def paragraph(found: Answer) -> str:
    """The answer first, then the difference with its intervals, the seeds, the tasks and what it costs."""
    parts = [_verdict(found), demonstration(found.board), _difference(found), _seeds(found), _tasks(found)]
    parts += [_rerun(found), _cost(found)]
    return f"{title(found.board.group)}: " + " ".join(part for part in parts if part)


def _verdict(found: Answer) -> str:
    a, b = found.a.label, found.b.label
    where = (
        " on held-out train images, for tuning only" if found.board.group.protocol["judge"] != "test" else ""
    )
    where += " in a demonstration" if found.board.group.protocol["demonstration"] else ""
    if found.verdict == "yes":
        return f"Yes: {a} is better than {b}{where}."
    if found.verdict == "no":
        return f"No: {b} is better than {a}{where}."
    return f"Cannot tell{where}: {_why(found)}."


def _why(found: Answer) -> str:
    n, apart = counted(len(found.units), "seed"), found.difference.excludes_zero()
    if found.failed:
        rows = " and ".join(found.failed)
        return f"{rows} failed or is incomplete on some seeds, and what it would have scored there is unknown"
    if found.p is None:
        reason = (
            f"{n} {'is' if len(found.units) == 1 else 'are'} too few for an exact test, which takes "
            f"{found.needed}"
        )
        return f"the interval excludes 0, but {reason}" if apart else reason
    if apart is None:
        return f"{n} without any spread give no interval"
    if apart:
        return f"the interval excludes 0, but the exact test does not (p = {found.p:.2g})"
    return f"over {n} the interval includes 0, so chance can explain the difference"


def _difference(found: Answer) -> str:
    gap, unit = found.difference, "train seed" if found.board.group.fixed_mask else "label seed"
    where = "above" if gap.value >= 0 else "below"
    text = f"Δm of {found.a.label} is {fixed(abs(gap.value), 1)} points {where} that of {found.b.label}"
    text += f" (relative to {found.reference}), 95 % interval {interval(gap)}" if gap.low is not None else ""
    text += f" over {counted(gap.n, unit)}"
    if found.images:
        text += f", and {interval(found.images)} over {found.images.n} test images"
    mask = "; one mask of labels, so training noise only" if found.board.group.fixed_mask else ""
    tested = "" if found.p is None else f"; exact sign-flip test of this pair alone: p = {found.p:.2g}"
    return f"{text}{tested}{mask}."


def _seeds(found: Answer) -> str:
    ahead = sum(d > 0 for d in found.found.differences.values())
    rho = (
        "" if found.found.rho is None else f"; correlation of the two over seeds {fixed(found.found.rho, 2)}"
    )
    share = f"P(better) {found.found.p_better:.2f}"
    return f"{found.a.label} is ahead in {ahead} of {counted(len(found.units), 'seed')} ({share}){rho}."


def _tasks(found: Answer) -> str:
    parts = ", ".join(f"{task} {with_interval(estimate)}" for task, estimate in found.tasks.items())
    return f"By task, in points: {parts}."


def _rerun(found: Answer) -> str:
    if found.rerun is None:
        return ""
    runs = counted(found.rerun.n, "seed")
    return (
        f"Run again, one run scatters with a standard deviation of {fixed(found.rerun.sd, 2)} points of "
        f"Δm ({runs} run twice)."
    )


def _cost(found: Answer) -> str:
    if not found.cost:
        return ""
    parts = ", ".join(f"{_COSTS[what]} {ratio:.2g}x" for what, ratio in found.cost.items())
    return f"Cost of {found.a.label} over {found.b.label}: {parts}" + (
        "." if found.same_device else " (on different devices)."
    )


def summary(answers: Sequence[Answer]) -> str:
    """Over several boards: on how many the answer is what, and the mean difference."""
    mean = overall(answers)
    if mean is None:
        return ""
    count = {verdict: sum(x.verdict == verdict for x in answers) for verdict in ("yes", "no", "cannot tell")}
    said = ", ".join(f"{verdict} on {n}" for verdict, n in count.items())
    return (
        f"Over {len(answers)} boards: {said}; mean difference {signed(mean.value)} points, 95 % interval "
        f"{interval(mean)} "
        f"(bootstrap of seeds within boards, narrow below 10 seeds; a summary of these boards, not a test)."
    )


def overall(answers: Sequence[Answer]) -> Estimate | None:
    """The mean difference over boards, None for fewer than two."""
    return (
        over_boards([np.array([*x.found.differences.values()]) for x in answers])
        if len(answers) > 1
        else None
    )


def as_object(found: Answer) -> dict[str, Any]:
    """The numbers of an answer by name, with its paragraph."""
    return {
        "board": found.board.name,
        "a": found.a.label,
        "b": found.b.label,
        "verdict": found.verdict,
        "relative_to": found.reference,
        "difference": estimate_object(found.difference),
        "difference_over_images": estimate_object(found.images),
        "tasks": {task: estimate_object(estimate) for task, estimate in found.tasks.items()},
        "seeds": {str(unit): value for unit, value in found.found.differences.items()},
        "p": found.p,
        "alpha": ALPHA,
        "seeds_to_decide": found.needed,
        "p_better": found.found.p_better,
        "rho": found.found.rho,
        "failed": list(found.failed),
        "cost": found.cost,
        "same_device": found.same_device,
        "rerun": {"sd": found.rerun.sd, "n": found.rerun.n} if found.rerun else None,
        "text": paragraph(found),
    }


def estimate_object(found: Estimate | None) -> dict[str, Any] | None:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n} if found else None
