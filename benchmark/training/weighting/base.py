"""Balancings: the losses of a batch to gradients, and what weightings of losses share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datasets.tasks import Task
from methods.base import Batch, Diagnostic, Losses
from methods.losses import sample_weights


class Balancing(nn.Module, ABC):
    """Turns the losses of a batch into gradients; its state is in its buffers and parameters."""

    @abstractmethod
    def backward(self, losses: Losses, batch: Batch) -> None:
        """Add this step's direction to the `grad` of every parameter."""

    def begin(self) -> None:
        """Begin a step: called before the method's losses."""

    def param_groups(self) -> list[dict[str, Any]]:
        """Return groups of the balancing's own parameters, as `Method.param_groups` has them."""
        return []

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Return named arrays for the record."""
        return {}


class LossBalancing(Balancing):
    """Minimises sum_t weight_t L_t + regulariser + extras.

    L_t is the loss of task t as the protocol reduces it: (1/B) sum_b w_bt l_t(b), with w_bt = 0 for a hidden
    label. How large it is depends on how many labels the batch happens to carry, which says nothing about the
    task. So rules are written in

        labels_t = (1/B) sum_b w_bt      1 where every label is there, 1 on average elsewhere
        l_t      = L_t / labels_t        the mean loss per label

    A task is absent where no label of it is visible, or none has a valid pixel: then L_t is exactly 0 and
    labels_t is set to 0. Its L_t carries no gradient whatever its weight is, so a rule has to care for two
    things: that l_t, which is not known, enters no sum over tasks and no state, and that no division by zero
    comes out of it.

    Everything is arithmetic on (T,) tensors of the device: static shapes, no value is read on the host.
    """

    seen: Tensor

    def __init__(self, tasks: Mapping[str, Task], shares: Tensor | None) -> None:
        """tasks: {name: Task} in the order of `Batch.labelled`. shares: (T,) of `Problem.label_shares`."""
        super().__init__()
        self.tasks = tuple(tasks)
        self.shares = shares
        # Sum of each task's weights over the steps in which it was present, and their number.
        self.register_buffer("seen", torch.zeros(2, len(self.tasks), dtype=torch.float64))

    @abstractmethod
    def _weights(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return (T,) weights from detached L_t and labels_t (T,), float64, once a step: state may move."""

    def _regulariser(self, labels: Tensor) -> Tensor | None:
        """Return what is minimised besides, from labels_t (T,)."""
        return None

    def backward(self, losses: Losses, batch: Batch) -> None:
        """Take the backward pass of the weighted sum."""
        if set(losses.tasks) != set(self.tasks):
            said, known = (", ".join(names) for names in (losses.tasks, self.tasks))
            raise TypeError(f"losses are of {said}, but the tasks to balance are {known}")
        values = torch.stack([losses.tasks[name] for name in self.tasks])
        detached = values.detach().double()
        labels = torch.where(detached != 0, sample_weights(batch.labelled, self.shares).double().mean(0), 0)
        weights = self._weights(detached, labels)
        present = (labels > 0).double()
        self.seen += torch.stack([weights.detach() * present, present])
        terms = [(weights.to(values) * values).sum(), *losses.extra.values()]
        regulariser = self._regulariser(labels)
        if regulariser is not None:
            terms.append(regulariser)
        torch.stack([term.to(values) for term in terms]).sum().backward()

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Return each task's weight, averaged over the steps in which it was present."""
        total, count = self.seen.cpu().numpy()
        means = (total / np.maximum(count, 1))[:, None]
        axes = ("task", "mean over steps")
        return {"balance_weights": Diagnostic("matrix", means, (self.tasks, ("weight",)), axes)}


def per_label(losses: Tensor, labels: Tensor) -> Tensor:
    """Return (T,) mean loss per label, 1 (whose logarithm is 0) for absent tasks."""
    return torch.where(labels > 0, losses / torch.where(labels > 0, labels, 1), 1)


def present_softmax(logits: Tensor, present: Tensor) -> Tensor:
    """Return (T,) softmax over the tasks present (T,) bool, 0 for the others; all 0 where none is."""
    top = torch.where(present, logits, -torch.inf).max()
    powers = torch.where(present, torch.exp(logits - top), 0)
    return powers / powers.sum().clamp_min(torch.finfo(powers.dtype).tiny)
