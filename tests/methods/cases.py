"""Small problems and batches in float64, and the mode under which a step must run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contract.methods import NoSync as NoSync
from datasets import tasks
from datasets.tasks import Task
from methods.base import Batch, Problem, View
from methods.networks.encoders import Encoder, Small

ALL: dict[str, Task] = {
    "semseg": tasks.semseg(tuple("abcde")),
    "depth": tasks.depth(),
    "normals": tasks.normals(),
    "edge": tasks.edge(),
    "saliency": tasks.saliency(),
    "parts": tasks.parts(tuple("abc")),
}
THREE = ("semseg", "depth", "normals")


def problem(
    names: tuple[str, ...] = THREE, size: tuple[int, int] = (32, 64), width: int = 8, blocks: int = 1
) -> Problem:
    chosen = {name: ALL[name] for name in names}
    return Problem(chosen, size, width, blocks, lambda: Encoder(Small(), width), {names[0]: 1.5})


def labels(
    case: Problem, labelled: Tensor, generator: torch.Generator, empty: tuple[tuple[int, str], ...]
) -> dict[str, Tensor]:
    """Random targets with a fifth of the pixels unknown, hidden where not `labelled`; `empty`: no valid pixel
    there.
    """
    found, b = {}, len(labelled)
    for t, (name, task) in enumerate(case.tasks.items()):
        shape = (b, task.target_channels, *case.size)
        if task.is_map_of_integers:
            target = torch.randint(0, max(2, task.channels), shape, generator=generator)
        else:
            target = torch.rand(shape, generator=generator, dtype=torch.float64) * 4 - (
                2 if task.kind == "normals" else -0.5
            )
            target = F.normalize(target, dim=1) if task.kind == "normals" else target
        shown = torch.rand(b, 1, *case.size, generator=generator) > 0.2
        shown &= labelled[:, t, None, None, None]
        for sample, which in empty:
            if which == name:
                shown[sample] = False
        found[name] = torch.where(shown, target, task.ignore)
    return found


def batch(
    case: Problem,
    labelled: list[list[int]],
    views: int = 0,
    seed: int = 0,
    empty: tuple[tuple[int, str], ...] = (),
) -> Batch:
    """empty: (sample, task) without a valid pixel in the last view, or in the first where there is no
    other.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor(labelled, dtype=torch.bool)
    shape = (len(mask), 3, *case.size)
    images = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(views + 1)]
    targets = [labels(case, mask, generator, empty if view == views else ()) for view in range(views + 1)]
    further = tuple(
        View(images[v], targets[v], torch.eye(2, 3).repeat(len(mask), 1, 1)) for v in range(1, views + 1)
    )
    return Batch(images[0], targets[0], mask, mask, torch.arange(len(mask)), further)


def check_gradients(module: nn.Module, found: Tensor, expected: Tensor) -> None:
    """Two losses have the same gradient with respect to every parameter; none is 0."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    grads = []
    for loss in (found, expected):
        given = (
            torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
            if loss.requires_grad
            else [None] * len(trained)
        )
        grads.append(
            [torch.zeros_like(p) if g is None else g for g, p in zip(given, trained.values(), strict=True)]
        )
    largest = max(float(g.abs().max()) for g in grads[1])
    for name, one, two in zip(trained, *grads, strict=True):
        torch.testing.assert_close(
            one, two, rtol=1e-6, atol=1e-11 * largest, msg=lambda said, name=name: f"{name}: {said}"
        )


def single(data: Batch) -> Batch:
    """The same batch in float32."""

    def narrow(x: Tensor) -> Tensor:
        return x.float() if x.is_floating_point() else x

    views = tuple(
        View(narrow(v.images), {k: narrow(x) for k, x in v.targets.items()}, v.geometry) for v in data.views
    )
    targets = {k: narrow(x) for k, x in data.targets.items()}
    return Batch(narrow(data.images), targets, data.labelled, data.labelled_host, data.index, views)
