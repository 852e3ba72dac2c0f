"""Loss weighting and gradient aggregation: how the losses of several tasks become one gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.spec.protocol import Protocol
from benchmark.spec.weighting import BALANCES, OfAMTLG, OfEqual
from benchmark.training.weighting.achievement import AMTLG, Equal
from benchmark.training.weighting.base import Balancing, LossBalancing
from benchmark.training.weighting.gradients import Aggregation
from benchmark.training.weighting.losses import DWA, FAMO, GLS, RLW, Isolate, Uncertainty
from methods.base import Method

PLAIN: dict[str, type[LossBalancing]] = {
    "uncertainty": Uncertainty, "rlw": RLW, "gls": GLS, "famo": FAMO, "isolate": Isolate,
}  # fmt: skip


def make(
    name: str, method: Method, protocol: Protocol, steps: int, given: Mapping[str, Any] = {}
) -> Balancing:
    """Return the balancing of a run of so many steps, on the device of the method.

    given: its hyperparameters away from their defaults.
    """
    tasks, shares = method.problem.tasks, method.problem.label_shares
    if BALANCES[name].kind == "gradients":
        return Aggregation(name, method)
    made: Balancing
    values = BALANCES[name].hyperparameters(**given)
    if isinstance(values, OfEqual):
        made = Equal(method.problem if values.scores else None)
    elif isinstance(values, OfAMTLG):
        made = AMTLG(method.problem, values)
    elif name == "dwa":
        made = DWA(tasks, shares, steps / protocol.epochs)
    else:
        made = PLAIN[name](tasks, shares)
    return made.to(next(method.parameters()).device)
