"""Delta m and its intervals: hand-worked numbers, an independent computation, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import statistics


def test_delta_m_by_hand() -> None:
    # Task 1 up from 20 to 22: +10 %. Task 2, lower is better, from 0.5 to 0.6: -20 %. Mean: -5 %.
    scores, reference = np.array([[21.0, 0.6], [23.0, 0.6]]), np.array([[19.0, 0.4], [21.0, 0.6]])
    signs = np.array([1.0, -1.0])
    found = statistics.delta_m(scores, reference, signs)
    assert found.value == pytest.approx(-5.0, abs=1e-12)
    # psi_1 = 50 [(-1/20 + 22/400) - (0 + 0.6/0.25 * 0.1)] = 50 [0.005 - 0.24] = -11.75, psi_2 = +11.75.
    np.testing.assert_allclose(
        statistics.influence(scores, reference, signs).mean(-1), [-11.75, 11.75], rtol=1e-12
    )
    # sd = 11.75 sqrt 2, so the half width is t_{1, .975} * 11.75 = 12.7062 * 11.75.
    half = 12.706204736432095 * 11.75
    assert found.low == pytest.approx(-5 - half) and found.high == pytest.approx(-5 + half)
    each = statistics.task_changes(scores, reference, signs)
    assert [e.value for e in each] == [pytest.approx(10.0), pytest.approx(-20.0)]


def slow(a: np.ndarray, s: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """Delta m and its half width from the gradient and the covariance of all 2 T means: g' C g / n, in plain
    loops.
    """
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
    rng = np.random.default_rng(n)
    signs = np.array([1.0, -1.0, -1.0])
    base = np.array([30.0, 0.4, 25.0])
    a, b, s = (base * (1 + 0.05 * rng.normal(size=(n, 3))) for _ in range(3))
    value, half = slow(a, s, signs)
    found = statistics.delta_m(a, s, signs)
    assert found.value == pytest.approx(value, rel=1e-9)
    assert found.high is not None and found.low is not None
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-9)
    gap = statistics.difference(a, b, s, signs)
    assert gap.value == pytest.approx(value - slow(b, s, signs)[0], rel=1e-9)
    for t, each in enumerate(statistics.task_changes(a, s, signs)):
        value, half = slow(a[:, [t]], s[:, [t]], signs[[t]])
        assert each.value == pytest.approx(value, rel=1e-9) and each.high == pytest.approx(
            value + half, rel=1e-9
        )


def test_properties() -> None:
    rng = np.random.default_rng(0)
    signs = np.array([1.0, -1.0])
    a, s = (np.array([30.0, 0.4]) * (1 + 0.05 * rng.normal(size=(4, 2))) for _ in range(2))
    psi = statistics.influence(a, s, signs)
    np.testing.assert_allclose(psi.mean(-2), 0, atol=1e-12)
    # Units do not matter, seeds may come in any order, and directions turn the sign.
    np.testing.assert_allclose(statistics.influence(a * [7, 1000], s * [7, 1000], signs), psi, rtol=1e-10)
    assert statistics.delta_m(a[::-1], s[::-1], signs).high == pytest.approx(
        statistics.delta_m(a, s, signs).high
    )
    assert statistics.delta_m(a, s, -signs).value == pytest.approx(-statistics.delta_m(a, s, signs).value)
    # Noise that a and b share with the reference cancels in their difference.
    shared = 1 + 0.2 * rng.normal(size=(4, 1))
    own = 1 + 1e-6 * rng.normal(size=(4, 1))
    gap = statistics.difference(
        own * shared * [[33.0, 0.4]], shared * [[30.0, 0.4]], shared * [[30.0, 0.4]], signs
    )
    assert gap.low == pytest.approx(5.0, abs=1e-3) and gap.high == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_identical_seeds_have_no_interval(n: int) -> None:
    a, s, signs = np.full((n, 2), [0.1, 31.7]), np.full((n, 2), [0.3, 29.1]), np.array([1.0, -1.0])
    estimates = [
        statistics.delta_m(a, s, signs),
        *statistics.task_changes(a, s, signs),
        statistics.difference(a, s, s, signs),
    ]
    rng = np.random.default_rng(0)
    estimates.append(
        statistics.difference(a * (noise := rng.uniform(1, 2, (n, 1))), a * noise, s * noise, signs)
    )
    for found in estimates:
        assert found.n == n and found.low is None and found.high is None and found.excludes_zero() is None


def test_one_unit_has_no_interval() -> None:
    found = statistics.delta_m(np.array([[11.0]]), np.array([[10.0]]), np.array([1.0]))
    assert found.value == pytest.approx(10) and found.low is None and found.high is None
    assert found.excludes_zero() is None
    assert statistics.spread(np.array([3.0])) == statistics.Spread(3.0, None, 1)


def test_excludes_zero() -> None:
    assert statistics.Estimate(2.0, 1.0, 3.0, 3).excludes_zero() is True
    assert statistics.Estimate(-2.0, -3.0, -1.0, 3).excludes_zero() is True
    assert statistics.Estimate(2.0, -1.0, 5.0, 3).excludes_zero() is False


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_95_percent(n: int) -> None:
    rng, repetitions = np.random.default_rng(n), 20_000
    signs = np.array([1.0, -1.0, -1.0])
    truth_a, truth_s, truth_b = (
        np.array([31.5, 0.39, 24.0]),
        np.array([30.0, 0.42, 23.5]),
        np.array([33.0, 0.4, 22.0]),
    )
    shared = rng.normal(size=(repetitions, n, 3))
    noise = (0.04 * (0.6 * shared + 0.8 * rng.normal(size=shared.shape)) for _ in range(3))
    a, s, b = (truth * (1 + next(noise)) for truth in (truth_a, truth_s, truth_b))
    target = float((100 * signs * (truth_a / truth_s - 1)).mean())
    values, psi = statistics.changes(a, s, signs).mean(-1), statistics.influence(a, s, signs).mean(-1)
    covered = np.abs(values - target) <= statistics.half_width(psi)
    assert covered.mean() == pytest.approx(0.95, abs=0.008)
    # The difference of two methods, which share the reference.
    gap = values - statistics.changes(b, s, signs).mean(-1)
    true_gap = target - float((100 * signs * (truth_b / truth_s - 1)).mean())
    covered = np.abs(gap - true_gap) <= statistics.half_width(
        psi - statistics.influence(b, s, signs).mean(-1)
    )
    assert covered.mean() == pytest.approx(0.95, abs=0.008)
    # The same with the reference held fixed covers less, which is why psi carries its noise.
    fixed = statistics.influence(a, np.broadcast_to(s.mean(-2, keepdims=True), s.shape), signs).mean(-1)
    assert abs((np.abs(values - target) <= statistics.half_width(fixed)).mean() - 0.95) > 0.01


def test_decidable() -> None:
    needed = {1: 6, 2: 7, 3: 7, 4: 8, 6: 8, 7: 9, 12: 9}
    for comparisons, n in needed.items():
        assert statistics.seeds_to_decide(comparisons) == n
        assert statistics.decidable(n, comparisons) and not statistics.decidable(n - 1, comparisons)
    assert not statistics.decidable(0, 1)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_half_width_has_the_quantile_of_scipy(level: float) -> None:
    for n in (2, 3, 5, 30, 1000):
        psi = np.linspace(-1, 1, n)
        plain = scipy_stats.t.ppf((1 + level) / 2, n - 1) * psi.std(ddof=1) / n**0.5
        assert float(statistics.half_width(psi, level)) == pytest.approx(plain, rel=1e-14)
