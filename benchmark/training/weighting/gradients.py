"""Aggregations of gradients: one is made of the gradients of several tasks, by torchjd but for MGDA."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.training.weighting.base import Balancing
from methods.base import Batch, Losses, Method

CAGRAD_C = 0.4  # the radius of published comparisons on indoor images
COLUMNS = 1 << 20  # converted to float64 at a time


class Aggregation(Balancing):
    """The aggregator's vector for `shared_parameters()`, for other parameters the sum of the gradients.

    A backward pass for each task present, and one for the extras, whose gradients are added to both. With one
    task present, or none, this is the plain backward pass, to the bit. It has no state; random aggregators
    draw from the global generator, which is seeded before each step and from which the method has drawn
    first.

    Absence: a task without a visible label in the batch, as the host knows from the mask, has no gradient and
    takes no part.
    """

    def __init__(self, name: str, method: Method) -> None:
        super().__init__()
        self.name, self.tasks = name, tuple(method.problem.tasks)
        shared = [p for p in method.shared_parameters() if p.requires_grad]
        ids = {id(p) for p in shared}
        own = [p for p in method.parameters() if p.requires_grad and id(p) not in ids]
        self._parameters_of = (shared, own)  # a tuple: they are the method's, not this module's

    def backward(self, losses: Losses, batch: Batch) -> None:
        """Add the aggregated gradient of the tasks present."""
        present = [name for t, name in enumerate(self.tasks) if bool(batch.labelled_host[:, t].any())]
        if len(present) < 2:
            losses.total().backward()
            return
        shared, own = self._parameters_of
        rows: list[Tensor] = []
        for name in present:
            loss, every = losses.tasks[name], [*shared, *own]
            found = torch.autograd.grad(loss, every, retain_graph=True, allow_unused=True)
            pairs = zip(found[: len(shared)], shared, strict=True)
            rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]))
            for parameter, gradient in zip(own, found[len(shared) :], strict=True):
                _add(parameter, gradient)
        vector = aggregate(self.name, torch.stack(rows))
        for parameter, part in zip(shared, vector.split([p.numel() for p in shared]), strict=True):
            _add(parameter, part.view_as(parameter))
        extras = [value for value in losses.extra.values() if value.requires_grad]
        if extras:
            torch.stack(extras).sum().backward()


def _add(parameter: nn.Parameter, gradient: Tensor | None) -> None:
    if gradient is None:
        return
    if parameter.grad is None:  # in the parameter's own memory layout, which fused optimisers ask for
        parameter.grad = torch.zeros_like(parameter)
    parameter.grad += gradient


def aggregate(name: str, gradients: Tensor) -> Tensor:
    """Return the vector (P,) of gradients (n, P), one row a task.

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
        known = gramian[there][:, there]
        # To an overall norm of 1: torchjd's tolerances are absolute, and all of these rules are indifferent.
        weights[there] = RULES[name](known / known.trace())
    return weights.to(gradients) @ gradients


def _torchjd(name: str, times_n: bool, **values: Any) -> Callable[[Tensor], Tensor]:
    def rule(gramian: Tensor) -> Tensor:
        from torchjd import aggregation

        weights: Tensor = getattr(aggregation, f"{name}Weighting")(**values)(gramian)
        return weights * len(gramian) if times_n else weights

    return rule


def _unit_rows(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of norm 1 (n, n) with the cosines of the gradients between them, and the gradients' norms."""
    norms = gramian.diagonal().sqrt()
    values, vectors = torch.linalg.eigh(gramian / norms / norms[:, None])
    return vectors * values.clamp_min(0).sqrt(), norms


def _mgda(gramian: Tensor) -> Tensor:
    """The weights of the shortest convex combination, times n.

    Exact, where torchjd's iteration ends up to 0.2 % above the shortest. As non-negative least squares
    (Lawson and Hanson, 1974, on the least distance): with R the unit gradients as columns and b = smallest
    norm / norms, the u >= 0 that minimises |R u|^2 + (b u - 1)^2 is that combination in units of each norm.
    """
    from scipy.optimize import nnls

    rows, norms = _unit_rows(gramian)
    target = [0.0] * len(rows) + [1.0]
    found, _ = nnls(torch.cat([rows.T, (norms.min() / norms)[None]]).numpy(), target)
    weights = torch.from_numpy(found) / norms
    return weights * (len(rows) / weights.sum())


def _nash(gramian: Tensor) -> Tensor:
    """The bargain alpha with (G G^T) alpha = 1 / alpha, scaled to average 1.

    Solved for gradients of norm 1 each, which is the same bargain (alpha_t times the norm of g_t) but one
    that the solver finds where norms differ by orders. From the same start in every step: there is no state,
    so that no weight is left over from a batch with other tasks. Without torchjd's clip of the norm, which
    the step has already.
    """
    from torchjd.aggregation import NashMTL

    rows, norms = _unit_rows(gramian)  # torchjd wants gradients; these have the same inner products
    bargain = NashMTL(n_tasks=len(rows), max_norm=0.0).weighting
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not DPP")  # cvxpy, on torchjd's form of the problem
        alpha = bargain(rows) / norms
    return alpha * (len(rows) / alpha.sum())


# (n,) weights of gradients, none 0, from their inner products (n, n), float64 on the CPU. Where a paper's
# weights sum to 1, they are multiplied by n.
RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "upgrad": _torchjd("UPGrad", times_n=True),
    "pcgrad": _torchjd("PCGrad", times_n=False),
    "cagrad": _torchjd("CAGrad", times_n=True, c=CAGRAD_C, norm_eps=1e-6),
    "mgda": _mgda,
    "nash": _nash,
    "imtl_g": _torchjd("IMTLG", times_n=True),
    "aligned_mtl": _torchjd("AlignedMTL", times_n=True),
}
