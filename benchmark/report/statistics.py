"""The statistics of a board, from arrays alone.

Scores are (..., n, T): n independent units, T tasks, one primary metric each. Delta m is the mean over tasks
of the signed relative change against a reference, in percent, higher is better (Vandenhende et al.,
"Multi-Task Learning for Dense Prediction Tasks: A Survey", TPAMI 2021, equation 11). The reference is itself
an estimate: every interval here carries its noise, by the delta method. Two rows are compared by their paired
differences d (n,), in points of delta m: d_i = delta m of a minus delta m of b + psi^a_i - psi^b_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Pair = tuple[int, int]  # (label seed, train seed)

ALPHA = 0.05
ROUNDING = 1e-9  # percent: below the rounding of records
ENUMERATED = 36  # pairs up to which all sign flips are counted, a quarter of a million sums a half
DRAWN = 2**17  # sign flips drawn beyond that
LABEL_SEEDS, TRAIN_SEEDS = 4, 3  # the smallest grid whose components mean something
_TIE = 1e-12  # relative: sums of the same numbers in another order


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over n units.

    The interval is None below two units and where all units agree exactly: values without any spread come
    from repetitions of one run, and say nothing about noise.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def deviation(values: Array) -> float | None:
    """Return the standard deviation of values (n,) over n - 1, None below two."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def changes(scores: Array, reference: Array, signs: Array) -> Array:
    """Return the (..., T) signed relative changes of mean scores, in percent.

    Means are divided, not single seeds: the mean of ratios is biased upward, E[1/B] being about (1 +
    cv^2)/E[B]. signs: (T,) +1 where higher is better, else -1. Infinite or NaN where a mean reference is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(100 * signs * (scores.mean(-2) / reference.mean(-2) - 1))


def influence(scores: Array, reference: Array, signs: Array) -> Array:
    """Return the (..., n, T) influence of each unit on `changes`; its mean over n is 0.

    psi_it = 100 s_t [(M_ti - mean M_t) / mean S_t - (mean M_t / mean S_t^2) (S_ti - mean S_t)], M and S
    paired by unit; the mean over T is psi_i, the influence on delta m.
    """
    centre, base = scores.mean(-2, keepdims=True), reference.mean(-2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(100 * signs * ((scores - centre) / base - centre / base**2 * (reference - base)))


def half_width(psi: Array, level: float = 1 - ALPHA) -> Array:
    """Return (...) half the width of intervals from influence values psi (..., n).

    t_{n-1} sd(psi) / sqrt(n), for n > 1.
    """
    n = psi.shape[-1]
    # The quantile of t as scipy.stats has it, which takes half a second to import.
    return np.asarray(special.stdtrit(n - 1, (1 + level) / 2) * psi.std(-1, ddof=1) / np.sqrt(n))


def estimate(value: float, psi: Array, level: float = 1 - ALPHA) -> Estimate:
    """Return a value with the interval of its influence values psi (n,)."""
    n = len(psi)
    if n < 2 or float(np.ptp(psi)) < ROUNDING:
        return Estimate(value, None, None, n)
    half = float(half_width(psi, level))
    return Estimate(value, value - half, value + half, n)


def delta_m(scores: Array, reference: Array, signs: Array) -> Estimate:
    """Return delta m of scores (n, T), row i of both arrays being the same unit."""
    psi = influence(scores, reference, signs).mean(-1)
    return estimate(float(changes(scores, reference, signs).mean()), psi)


def task_changes(scores: Array, reference: Array, signs: Array) -> list[Estimate]:
    """Return the relative change of each task, with its own interval."""
    values, psi = changes(scores, reference, signs), influence(scores, reference, signs)
    return [estimate(float(values[t]), psi[:, t]) for t in range(len(signs))]


def difference(a: Array, b: Array, reference: Array, signs: Array, level: float = 1 - ALPHA) -> Estimate:
    """Return delta m of a minus delta m of b; the noise of the reference that they share cancels."""
    with np.errstate(invalid="ignore"):
        value = float((changes(a, reference, signs) - changes(b, reference, signs)).mean())
    psi = (influence(a, reference, signs) - influence(b, reference, signs)).mean(-1)
    return estimate(value, psi, level)


def differences(a: Array, b: Array, reference: Array, signs: Array) -> Array:
    """Return the (n,) paired differences; one below the rounding of records is 0, a tie."""
    value = (changes(a, reference, signs) - changes(b, reference, signs)).mean()
    found = value + (influence(a, reference, signs) - influence(b, reference, signs)).mean(-1)
    return np.where(np.abs(found) < ROUNDING, 0.0, found)


def sign_flip(d: Array) -> float:
    """Return the two-sided p of the exact sign-flip test of d (n,).

    The share of the 2^n ways to sign d whose sum is at least as far from 0, counted over all pairs of sums of
    two halves; beyond `ENUMERATED` pairs as (1 + hits) / (1 + drawn) over `DRAWN` ways, always the same. Its
    smallest value is 2^(1 - n). Where d and -d are equally likely, P(p <= alpha) <= alpha at any n (Fisher,
    The Design of Experiments, 1935, section 21).
    """
    observed = abs(float(d.sum())) - _TIE * float(np.abs(d).sum())
    if observed <= 0:
        return 1.0
    if len(d) > ENUMERATED:  # little-endian on every machine
        words = np.random.PCG64(0).random_raw(-(-DRAWN * len(d) // 64)).astype("<u8")
        bits = np.unpackbits(words.view(np.uint8))[: DRAWN * len(d)].reshape(DRAWN, len(d))
        return float((1 + (np.abs((1.0 - 2 * bits) @ d) >= observed).sum()) / (1 + DRAWN))
    halves = []
    for half in (d[::2], d[1::2]):
        sums = np.zeros(1)
        for x in half:
            sums = np.concatenate([sums + x, sums - x])
        halves.append(np.sort(sums))
    a, b = halves
    above = len(b) - np.searchsorted(b, observed - a)
    below = np.searchsorted(b, -observed - a, side="right")
    return float((above + below).sum()) / 2.0 ** len(d)


def holm(p: Array) -> Array:
    """Return the p values of a family (m,), corrected for each other.

    All claims below alpha hold together with probability 1 - alpha (Holm, "A Simple Sequentially Rejective
    Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979): the k-th smallest times m - k + 1,
    at least that of the ones before, at most 1.
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def decidable(n: int, comparisons: int, alpha: float = ALPHA) -> bool:
    """Tell whether the sign-flip test on n pairs can reach alpha under Holm.

    Its smallest p is 2^(1 - n), which Holm multiplies by the number of comparisons.
    """
    return n > 0 and comparisons * 2.0 ** (1 - n) <= alpha


