"""One method against another over several boards: the mean of their differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.report.stats import Array, Estimate

DRAWS = 10_000


def resampled_means(differences: Sequence[Array], draws: int = DRAWS) -> Array:
    """(..., draws) means over boards of the mean difference, units resampled with replacement inside each
    board.

    differences: one (..., n) a board, its paired differences; n may differ. Draws are the same on every
    machine.
    """
    generator = np.random.PCG64(0)
    found = []
    for d in differences:
        n = d.shape[-1]
        drawn = (generator.random_raw(draws * n) % np.uint64(n)).astype(np.int64).reshape(draws, n)
        counts = np.bincount((drawn + n * np.arange(draws)[:, None]).ravel(), minlength=draws * n).reshape(
            draws, n
        )
        found.append(d @ counts.T.astype(float) / n)
    return np.asarray(np.mean(found, 0))


def over_boards(differences: Sequence[Array]) -> Estimate:
    """The mean over boards of the mean paired difference (n,) of each, with its stratified paired bootstrap
    interval.

    Percentiles 2.5 and 97.5 of `DRAWS` draws. Simulated with Gaussian differences on three boards it covers
    83 % at 3 seeds a board, 89 % at 5 and 92 % at 10: it is a summary of boards, and tests nothing. It is
    about these boards, not about others that could have been chosen. n of the estimate: boards.
    """
    low, high = np.percentile(resampled_means(differences), [2.5, 97.5])
    return Estimate(
        float(np.mean([d.mean() for d in differences])), float(low), float(high), len(differences)
    )
