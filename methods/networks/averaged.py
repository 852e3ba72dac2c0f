"""A teacher's weights: the moving average of a student's."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def start(teacher: nn.Module, student: nn.Module) -> None:
    """Make the teacher a copy of the parts of the student that it has too."""
    for name, part in teacher.named_children():
        part.load_state_dict(student.get_submodule(name).state_dict())


@torch.no_grad()
def move(teacher: nn.Module, student: nn.Module, updates: Tensor, decay: float) -> None:
    """Move the average after a step, theta' <- a theta' + (1 - a) theta, and count it.

    a = min(decay, (k + 1) / (k + 10)) with k = `updates`, a counter on the device.
    """
    warmed = ((updates.double() + 1) / (updates + 10)).clamp(max=decay)
    share = (1 - warmed).to(next(teacher.parameters()))
    averages, own = list[Tensor](), list[Tensor]()
    for name, part in teacher.named_children():
        averages += part.parameters()
        own += student.get_submodule(name).parameters()
    steps = list(torch._foreach_sub(own, averages))  # three kernels for all parameters, not one for each
    torch._foreach_mul_(steps, share)
    torch._foreach_add_(averages, steps)
    updates += 1
