"""The mean difference over boards: a plain loop, and the coverage that its docstring states."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.report import statistics


def test_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    cells = [rng.normal(1, 1, 3), rng.normal(2, 1, 5)]
    source = np.random.PCG64(0)
    drawn = [source.random_raw(50 * len(d)).reshape(50, len(d)) % len(d) for d in cells]
    plain = [
        sum(sum(d[int(i)] for i in picks[k]) / len(d) for d, picks in zip(cells, drawn, strict=True)) / 2
        for k in range(50)
    ]
    np.testing.assert_allclose(statistics.resampled_means(cells, 50), plain, rtol=1e-9)
    found = statistics.over_boards(cells)
    assert found.value == pytest.approx((cells[0].mean() + cells[1].mean()) / 2) and found.n == 2
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    assert statistics.over_boards(cells) == found


@pytest.mark.parametrize(("n", "coverage"), [(3, 0.83), (5, 0.89), (10, 0.925)])
def test_coverage_on_three_boards(n: int, coverage: float) -> None:
    rng = np.random.default_rng(n)
    means = statistics.resampled_means([rng.normal(size=(3000, n)) for _ in range(3)], 1000)
    low, high = np.percentile(means, [2.5, 97.5], axis=-1)
    assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(coverage, abs=0.02)
