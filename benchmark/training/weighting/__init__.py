"""Loss weighting and gradient aggregation: how the losses of several tasks become one gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmark.spec.weighting import BALANCES, EQUAL
from benchmark.training.weighting.base import Balancing, Equal
from benchmark.training.weighting.gradients import Aggregation
from benchmark.training.weighting.losses import DWA, FAMO, GLS, RLW, Uncertainty

if TYPE_CHECKING:
    from benchmark.spec.protocol import Protocol
    from methods.base import Method

__all__ = ["DWA", "FAMO", "GLS", "RLW", "Aggregation", "Balancing", "Equal", "Uncertainty", "make"]

PLAIN: dict[str, Callable[..., Balancing]] = {
    "uncertainty": Uncertainty,
    "rlw": RLW,
    "gls": GLS,
    "famo": FAMO,
}


def make(name: str, method: Method, protocol: Protocol, steps: int) -> Balancing:
    """Return the balancing of a run of so many steps, on the device of the method."""
    tasks, shares = method.problem.tasks, method.problem.label_shares
    if BALANCES[name].kind == "gradients":
        return Aggregation(name, method)
    made: Balancing
    if name == EQUAL:
        made = Equal()
    elif name == "dwa":
        made = DWA(tasks, shares, steps / protocol.epochs)
    else:
        made = PLAIN[name](tasks, shares)
    return made.to(next(method.parameters()).device)
