"""Small problems and batches in float64, and the slow references that several methods share."""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets import tasks
from datasets.tasks import Task
from methods.base import Batch, Losses, Problem, View
from methods.networks.encoders import Encoder, Small
from methods.networks.taught import TaughtBatch

ALL: dict[str, Task] = {
    "semseg": tasks.semseg(tuple("abcde")),
    "depth": tasks.depth(),
    "normals": tasks.normals(),
    "edge": tasks.edge(),
    "saliency": tasks.saliency(),
    "parts": tasks.parts(tuple("abc")),
}
THREE = ("semseg", "depth", "normals")
# Which sample of a batch has which label.
LABELS = {
    "one": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "mixed": [[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]],
    "none or all": [[0, 0, 0], [1, 1, 1]],
    "full": [[1, 1, 1]] * 2,
    "nothing": [[0, 0, 0]] * 2,
    "six": [[1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0]],
}
Labelled = str | list[list[int]]
Empty = tuple[tuple[int, str], ...]
EMPTY = ((0, "semseg"), (1, "depth"), (2, "normals"))  # with "one", no label has a valid pixel


def names(labelled: str) -> tuple[str, ...]:
    """The tasks of `LABELS`."""
    return tuple(ALL)[: len(LABELS[labelled][0])]


def problem(
    names: tuple[str, ...] = THREE, size: tuple[int, int] = (32, 64), width: int = 8, blocks: int = 1
) -> Problem:
    chosen = {name: ALL[name] for name in names}
    return Problem(chosen, size, width, blocks, lambda: Encoder(Small(), width), {names[0]: 1.5})


def labels(
    case: Problem, labelled: Tensor, generator: torch.Generator, empty: Empty, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Random targets, a fifth of the pixels unknown, hidden where not `labelled`; `empty`: no valid pixel."""
    found, b = {}, len(labelled)
    for t, (name, task) in enumerate(case.tasks.items()):
        shape = (b, task.target_channels, *case.size)
        if task.is_map_of_integers:
            target = torch.randint(0, max(2, task.channels), shape, generator=generator)
        else:
            target = torch.rand(shape, generator=generator, dtype=torch.float64) * 4
            target = F.normalize(target - 2, dim=1) if task.kind == "normals" else target + 0.5
            target = target.to(dtype)
        shown = torch.rand(b, 1, *case.size, generator=generator) > 0.2
        shown &= labelled[:, t, None, None, None]
        for sample, which in empty:
            if which == name:
                shown[sample] = False
        found[name] = torch.where(shown, target, task.ignore)
    return found


def batch(
    case: Problem, labelled: Labelled, views: int = 0, seed: int = 0, empty: Empty = (), single: bool = False
) -> TaughtBatch:
    """labelled: rows of 0 and 1, or their name. empty: (sample, task) without a valid pixel in the last view,
    or in the first where there is no other.
    """
    rows = [row[: len(case.tasks)] for row in LABELS[labelled]] if isinstance(labelled, str) else labelled
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor(rows, dtype=torch.bool)
    shape = (len(mask), 3, *case.size)
    dtype = torch.float32 if single else torch.float64
    images = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(views + 1)]
    images = [image.to(dtype) for image in images]
    empties = [() if view < views else empty for view in range(views + 1)]
    targets = [labels(case, mask, generator, each, dtype) for each in empties]
    whole = torch.eye(2, 3).repeat(len(mask), 1, 1)
    further = tuple(View(images[v], targets[v], whole) for v in range(1, views + 1))
    teacher = labels(case, torch.ones_like(mask), torch.Generator().manual_seed(seed + 1000), (), dtype)
    return TaughtBatch(images[0], targets[0], mask, mask, torch.arange(len(mask)), further, teacher)


def check_gradients(module: nn.Module, found: Tensor, expected: Tensor) -> None:
    """Two losses have the same gradient with respect to every parameter."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    grads = []
    for loss in (found, expected):
        some = {"allow_unused": True, "materialize_grads": True}
        none = [torch.zeros_like(p) for p in trained.values()]
        grads.append(torch.autograd.grad(loss, [*trained.values()], **some) if loss.requires_grad else none)
    largest = max(float(g.abs().max()) for g in grads[1])
    for name, one, two in zip(trained, *grads, strict=True):
        said = lambda text, name=name: f"{name}: {text}"  # noqa: E731
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-11 * largest, msg=said)


# What learns, and what does not.


