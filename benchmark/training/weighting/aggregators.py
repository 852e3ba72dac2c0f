"""Gradient aggregators from torchjd: one vector from the gradients of several tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CAGRAD_C = 0.4  # the radius of published comparisons on indoor images
COLUMNS = 1 << 20  # converted to float64 at a time


def aggregate(name: str, gradients: Tensor) -> Tensor:
    """(P,) from (n, P), one row a task.

    Rows of zeros (a task whose labels have no valid pixel in the batch) say nothing and are left out: some
    aggregators would answer them with 0. One row left is the result. Gradients that are not finite are
    summed, for the step to see it.
    """
    if name == "graddrop":
        from torchjd.aggregation import GradDrop

        vector: Tensor = GradDrop()(gradients)
        return vector
    parts = (part.double() for part in gradients.split(COLUMNS, 1))
    gramian = torch.stack([part @ part.T for part in parts]).sum(0).cpu()
    weights = torch.ones(len(gramian), dtype=torch.float64)
    there = gramian.diagonal().nonzero()[:, 0]
    if len(there) > 1 and bool(torch.isfinite(gramian).all()):
        weights[there] = gramian_weights(name, gramian[there][:, there])
    return weights.to(gradients) @ gradients


def gramian_weights(name: str, gramian: Tensor) -> Tensor:
    """(n,) weights of gradients with the inner products (n, n), none of them 0; float64 on the CPU.

    Where a paper's weights sum to 1, they are multiplied by n. torchjd's tolerances are absolute, so
    gradients come to it with an overall norm of 1, to which all of these aggregators are indifferent.
    """
    weights: Tensor = RULES[name](gramian / gramian.trace())
    return weights


def _torchjd(name: str, times_n: bool, **values: Any) -> Callable[[Tensor], Tensor]:
    def rule(gramian: Tensor) -> Tensor:
        from torchjd import aggregation

        weights: Tensor = getattr(aggregation, f"{name}Weighting")(**values)(gramian)
        return weights * len(gramian) if times_n else weights

    return rule


def _nash(gramian: Tensor) -> Tensor:
    """The bargain alpha with (G G^T) alpha = 1 / alpha, scaled to average 1.

    Solved for gradients of norm 1 each, which is the same bargain (alpha_t times the norm of g_t) but one
    that the solver finds where norms differ by orders. From the same start in every step: there is no state,
    so that no weight is left over from a batch with other tasks. Without torchjd's clip of the norm, which
    the step has already.
    """
    from torchjd.aggregation import NashMTL

    norms = gramian.diagonal().sqrt()
    values, vectors = torch.linalg.eigh(gramian / norms / norms[:, None])
    rows = (
        vectors * values.clamp_min(0).sqrt()
    )  # torchjd wants gradients, and these have the same inner products
    bargain = NashMTL(n_tasks=len(rows), max_norm=0.0).weighting
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*not DPP"
        )  # cvxpy on the form that torchjd gives the problem
        alpha = bargain(rows) / norms
    return alpha * (len(rows) / alpha.sum())


RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "upgrad": _torchjd("UPGrad", times_n=True),
    "pcgrad": _torchjd("PCGrad", times_n=False),
    "cagrad": _torchjd("CAGrad", times_n=True, c=CAGRAD_C, norm_eps=1e-6),
    "mgda": _torchjd("MGDA", times_n=True),
    "nash": _nash,
    "imtl_g": _torchjd("IMTLG", times_n=True),
    "aligned_mtl": _torchjd("AlignedMTL", times_n=True),
}
