"""Operations and parameters of a method, counted on tensors without data, so on any machine alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmark.spec import registry
from benchmark.spec.protocol import Protocol
from benchmark.training.build import problem
from datasets.tasks import Task
from methods.base import Batch, Method, Problem, View, ViewKind, view_kinds
from methods.networks.taught import TaughtBatch

Shape = Sequence[int]


def _batch(problem: Problem, size: int, views: int | tuple[ViewKind, ...]) -> Batch:
    """Return `size` samples of zeros with every label, and a teacher's map of every task."""

    def targets() -> dict[str, torch.Tensor]:
        maps = {}
        for name, task in problem.tasks.items():
            dtype = torch.long if task.is_map_of_integers else torch.float32
            maps[name] = torch.zeros(size, task.target_channels, *problem.size, dtype=dtype)
        return maps

    labelled = torch.ones(size, len(problem.tasks), dtype=torch.bool)
    images = torch.zeros(size, 3, *problem.size)
    erased = torch.zeros(size, 1, *problem.size, dtype=torch.bool)
    more = tuple(
        View(images, targets(), torch.zeros(size, 2, 3), erased if kind.cutout else None)
        for kind in view_kinds(views)
    )
    index = torch.zeros(size, dtype=torch.long)
    return TaughtBatch(images, targets(), labelled, labelled, index, more, targets())


def _of_backward(gradient: Shape, x: Shape, weight: Shape, *more: Any, **options: Any) -> int:
    """A convolution's backward pass: for each of the two gradients as much as the pass forward. torch's own
    count takes a grouped weight's gradient for that of a dense one, hundreds of times too much for a
    depthwise convolution."""
    transposed, wanted = more[4], more[7]
    places = (x if transposed else gradient)[2:]
    return 2 * x[0] * math.prod(places) * math.prod(weight) * sum(wanted[:2])


_CORRECTED = {torch.ops.aten.convolution_backward: _of_backward}
FORMULAS = FlopCounterMode(display=False, custom_mapping=_CORRECTED).flop_registry


class Counter(TorchDispatchMode):
    """Counts the operations of what runs in it, as `workload` does.

    torch's own counter also tells modules apart, which takes most of the time of a small network's step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if formula := FORMULAS.get(function.overloadpacket):
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def parameters(method: Method) -> dict[str, int]:
    """Return how many parameters are held in training and how many a prediction needs."""
    shipped = {id(p): p.numel() for module in method.inference_modules() for p in module.parameters()}
    return {
        "params_train": sum(p.numel() for p in method.parameters()),
        "params_infer": sum(shipped.values()),
    }


def workload(
    name: str, protocol: Protocol, tasks: dict[str, Task], hyperparameters: dict[str, Any]
) -> dict[str, float]:
    """Return the cost of a method under a protocol, of a one-task method summed over its tasks' networks.

    train_flops: floating-point operations of losses and backward, an image; infer_flops: of a prediction, an
    image; and `parameters`. Counted are convolutions, matrix products and attention, a multiplication and an
    addition as two.
    """
    kind = registry.method(name)
    parts = [{n: task} for n, task in tasks.items()] if kind.one_task else [tasks]
    found = [_one(kind, protocol, part, hyperparameters) for part in parts]
    return {key: sum(each[key] for each in found) for key in found[0]}


def _one(
    kind: type[Method], protocol: Protocol, tasks: dict[str, Task], hyperparameters: dict[str, Any]
) -> dict[str, float]:
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        method = kind(problem(protocol, tasks), **hyperparameters)
        batch = _batch(method.problem, protocol.batch, method.views)
        with Counter() as train:
            method.losses(batch, torch.zeros(())).total().backward()
        with Counter() as infer, torch.no_grad():
            method.eval().predict(batch.images)
    flops = {"train_flops": train.total / protocol.batch, "infer_flops": infer.total / protocol.batch}
    return flops | parameters(method)
