"""The exact test, its correction and the descriptions of a pair, against scipy and plain enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import statistics


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12])
def test_sign_flip_by_enumeration_and_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.7):
        d = rng.normal(shift, 1, n)
        sums = [
            abs(sum(s * x for s, x in zip(signs, d, strict=True)))
            for signs in itertools.product((1, -1), repeat=n)
        ]
        plain = sum(s >= abs(d.sum()) - 1e-12 for s in sums) / 2**n
        assert statistics.sign_flip(d) == pytest.approx(plain, abs=1e-9)
        if n > 1:
            other = scipy_stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
            assert statistics.sign_flip(d) == pytest.approx(other.pvalue, abs=1e-9)


def test_sign_flip_at_its_ends() -> None:
    assert statistics.sign_flip(np.full(6, 2.0)) == 2**-5  # all on one side: the smallest there is
    assert statistics.sign_flip(np.array([1.0, -1.0, 1.0, -1.0])) == 1.0
    assert statistics.sign_flip(np.zeros(4)) == 1.0
    d = np.array([0.1, 0.2, 0.3, -0.4])
    assert statistics.sign_flip(d) == statistics.sign_flip(-d) == statistics.sign_flip(d[::-1])


def test_sign_flip_of_many_pairs_is_drawn_and_always_the_same() -> None:
    n = statistics.ENUMERATED + 4
    d = np.random.default_rng(1).normal(0.3, 1, n)
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    exact = float((np.abs(sums) >= abs(d.sum()) - 1e-12).mean())
    assert (
        statistics.sign_flip(d)
        == statistics.sign_flip(d)
        == pytest.approx(exact, abs=4 * (exact / statistics.DRAWN) ** 0.5)
    )
    assert statistics.sign_flip(np.full(n, 1.0)) == 1 / (1 + statistics.DRAWN)


@pytest.mark.parametrize("n", [1, 8, 21, 40])
def test_drawn_signs_are_the_bits_of_a_fixed_stream(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWN", 64)
    d = np.random.default_rng(n).normal(0.3, 1, n)
    words = [
        int(word) for word in np.random.PCG64(0).random_raw(8 * -(-n // 8))
    ]  # eight draws a word, a byte each
    for draw, found in enumerate(statistics._drawn(d)):
        plain = 0.0
        for i, x in enumerate(d):
            byte = words[8 * (i // 8) + draw // 8] >> 8 * (draw % 8) & 255
            plain += -x if byte >> (7 - i % 8) & 1 else x
        assert found == pytest.approx(plain, abs=1e-12)


def test_drawn_signs_are_fair() -> None:
    one_up = [statistics._drawn(np.eye(30)[i]) for i in range(30)]
    shares = np.mean(one_up, 1)
    assert set(np.unique(one_up)) == {-1.0, 1.0} and np.abs(shares).max() < 5 / statistics.DRAWN**0.5
    together = np.corrcoef(one_up) - np.eye(30)
    assert np.abs(together).max() < 5 / statistics.DRAWN**0.5


def test_holm_by_closed_testing() -> None:
    # The closure of Bonferroni tests: p of i is the largest, over the subsets with i, of the subset's size
    # times its least p.
    rng = np.random.default_rng(0)
    for m in (1, 2, 5):
        p = rng.uniform(0, 0.4, m)
        subsets = [s for k in range(1, m + 1) for s in itertools.combinations(range(m), k)]
        plain = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(m)]
        np.testing.assert_allclose(statistics.holm(p), plain, atol=1e-12)
    np.testing.assert_allclose(statistics.holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    assert statistics.holm(np.array([])).tolist() == []


def test_p_better_counts_ties_half() -> None:
    assert statistics.p_better(np.array([1.0, 0.0, -2.0, 3.0])) == 0.625
    same = np.random.default_rng(0).normal(30, 2, (4, 2))
    d = statistics.differences(same, same * 1.0, same[::-1], np.array([1.0, -1.0]))
    assert d.tolist() == [0.0] * 4 and statistics.p_better(d) == 0.5 and statistics.sign_flip(d) == 1.0


def test_differences_have_the_mean_and_interval_of_the_difference() -> None:
    rng, signs = np.random.default_rng(3), np.array([1.0, -1.0])
    a, b, s = (np.array([30.0, 0.4]) * (1 + 0.05 * rng.normal(size=(6, 2))) for _ in range(3))
    d, gap = statistics.differences(a, b, s, signs), statistics.difference(a, b, s, signs)
    other = scipy_stats.ttest_1samp(d, 0).confidence_interval(0.95)
    assert gap.value == pytest.approx(d.mean(), abs=1e-9)
    assert (gap.low, gap.high) == (pytest.approx(other.low, abs=1e-9), pytest.approx(other.high, abs=1e-9))


def test_correlation() -> None:
    rng, signs = np.random.default_rng(4), np.array([1.0, -1.0])
    a, b, s = (np.array([30.0, 0.4]) * (1 + 0.05 * rng.normal(size=(6, 2))) for _ in range(3))
    base = s.mean(0)
    own = [[x[0] / base[0] - x[1] / base[1] for x in scores] for scores in (a, b)]
    assert statistics.correlation(a, b, s, signs) == pytest.approx(
        scipy_stats.pearsonr(*own).statistic, abs=1e-9
    )
    assert statistics.correlation(a, a, s, signs) == pytest.approx(1)
    assert statistics.correlation(a[:2], b[:2], s[:2], signs) is None
    assert statistics.correlation(a, np.tile(b[:1], (6, 1)), s, signs) is None
    # The reference's noise, which both rows carry however their seeds are drawn, does not count as pairing.
    noisy = s * (1 + rng.normal(size=(6, 1)) * 0.5)
    rescaled = noisy * base / noisy.mean(0)
    assert statistics.correlation(a, b, rescaled, signs) == pytest.approx(
        statistics.correlation(a, b, s, signs)
    )


def test_the_exact_test_keeps_its_level() -> None:
    rng = np.random.default_rng(5)
    p = np.array([statistics.sign_flip(d) for d in rng.standard_t(2, size=(4000, 6))])
    assert (p <= 0.05).mean() == pytest.approx(2**-5, abs=0.01)
