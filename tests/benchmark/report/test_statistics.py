"""The statistics against hand-worked numbers, slow references, scipy and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import statistics

SIGNS = np.array([1.0, -1.0])


def noisy(seed: int, n: int, count: int = 3) -> list[np.ndarray]:
    """Return scores (n, 2) of several rows, 5 % about the same means."""
    rng = np.random.default_rng(seed)
    return [np.array([30.0, 0.4]) * (1 + 0.05 * rng.normal(size=(n, 2))) for _ in range(count)]


def test_delta_m_by_hand() -> None:
    # Task 1 up from 20 to 22: +10 %. Task 2, lower is better, from 0.5 to 0.6: -20 %. Mean: -5 %.
    scores, reference = np.array([[21.0, 0.6], [23.0, 0.6]]), np.array([[19.0, 0.4], [21.0, 0.6]])
    found = statistics.delta_m(scores, reference, SIGNS)
    assert found.value == pytest.approx(-5.0, abs=1e-12)
    # psi_1 = 50 [(-1/20 + 22/400) - (0 + 0.6/0.25 * 0.1)] = 50 [0.005 - 0.24] = -11.75, psi_2 = +11.75.
    psi = statistics.influence(scores, reference, SIGNS).mean(-1)
    np.testing.assert_allclose(psi, [-11.75, 11.75], rtol=1e-12)
    # sd = 11.75 sqrt 2, so the half width is t_{1, .975} * 11.75 = 12.7062 * 11.75.
    half = 12.706204736432095 * 11.75
    assert found.low == pytest.approx(-5 - half) and found.high == pytest.approx(-5 + half)
    changes = [e.value for e in statistics.task_changes(scores, reference, SIGNS)]
    assert changes == [pytest.approx(10.0), pytest.approx(-20.0)]


def slow(a: np.ndarray, s: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """Return delta m and its half width: gradient and covariance of all 2 T means, in plain loops."""
    n, tasks = a.shape
    value, gradient = 0.0, []
    for t in range(tasks):
        m, b = sum(a[:, t]) / n, sum(s[:, t]) / n
        value += 100 / tasks * signs[t] * (m - b) / b
        gradient += [100 / tasks * signs[t] / b, -100 / tasks * signs[t] * m / b**2]
    stacked = [column for t in range(tasks) for column in (a[:, t], s[:, t])]
    variance = 0.0
    for i, x in enumerate(stacked):
        for j, y in enumerate(stacked):
            covariance = sum((x - sum(x) / n) * (y - sum(y) / n)) / (n - 1)
            variance += gradient[i] * gradient[j] * covariance
    return value, float(scipy_stats.t.ppf(0.975, n - 1)) * (variance / n) ** 0.5


@pytest.mark.parametrize("n", [2, 3, 7])
def test_agrees_with_an_independent_computation(n: int) -> None:
    a, b, s = noisy(n, n)
    value, half = slow(a, s, SIGNS)
    found = statistics.delta_m(a, s, SIGNS)
    assert (found.value, found.high) == pytest.approx((value, value + half), rel=1e-9)
    gap = statistics.difference(a, b, s, SIGNS)
    assert gap.value == pytest.approx(value - slow(b, s, SIGNS)[0], rel=1e-9)
    for t, each in enumerate(statistics.task_changes(a, s, SIGNS)):
        value, half = slow(a[:, [t]], s[:, [t]], SIGNS[[t]])
        assert (each.value, each.high) == pytest.approx((value, value + half), rel=1e-9)
    # Paired differences have the mean and the t-interval of the difference, at any level.
    d = statistics.differences(a, b, s, SIGNS)
    for level in (0.95, 0.999):
        gap = statistics.difference(a, b, s, SIGNS, level)
        other = scipy_stats.ttest_1samp(d, 0).confidence_interval(level)
        assert (gap.value, gap.low, gap.high) == pytest.approx((d.mean(), other.low, other.high), abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_without_spread_there_is_no_interval(n: int) -> None:
    a, s = np.full((n, 2), [0.1, 31.7]), np.full((n, 2), [0.3, 29.1])
    noise = np.random.default_rng(0).uniform(1, 2, (n, 1))
    found = [statistics.delta_m(a, s, SIGNS), *statistics.task_changes(a, s, SIGNS)]
    found.append(statistics.difference(a * noise, a * noise, s * noise, SIGNS))
    for estimate in found:
        assert estimate.n == n and estimate.low is None
    assert statistics.deviation(np.array([3.0])) is None


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_95_percent(n: int) -> None:
    rng, signs = np.random.default_rng(n), np.array([1.0, -1.0, -1.0])
    truth = np.array([[31.5, 0.39, 24.0], [30.0, 0.42, 23.5], [33.0, 0.4, 22.0]])
    shared = rng.normal(size=(20_000, n, 3))
    noise = (0.04 * (0.6 * shared + 0.8 * rng.normal(size=shared.shape)) for _ in range(3))
    a, s, b = (mean * (1 + each) for mean, each in zip(truth, noise, strict=True))
    target, other = (float((100 * signs * (truth[i] / truth[1] - 1)).mean()) for i in (0, 2))
    values, psi = statistics.changes(a, s, signs).mean(-1), statistics.influence(a, s, signs).mean(-1)

    def coverage(error: np.ndarray, influence: np.ndarray) -> float:
        return float((np.abs(error) <= statistics.half_width(influence)).mean())

    assert coverage(values - target, psi) == pytest.approx(0.95, abs=0.008)
    gap = values - statistics.changes(b, s, signs).mean(-1)
    difference = psi - statistics.influence(b, s, signs).mean(-1)
    assert coverage(gap - (target - other), difference) == pytest.approx(0.95, abs=0.008)
    # The same with the reference held fixed covers less, which is why psi carries its noise.
    fixed = statistics.influence(a, np.broadcast_to(s.mean(-2, keepdims=True), s.shape), signs).mean(-1)
    assert abs(coverage(values - target, fixed) - 0.95) > 0.01


@pytest.mark.parametrize("n", [1, 2, 5, 8, 11])
def test_sign_flip_by_enumeration_and_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.7):
        d = rng.normal(shift, 1, n)
        sums = [abs(float(np.dot(signs, d))) for signs in itertools.product((1, -1), repeat=n)]
        plain = sum(s >= abs(d.sum()) - 1e-12 for s in sums) / 2**n
        assert statistics.sign_flip(d) == pytest.approx(plain, abs=1e-9)
        if n > 1:
            other = scipy_stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
            assert statistics.sign_flip(d) == pytest.approx(other.pvalue, abs=1e-9)


def test_sign_flip_and_p_better_at_their_ends() -> None:
    assert statistics.sign_flip(np.full(6, 2.0)) == 2**-5  # all on one side: the smallest there is
    assert statistics.sign_flip(np.array([1.0, -1.0, 1.0, -1.0])) == statistics.sign_flip(np.zeros(4)) == 1.0
    d = np.array([0.1, 0.2, 0.3, -0.4])
    assert statistics.sign_flip(d) == statistics.sign_flip(-d) == statistics.sign_flip(d[::-1])
    assert statistics.p_better(np.array([1.0, 0.0, -2.0, 3.0])) == 0.625  # a tie is a half
    (same,) = noisy(0, 4, 1)
    d = statistics.differences(same, same * 1.0, same[::-1], SIGNS)
    assert d.tolist() == [0.0] * 4 and statistics.p_better(d) == 0.5 and statistics.sign_flip(d) == 1.0


def test_sign_flip_of_many_pairs_is_drawn_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    n = statistics.ENUMERATED + 1
    d = np.random.default_rng(1).normal(0.3, 1, n)
    found = statistics.sign_flip(d)
    assert found == statistics.sign_flip(d) and statistics.sign_flip(np.full(n, 1.0)) == 1 / (1 + 2**17)
    monkeypatch.setattr(statistics, "ENUMERATED", n)
    exact = statistics.sign_flip(d)
    assert found == pytest.approx(exact, abs=4 * (exact / statistics.DRAWN) ** 0.5) and 0.01 < exact < 0.5
    assert statistics.sign_flip(np.full(n, 1.0)) == 2.0 ** (1 - n)


def test_holm_by_closed_testing() -> None:
    # The closure of Bonferroni tests: the p of i is the largest, over the subsets with i, of the subset's
    # size times its least p.
    rng = np.random.default_rng(0)
    for m in (1, 2, 5):
        p = rng.uniform(0, 0.4, m)
        subsets = [s for k in range(1, m + 1) for s in itertools.combinations(range(m), k)]
        plain = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(m)]
        np.testing.assert_allclose(statistics.holm(p), plain, atol=1e-12)
    np.testing.assert_allclose(statistics.holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    assert statistics.holm(np.array([])).tolist() == []


def test_decidable() -> None:
    for comparisons, n in {1: 6, 2: 7, 3: 7, 4: 8, 6: 8, 7: 9, 12: 9}.items():
        assert statistics.seeds_to_decide(comparisons) == n
        assert statistics.decidable(n, comparisons) and not statistics.decidable(n - 1, comparisons)
    assert not statistics.decidable(0, 1)


def test_correlation() -> None:
    a, b, s = noisy(4, 6)
    base = s.mean(0)
    own = [[x[0] / base[0] - x[1] / base[1] for x in scores] for scores in (a, b)]
    found = statistics.correlation(a, b, s, SIGNS)
    assert found == pytest.approx(scipy_stats.pearsonr(*own).statistic, abs=1e-9)
    assert statistics.correlation(a, a, s, SIGNS) == pytest.approx(1)
    assert statistics.correlation(a[:2], b[:2], s[:2], SIGNS) is None
    assert statistics.correlation(a, np.tile(b[:1], (6, 1)), s, SIGNS) is None
    # The reference's noise, which both rows carry however their seeds are drawn, does not count as pairing.
    louder = s * (1 + np.random.default_rng(4).normal(size=(6, 1)) * 0.5)
    assert statistics.correlation(a, b, louder * base / louder.mean(0), SIGNS) == pytest.approx(found)


def mean_squares(y: np.ndarray) -> tuple[float, float, float]:
    """Return variances over rows, over columns and of the rest, from sums of squares in loops."""
    a, b = y.shape
    mean = sum(map(sum, y)) / (a * b)
    rows, columns = [sum(line) / b for line in y], [sum(y[:, j]) / a for j in range(b)]
    total = sum((y[i, j] - mean) ** 2 for i in range(a) for j in range(b))
    of_rows, of_columns = b * sum((r - mean) ** 2 for r in rows), a * sum((c - mean) ** 2 for c in columns)
    rest = (total - of_rows - of_columns) / ((a - 1) * (b - 1))
    return (of_rows / (a - 1) - rest) / b, (of_columns / (b - 1) - rest) / a, rest


@pytest.mark.parametrize("shape", [(4, 3), (7, 4)])
def test_components_against_plain_mean_squares(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    y = 30 + 2 * rng.normal(size=(shape[0], 1)) + 3 * rng.normal(size=(1, shape[1])) + rng.normal(size=shape)
    found, plain = statistics.components(y), [max(v, 0) ** 0.5 for v in mean_squares(y)]
    assert [found.label_sd, found.train_sd, found.rest_sd] == pytest.approx(plain, abs=1e-9)
    assert (found.label_seeds, found.train_seeds) == shape
    negative = statistics.components(np.array([[1.0, -1, 0], [-1, 1, 0], [1, -1, 0], [-1, 1, 0]]))
    assert negative.label_sd == 0 and negative.rest_sd > 0


def test_the_grid_that_is_split() -> None:
    value = {(label, train): float(label + train) for label in range(4) for train in range(3)}
    expected = statistics.components(np.add.outer(np.arange(4.0), np.arange(3.0)))
    assert statistics.split(value) == expected
    more = value | {(9, 9): 5.0, (8, 0): 1.0, (0, 7): 2.0}  # seeds outside the grid are left out
    assert statistics.split(more) == expected
    for missing in ((0, 0), (3, 2)):
        assert statistics.split({pair: v for pair, v in value.items() if pair != missing}) is None
    assert statistics.split({(i, i): 1.0 for i in range(10)}) is None and statistics.split({}) is None