def moved(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool((parameter.grad != 0).any())


def reached(module: nn.Module) -> bool:
    return any(map(moved, module.parameters()))


def constant(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).requires_grad_(False)


# Losses of one sample, and the reduction that all methods share.


def pixel_loss(task: Task, prediction: list[float], target: list[float], positives: float) -> float | None:
    """Loss of one pixel, or None where it carries no label. positives: their share of the sample's pixels."""
    if target[0] == 255 if task.is_map_of_integers else not any(target):
        return None
    if task.kind == "classes":
        top = max(prediction)
        return top + math.log(sum(math.exp(p - top) for p in prediction)) - prediction[int(target[0])]
    if task.kind in ("edge", "saliency"):
        weight = 0.95 if task.kind == "edge" else 1 - positives
        probability = 1 / (1 + math.exp(-prediction[0]))
        chance = probability if target[0] == 1 else 1 - probability
        return -(weight if target[0] == 1 else 1 - weight) * math.log(chance)
    if task.kind == "depth":
        return abs(prediction[0] - target[0])
    length = math.sqrt(sum(p * p for p in prediction))
    return sum(abs(p / length - t) for p, t in zip(prediction, target, strict=True))


def slow_loss(task: Task, prediction: Tensor, target: Tensor) -> float:
    """Mean of `pixel_loss` over the labelled pixels of one sample (C, H, W); 0 without any."""
    predicted = prediction.flatten(1).t().tolist()
    known = target.flatten(1).t().tolist()
    positives, valid = sum(t[0] == 1 for t in known), sum(t[0] != 255 for t in known)
    found = [pixel_loss(task, p, t, positives / max(1, valid)) for p, t in zip(predicted, known, strict=True)]
    values = [value for value in found if value is not None]
    return sum(values) / len(values) if values else 0.0


def sample_loss(task: Task, prediction: Tensor, target: Tensor) -> Tensor:
    """`slow_loss` with its gradient: the pixels of one sample (C, H, W) at once."""
    x, y = prediction.flatten(1), target.flatten(1).to(prediction.dtype)
    known = y[0] != 255 if task.is_map_of_integers else (y != 0).any(0)
    if not known.any():
        return 0 * x.sum()
    x, y = x[:, known], y[:, known]
    if task.kind == "classes":
        return (x.logsumexp(0) - x.gather(0, y.long())).mean()
    if task.is_map_of_integers:
        weight = 0.95 if task.kind == "edge" else 1 - y.mean()
        return -(weight * y * F.logsigmoid(x) + (1 - weight) * (1 - y) * F.logsigmoid(-x)).mean()
    return ((x if task.kind == "depth" else x / x.norm(dim=0)) - y).abs().sum(0).mean()


def supervised(problem: Problem, predictions: dict[str, Tensor], data: Batch) -> dict[str, Tensor]:
    """{task: (1/B) sum over its labelled samples of w_t T / |T_b| loss_t}, one by one."""
    found = {}
    for t, (name, task) in enumerate(problem.tasks.items()):
        total = torch.zeros((), dtype=torch.float64)
        for b in range(len(data.images)):
            if data.labelled[b, t]:
                scale = len(problem.tasks) / int(data.labelled[b].sum())
                total = total + scale * sample_loss(task, predictions[name][b], data.targets[name][b])
        found[name] = problem.loss_weights.get(name, 1.0) * total / len(data.images)
    return found


def check_losses(made: nn.Module, found: Losses, extra: dict[str, Tensor], tasks: dict[str, Tensor]) -> None:
    assert list(found.extra) == list(extra) and list(found.tasks) == list(tasks)
    for name, value in (extra | tasks).items():
        torch.testing.assert_close((found.extra | found.tasks)[name], value, rtol=1e-7, atol=1e-12)
    check_gradients(made, found.total(), Losses(tasks, extra).total())


# Parts of networks, sample by sample.


def largest(logits: Tensor) -> Tensor:
    """In place of the Gumbel sample: the most likely class, with the gradient of the softmax."""
    soft = logits.softmax(1)
    return mostly(F.one_hot(logits.argmax(1), logits.shape[1]).movedim(-1, 1).to(soft), soft)


def mostly(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard` with the gradient and a tenth of the values of `soft`: poolings take any of equal ones."""
    return 0.9 * (hard - soft.detach()) + soft


def slow_input(task: Task, map_: Tensor, is_label: bool) -> Tensor:
    """The mapper's input (C, H, W) for a prediction or label (C', H, W); `largest` of what would be drawn."""
    if task.kind == "depth":
        return map_ / map_.abs().max().clamp_min(1e-6)
    if task.kind == "normals":
        length = 1.0 if is_label else (map_**2).sum(0).clamp_min(1e-12) ** 0.5
        return (map_ / length + 1) / 2
    if is_label:
        values = range(task.channels) if task.kind == "classes" else [1]
        return torch.stack([map_[0] == value for value in values]).double()
    chances = map_.softmax(0) if task.kind == "classes" else map_.sigmoid()
    hard = [map_[0] > 0]
    if task.kind == "classes":
        hard = [map_.argmax(0) == value for value in range(task.channels)]
    return mostly(torch.stack(hard).double(), chances)


def batch_norm(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """A fresh BatchNorm in training, over a batch of one (1, C, h, w)."""
    assert len(x) == 1
    return F.batch_norm(x, None, None, weight, bias, training=True)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine over channels, averaged over the cells of (c, h, w)."""
    return 1 - F.cosine_similarity(a, b, dim=0, eps=1e-12).mean()


def slow_attention(block: Any, x: Tensor, y: Tensor) -> Tensor:
    """One sample, head by head and query by query: x (n, e), y (k, e)."""
    query, (key, value) = block.query(x), block.key_value(y).chunk(2, -1)
    size = query.shape[1] // block.heads
    rows = []
    for q in query:
        parts = []
        for head in range(block.heads):
            s = slice(head * size, (head + 1) * size)
            weights = torch.stack([q[s] @ k[s] / math.sqrt(size) for k in key]).exp()
            parts.append(sum(w / weights.sum() * v[s] for w, v in zip(weights, value, strict=True)))
        rows.append(torch.cat(parts))
    return block.out(torch.stack(rows))


def slow_retrieved(network: Any, feature: Tensor, keys: Tensor | None) -> Tensor:
    """(C, h, w) of one sample's feature and its embedded keys (k, e); without keys, the learnt constants."""
    small = F.avg_pool2d(feature[None], 4, ceil_mode=True)[0]
    x = network.enter(small.flatten(1).t())
    for block in network.blocks:
        z = block.norm1(x)
        x = x + slow_attention(block.attend, z, z)
        own = block.retrieve
        x = x + (own.value if keys is None else slow_attention(own, block.norm2(x), keys))
        x = x + block.feed(block.norm3(x))
    back = network.leave(x).t().reshape(1, -1, *small.shape[1:])
    return feature + F.interpolate(back, feature.shape[1:], mode="bilinear", align_corners=False)[0]
