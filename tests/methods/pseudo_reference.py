"""Pseudo-labels sample by sample and pixel by pixel, from the formulas."""

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor

from datasets.tasks import Task
from methods.base import Batch, Method, Problem, View
from tests.methods.cases import Labelled, batch, check_losses, sample_loss, supervised

Map = list[list[list[float]]]  # [channel][row][column]


def sampled(map_: Map, x: float, y: float) -> list[float]:
    """Bilinear value at (x, y) in normalised coordinates, the border repeated."""
    height, width = len(map_[0]), len(map_[0][0])
    column = min(max((x + 1) * width / 2 - 0.5, 0), width - 1)
    row = min(max((y + 1) * height / 2 - 0.5, 0), height - 1)
    left, top = min(int(column), width - 2), min(int(row), height - 2)
    u, v = column - left, row - top
    return [
        (1 - v) * ((1 - u) * c[top][left] + u * c[top][left + 1])
        + v * ((1 - u) * c[top + 1][left] + u * c[top + 1][left + 1])
        for c in map_
    ]  # fmt: skip


def length(vector: list[float]) -> float:
    return max(math.sqrt(sum(v * v for v in vector)), 1e-6)


def slow_target(
    task: Task, source: Tensor, online: Tensor, image: Tensor, geometry: Tensor, confidence: float,
    agreement: float, certain: tuple[Tensor, float] | None = None,
) -> Tensor:  # fmt: skip
    """(C', H, W) target of one sample's further view, from predictions (C, H, W)."""
    (a, b, c), (d, e, f) = geometry.tolist()
    height, width = source.shape[1:]
    maps, seen, pixels = source.tolist(), online.tolist(), image.tolist()
    found = torch.full((task.target_channels, height, width), task.ignore, dtype=torch.float64)
    for i, j in itertools.product(range(height), range(width)):
        x, y = (2 * j + 1) / width - 1, (2 * i + 1) / height - 1
        value = sampled(maps, a * x + b * y + c, d * x + e * y + f)
        other = [channel[i][j] for channel in seen]
        least = agreement  # of a regression's difference, or any where its confidence is enough
        if certain is not None:
            score = sampled(certain[0].tolist(), a * x + b * y + c, d * x + e * y + f)[0]
            least = math.inf if score > certain[1] else -math.inf
        if all(channel[i][j] == 0 for channel in pixels):
            continue
        if task.kind == "classes":
            total = sum(math.exp(v - max(value)) for v in value)
            if 1 / total > confidence:
                found[0, i, j] = value.index(max(value))
        elif task.kind in ("edge", "saliency"):
            probability = 1 / (1 + math.exp(-value[0]))
            if max(probability, 1 - probability) > confidence:
                found[0, i, j] = float(probability > 0.5)
        elif task.kind == "depth":
            depth = value[0] / a if task.inverse else value[0] * a
            if abs(depth - other[0]) < least:
                found[0, i, j] = depth
        else:
            normal = [v / length(value) for v in value]
            cosine = sum(n * o / length(other) for n, o in zip(normal, other, strict=True))
            if 1 - cosine < least:
                found[:, i, j] = torch.tensor(normal, dtype=torch.float64)
    return found


def slow_pseudo_loss(
    problem: Problem, source: dict[str, Tensor], online: dict[str, Tensor], view: View, labelled: Tensor,
    confidence: float, agreement: float, certain: tuple[dict[str, Tensor], float] | None = None,
    edge: tuple[float, float] | None = None,
) -> Tensor:  # fmt: skip
    """(1/B) sum_b sum_{t not labelled in b} w_t loss_t, before the method's weight and ramp."""
    total = torch.zeros((), dtype=torch.float64)
    for b, t in (~labelled).nonzero().tolist():
        name, task = list(problem.tasks.items())[t]
        maps = (source[name][b], online[name][b], view.images[b], view.geometry[b])
        own = None if certain is None or name not in certain[0] else (certain[0][name][b], certain[1])
        least, weight = edge if edge is not None and task.kind == "edge" else (confidence, 1.0)
        target = slow_target(task, *maps, least, agreement, own)
        weight *= problem.loss_weights.get(name, 1.0)
        total = total + weight * sample_loss(task, online[name][b], target)
    return total / len(labelled)


def slow_ramp(progress: float, over: float) -> float:
    return 1.0 if progress >= over else math.exp(-5 * (1 - progress / over) ** 2)


def crops(count: int) -> Tensor:
    """(count, 2, 3) geometries of crops: scales 1, 1.2, 1.5, ..., and other places."""
    rows = []
    for i in range(count):
        scale = (1.0, 1.2, 1.5, 2.0)[i % 4]
        room = 1 - 1 / scale
        rows.append([[1 / scale, 0.0, room * (0.7 - 0.4 * i)], [0.0, 1 / scale, room * (0.3 * i - 0.9)]])
    return torch.tensor(rows, dtype=torch.float64)


def cropped(problem: Problem, labelled: Labelled, seed: int = 0) -> Batch:
    """A batch whose second view is a crop, as its geometry says."""
    plain = batch(problem, labelled, views=1, seed=seed)
    return replace(plain, views=(replace(plain.views[0], geometry=crops(len(plain.images))),))


KEYWORDS = {"confidence": 0.6, "agreement": 0.2, "weight": 1.7, "ramp_up": 0.5}


def sure(made: Method) -> Method:
    """An untrained network is sure of little."""
    for name, head in made.heads.items():
        head.conv.weight.data *= 20 if made.problem.tasks[name].is_map_of_integers else 1
    return made


def both(made: Method, given: Batch) -> list[dict[str, Tensor]]:
    """Predictions for the first view and for the second, which the networks see in one batch."""
    shared = made.encoder(torch.cat([given.images, given.views[0].images]))
    predictions = {name: made.heads[name](made.decoders[name](shared)) for name in made.problem.tasks}
    return [{name: p.chunk(2)[i] for name, p in predictions.items()} for i in range(2)]


def check_pseudo(made: Method, given: Batch, progress: float, source: dict[str, Tensor] | None) -> None:
    """Losses of a method with `KEYWORDS` and their gradient against loops; source: what labels, where it is
    not the method itself.
    """
    first, second = both(made, given)
    found = made.losses(given, torch.tensor(progress, dtype=torch.float64))
    pseudo = slow_pseudo_loss(made.problem, source or first, second, given.views[0], given.labelled, 0.6, 0.2)
    assert (pseudo > 0) != bool(given.labelled.all())
    total = 1.7 * slow_ramp(progress, 0.5) * pseudo
    check_losses(made, found, {"consistency": total}, supervised(made.problem, first, given))
