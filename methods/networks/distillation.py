"""Multi-modal distillation (PAD-Net): tasks receive from others what a spatial attention lets through."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Distillation(nn.Module):
    """Compute F_k + sum over l != k of sigmoid(A_kl * F_l) x (W_kl * F_l).

    With 3x3 convolutions A (with bias) and W (without). As in the survey of Vandenhende et al. (TPAMI 2021)
    the attention is read from the sender l; PAD-Net's own module C reads one attention a task from the
    receiver k. A sender's convolutions to all receivers, in the order of the tasks, are one.
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        out = (tasks - 1) * width
        self.attend = nn.ModuleList(nn.Conv2d(width, out, 3, padding=1) for _ in range(tasks))
        self.send = nn.ModuleList(nn.Conv2d(width, out, 3, padding=1, bias=False) for _ in range(tasks))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """One feature (B, C, h, w) a task to what it becomes."""
        out = list(features)
        for sender, (feature, attend, send) in enumerate(zip(features, self.attend, self.send, strict=True)):
            messages = torch.sigmoid(attend(feature)) * send(feature)
            receivers = [k for k in range(len(out)) if k != sender]
            for k, message in zip(receivers, messages.chunk(len(receivers), 1), strict=True):
                out[k] = out[k] + message
        return out
