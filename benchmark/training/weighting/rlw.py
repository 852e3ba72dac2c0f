"""Random loss weighting (Lin, Ye, Zhang and Tsang, TMLR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.training.weighting.base import LossBalancing, present_softmax


class RLW(LossBalancing):
    """Weights of n tasks are n softmax(z), z standard normal, drawn in every step.

    z comes from the global generator, which is seeded before each step and from which the method has drawn
    first: a resumed run draws the same, and no draw of the method's depends on the balancing.

    Absence: the softmax is over the n tasks present, though a number is drawn for every task.
    """

    def weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        present = labels > 0
        z = torch.randn(labels.shape, dtype=labels.dtype, device=labels.device)
        return present.sum() * present_softmax(z, present)
