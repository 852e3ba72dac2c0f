"""The statistics of a board. Arrays are (..., n, T): n independent units (label seeds), T tasks, one primary
metric each.

Delta m is the mean over tasks of the signed relative change against a reference, in percent, higher is better
(Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks: A Survey", TPAMI 2021, equation 11). The
reference is itself an
estimate: every interval here carries its noise, by the delta method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

ALPHA = 0.05
ROUNDING = 1e-9  # percent: below the rounding of records


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval. n: units. Below two units, and where all units agree exactly, the
    interval is None: values without any spread come from repetitions of one run, and say nothing about
    noise."""

    value: float
    low: float | None
    high: float | None
    n: int

    def excludes_zero(self) -> bool | None:
        """None where there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Spread:
    """The mean of n numbers and their standard deviation (n - 1 in the denominator), which is None below
    two.
    """

    mean: float
    sd: float | None
    n: int


def spread(values: Array) -> Spread:
    """Mean and standard deviation of values (n,)."""
    return Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


def changes(scores: Array, reference: Array, signs: Array) -> Array:
    """(..., T) signed relative change of the mean score against the mean reference, in percent.

    Means are divided, not single seeds: the mean of ratios is biased upward, E[1/B] being about (1 +
    cv^2)/E[B].
    signs: (T,) +1 where higher is better, else -1. Infinite or NaN where a mean reference is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(100 * signs * (scores.mean(-2) / reference.mean(-2) - 1))


def influence(scores: Array, reference: Array, signs: Array) -> Array:
    """(..., n, T) influence of each unit on `changes`; the mean over T is psi_i, that on delta m. Its mean
    over n is 0.

    psi_it = 100 s_t [(M_ti - mean M_t) / mean S_t - (mean M_t / mean S_t^2) (S_ti - mean S_t)], M and S
    paired by unit.
    """
    centre, base = scores.mean(-2, keepdims=True), reference.mean(-2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(100 * signs * ((scores - centre) / base - centre / base**2 * (reference - base)))


def half_width(psi: Array, level: float = 0.95) -> Array:
    """(...) half the width of the interval whose influence values are psi (..., n): t_{n-1} sd(psi) /
    sqrt(n), n > 1.
    """
    n = psi.shape[-1]
    # The quantile of t as scipy.stats has it, which takes half a second to import.
    return np.asarray(special.stdtrit(n - 1, (1 + level) / 2) * psi.std(-1, ddof=1) / np.sqrt(n))


def estimate(value: float, psi: Array) -> Estimate:
    """A value with the interval of its influence values psi (n,)."""
    n = len(psi)
    if n < 2 or float(np.ptp(psi)) < ROUNDING:
        return Estimate(value, None, None, n)
    half = float(half_width(psi))
    return Estimate(value, value - half, value + half, n)


def delta_m(scores: Array, reference: Array, signs: Array) -> Estimate:
    """Delta m of scores (n, T) against the reference (n, T), row i of both from the same unit."""
    psi = influence(scores, reference, signs).mean(-1)
    return estimate(float(changes(scores, reference, signs).mean()), psi)


def task_changes(scores: Array, reference: Array, signs: Array) -> list[Estimate]:
    """The relative change of each task, with its own interval."""
    values, psi = changes(scores, reference, signs), influence(scores, reference, signs)
    return [estimate(float(values[t]), psi[:, t]) for t in range(len(signs))]


def difference(a: Array, b: Array, reference: Array, signs: Array) -> Estimate:
    """Delta m of a minus delta m of b, with the interval of psi^a - psi^b: what they share of the reference's
    noise cancels.
    """
    with np.errstate(invalid="ignore"):
        value = float((changes(a, reference, signs) - changes(b, reference, signs)).mean())
    return estimate(value, (influence(a, reference, signs) - influence(b, reference, signs)).mean(-1))


def decidable(n: int, comparisons: int, alpha: float = ALPHA) -> bool:
    """Whether an exact two-sided sign-flip test on n pairs can reach alpha under Holm with this many
    comparisons.

    Its smallest p is 2^(1 - n), which Holm multiplies by the number of comparisons.
    """
    return n > 0 and comparisons * 2.0 ** (1 - n) <= alpha


def seeds_to_decide(comparisons: int, alpha: float = ALPHA) -> int:
    """The fewest pairs that make a family of comparisons decidable."""
    return next(n for n in range(1, 64) if decidable(n, max(comparisons, 1), alpha))
