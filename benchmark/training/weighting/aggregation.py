"""Gradients of the shared parameters combined by an aggregator, over the tasks present in the batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmark.training.weighting.aggregators import aggregate
from benchmark.training.weighting.base import Balancing
from methods.base import Batch, Losses, Method


class Aggregation(Balancing):
    """The aggregator's vector for `shared_parameters()`; for every other parameter the sum of the tasks'
    gradients.

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
        present = [name for t, name in enumerate(self.tasks) if bool(batch.labelled_host[:, t].any())]
        if len(present) < 2:
            losses.total().backward()
            return
        shared, own = self._parameters_of
        rows: list[Tensor] = []
        for name in present:
            found = torch.autograd.grad(
                losses.tasks[name], [*shared, *own], retain_graph=True, allow_unused=True
            )
            rows.append(
                torch.cat(
                    [_or_zero(g, p).flatten() for g, p in zip(found[: len(shared)], shared, strict=True)]
                )
            )
            for parameter, gradient in zip(own, found[len(shared) :], strict=True):
                _add(parameter, gradient)
        vector = aggregate(self.name, torch.stack(rows))
        for parameter, gradient in zip(shared, _cut(vector, shared), strict=True):
            _add(parameter, gradient)
        extras = [value for value in losses.extra.values() if value.requires_grad]
        if extras:
            torch.stack(extras).sum().backward()


def _or_zero(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if gradient is None else gradient


def _cut(vector: Tensor, parameters: list[nn.Parameter]) -> Iterator[Tensor]:
    parts = vector.split([p.numel() for p in parameters])
    return (part.view_as(p) for part, p in zip(parts, parameters, strict=True))


def _add(parameter: nn.Parameter, gradient: Tensor | None) -> None:
    if gradient is None:
        return
    if parameter.grad is None:  # in the parameter's own memory layout, which fused optimisers ask for
        parameter.grad = torch.zeros_like(parameter)
    parameter.grad += gradient
