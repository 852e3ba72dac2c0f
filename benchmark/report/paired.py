"""Two methods over the same seeds: an exact test, its correction for many comparisons, and how often one is
ahead.

Everything here takes the paired differences d (n,) of two rows, one a unit (label seeds; train seeds under a
fixed mask), in
points of delta m: d_i = delta m of a minus delta m of b + psi^a_i - psi^b_i, whose mean is the difference of
the two.
"""

from __future__ import annotations

import numpy as np

from benchmark.report import stats
from benchmark.report.stats import Array

ENUMERATED = 20  # pairs up to which all sign flips are looked at, half a million sums
DRAWN = 2**17  # sign flips drawn beyond that
_TIE = 1e-12  # relative: sums of the same numbers in another order


def differences(a: Array, b: Array, reference: Array, signs: Array) -> Array:
    """(n,) paired differences in points of delta m from scores (n, T) of a, b and the reference, row i from
    the same unit.

    What is below the rounding of records is 0, a tie.
    """
    value = (stats.changes(a, reference, signs) - stats.changes(b, reference, signs)).mean()
    psi = (stats.influence(a, reference, signs) - stats.influence(b, reference, signs)).mean(-1)
    found = value + psi
    return np.where(np.abs(found) < stats.ROUNDING, 0.0, found)


def sign_flip(d: Array) -> float:
    """The two-sided p of the sign-flip test: how many of the 2^n ways to sign d (n,) have a sum at least as
    far from 0.

    Exact up to `ENUMERATED` pairs, by all sums; beyond, (1 + found) / (1 + drawn) over `DRAWN` random ways,
    always the same. Its smallest value is 2^(1 - n). Under no difference, d and -d being equally likely, P(p
    <= alpha) <= alpha at any n (Fisher, The Design of Experiments, 1935, section 21).
    """
    observed = abs(float(d.sum())) * (1 - _TIE)
    if len(d) <= ENUMERATED:
        sums = d[:1]  # flipping every sign changes no absolute sum, so the first sign stays
        for x in d[1:]:
            sums = np.concatenate([sums + x, sums - x])
        return float((np.abs(sums) >= observed).mean())
    return float((1 + (np.abs(_drawn(d)) >= observed).sum()) / (1 + DRAWN))


def _drawn(d: Array) -> Array:
    """(DRAWN,) sums of d (n,) under random signs: a bit a sign, eight of them at a time looked up among their
    256 sums.
    """
    groups = -(-len(d) // 8)
    padded = np.zeros(8 * groups)
    padded[: len(d)] = d
    flipped = 1.0 - 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums = np.zeros(DRAWN)
    words = np.random.PCG64(0)
    for eight in padded.reshape(groups, 8):
        # Little-endian, whatever the machine is, so that the draws are the same everywhere.
        bits = words.random_raw(DRAWN // 8).astype("<u8").view(np.uint8)
        sums += (flipped * eight).sum(1)[bits]
    return sums


def holm(p: Array) -> Array:
    """(m,) p values of a family (m,), corrected so that all claims below alpha hold together with probability
    1 - alpha.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6,
    1979: the k-th smallest times m - k + 1, at least that of the ones before, at most 1.
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def p_better(d: Array) -> float:
    """Probability of improvement: the share of units in which a is ahead of b, ties counted half. A
    description, not a test.
    """
    return float((d > 0).mean() + 0.5 * (d == 0).mean())


def correlation(a: Array, b: Array, reference: Array, signs: Array) -> float | None:
    """rho of two rows over units: Pearson's correlation of their scores, each task's as a signed share of the
    mean reference.

    What pairing gains: the variance of the difference is that of two independent rows less 2 rho sd sd. The
    reference's own noise is left out (it is in both rows whether their seeds are the same or not). None below
    three units or without spread.
    """
    if len(a) < 3:
        return None
    own = [(signs * scores / reference.mean(0)).mean(-1) for scores in (a, b)]
    if any(float(np.ptp(x)) < 1e-11 for x in own):  # rounding
        return None
    return float(np.corrcoef(*own)[0, 1])