def seeds_to_decide(comparisons: int, alpha: float = ALPHA) -> int:
    """Return the fewest pairs that make a family of comparisons decidable."""
    return next(n for n in range(1, 64) if decidable(n, max(comparisons, 1), alpha))


def seeds_needed(d: Array, comparisons: int, power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """Return about how many pairs would decide a mean difference and a spread as those of d (n,).

    The fewest that the sign-flip test needs at all, and at which a t test at alpha over the number of
    comparisons finds the difference with this power. None without a spread, or beyond a thousand.
    """
    if len(d) < 2 or float(np.ptp(d)) < ROUNDING:
        return None
    n, least = _found_from(comparisons, power, alpha)
    enough = n[abs(float(d.mean())) / float(d.std(ddof=1)) >= least]
    return int(enough[0]) if len(enough) else None


@lru_cache(maxsize=64)
def _found_from(comparisons: int, power: float, alpha: float) -> tuple[NDArray[np.int64], Array]:
    """Return numbers of pairs, and the least mean over spread that each finds."""
    n, level = np.arange(seeds_to_decide(comparisons, alpha), 1001), alpha / (2 * max(comparisons, 1))
    return n, (special.stdtrit(n - 1, 1 - level) + special.stdtrit(n - 1, power)) / np.sqrt(n)


def p_better(d: Array) -> float:
    """Return the share of units in which a is ahead, ties half: a description, not a test."""
    return float((d > 0).mean() + 0.5 * (d == 0).mean())


def correlation(a: Array, b: Array, reference: Array, signs: Array) -> float | None:
    """Return rho of two rows over units, None below three units or without spread.

    Pearson's correlation of their scores, each task's as a signed share of the mean reference: what pairing
    gains, as the variance of the difference is that of two independent rows less 2 rho sd sd. The reference's
    own noise is left out, since it is in both rows whether their seeds are the same or not.
    """
    if len(a) < 3:
        return None
    own = [(signs * scores / reference.mean(0)).mean(-1) for scores in (a, b)]
    if any(float(np.ptp(x)) < 1e-11 for x in own):  # rounding
        return None
    return float(np.corrcoef(*own)[0, 1])


@dataclass(frozen=True)
class Split:
    """Standard deviations over label seeds, over train seeds, and of the rest.

    The rest holds the interaction of the two and what differs when a run is repeated. label_seeds,
    train_seeds: the size of the grid.
    """

    label_sd: float
    train_sd: float
    rest_sd: float
    label_seeds: int
    train_seeds: int


def components(values: Array) -> Split:
    """Return the split of values (a, b): a label seeds times b train seeds.

    Crossed random effects y_ij = mean + L_i + T_j + e_ij, by the mean squares of the two-way analysis of
    variance (Searle, Casella, McCulloch, Variance Components, 1992, section 4.7): var e = MS_e, var L = (MS_L
    - MS_e) / b, var T = (MS_T - MS_e) / a. An estimate below 0 is 0.
    """
    a, b = values.shape
    mean, rows, columns = values.mean(), values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    rest = float(((values - rows - columns + mean) ** 2).sum() / ((a - 1) * (b - 1)))
    of_labels = float(b * ((rows - mean) ** 2).sum() / (a - 1))
    of_training = float(a * ((columns - mean) ** 2).sum() / (b - 1))
    variances = (max(0.0, (of_labels - rest) / b), max(0.0, (of_training - rest) / a), rest)
    label, train, left = (variance**0.5 for variance in variances)
    return Split(label, train, left, a, b)


def split(values: Mapping[Pair, float]) -> Split | None:
    """Return the split of {(label seed, train seed): value}, None without a whole 4 x 3 grid.

    The grid is that of the label seeds with three train seeds or more, and of the train seeds that all of
    those have.
    """
    table = pd.Series(dict(values), dtype=float).unstack() if values else pd.DataFrame()
    grid = table[table.count(axis=1) >= TRAIN_SEEDS].dropna(axis=1)
    whole = grid.shape[0] >= LABEL_SEEDS and grid.shape[1] >= TRAIN_SEEDS
    return components(grid.to_numpy()) if whole else None
