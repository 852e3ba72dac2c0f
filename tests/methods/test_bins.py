"""Bins of regressions against loops over pixels, and the methods that trust them."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from benchmark.training.build import initialise
from datasets import tasks
from datasets.tasks import IGNORE, Task
from methods.base import Batch, Problem
from methods.consistency import Consistency
from methods.mean_teacher import MeanTeacher
from methods.networks.bins import Bins, BinTable
from methods.networks.decoders import upsampled
from tests.methods.cases import check_losses, names, problem, supervised
from tests.methods.pseudo_reference import cropped, slow_pseudo_loss, slow_ramp, sure

REGRESSIONS = {"depth": tasks.depth(), "inverse": tasks.inverse_depth(), "normals": tasks.normals()}


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v - max(values)) for v in values]
    return [p / sum(powers) for p in powers]


def slow_centres(task: Task, low: float = 0.67, high: float = 10.0, count: int = 30) -> list[list[float]]:
    if task.kind == "depth":
        if task.inverse:
            low, high, count = 0.01, 0.4922, 50
        ratio = (high / low) ** (1 / (count - 1))
        return [[low * ratio**k] for k in range(count)]
    found = []
    for i in range(40):
        z, angle = -1 + 1.2 * (i + 0.5) / 40, i * math.pi * (3 - math.sqrt(5))
        found.append([math.sqrt(1 - z * z) * math.cos(angle), math.sqrt(1 - z * z) * math.sin(angle), z])
    return found


def slow_value(task: Task, centres: list[list[float]], logits: list[float]) -> list[float]:
    chances = softmax(logits)
    value = [sum(p * c[i] for p, c in zip(chances, centres, strict=True)) for i in range(len(centres[0]))]
    length = math.sqrt(sum(v * v for v in value)) if task.kind == "normals" else 1.0
    return [v / length for v in value]


def slow_label(task: Task, centres: list[list[float]], target: list[float]) -> int | None:
    if not any(target):
        return None
    if task.kind == "depth":
        return min(range(len(centres)), key=lambda k: abs(centres[k][0] - target[0]))
    return max(range(len(centres)), key=lambda k: sum(a * b for a, b in zip(centres[k], target, strict=True)))


def slow_confidence(task: Task, centres: list[list[float]], logits: list[float], window: bool) -> float:
    if not window:
        return max(softmax([5 * z for z in logits]))
    chances = softmax(logits)
    top = chances.index(max(chances))
    near = [abs(k - top) <= 1 for k in range(len(centres))]
    if task.kind == "normals":
        cosines = [sum(a * b for a, b in zip(c, centres[top], strict=True)) for c in centres]
        near = [c > math.cos(math.radians(30)) for c in cosines]
    return sum(p for p, there in zip(chances, near, strict=True) if there)


def slow_bins_loss(case: Problem, table: BinTable, logits: dict[str, Tensor], data: Batch) -> Tensor:
    """Sum over regressions and their labelled samples, w_t T / |T_b| of the mean cross-entropy of pixels."""
    total = torch.zeros((), dtype=torch.float64)
    for t, (name, task) in enumerate(case.tasks.items()):
        if task.kind not in ("depth", "normals"):
            continue
        centres = table.of(name).centres.reshape(len(table.of(name).centres), -1).tolist()
        for b in range(len(data.images)):
            target = data.targets[name][b].flatten(1).t().tolist()
            full = upsampled(logits[name], case.size)[b].flatten(1).t()
            labels = [slow_label(task, centres, y) for y in target]
            known = [full[i].logsumexp(0) - full[i, k] for i, k in enumerate(labels) if k is not None]
            if known and data.labelled[b, t]:
                scale = len(case.tasks) / int(data.labelled[b].sum())
                weight = case.loss_weights.get(name, 1.0)
                total = total + weight * scale * torch.stack(known).mean()
    return total / len(data.images)


def test_centres_are_the_published_ones_and_follow_the_labels() -> None:
    for name, task in REGRESSIONS.items():
        bins = Bins(task)
        expected = torch.tensor(slow_centres(task))
        torch.testing.assert_close(bins.centres.reshape(expected.shape), expected)
        if task.kind == "normals":
            assert (bins.centres.norm(dim=1) - 1).abs().max() < 1e-6 and bins.centres[:, 2].max() < 0.2
            cosines = (bins.centres @ bins.centres.mT).fill_diagonal_(-1)
            assert 20 < math.degrees(math.acos(float(cosines.max()))) < 26, name
    bins, generator = Bins(tasks.depth()), torch.Generator().manual_seed(0)
    before = bins.centres.clone()
    bins.place(torch.zeros(2, 1, 4, 4))  # nothing is labelled
    assert torch.equal(bins.centres, before)
    labels = 1 + 4 * torch.rand(2, 1, 50, 50, generator=generator)
    labels[0, 0, 0, :9] = 1000.0  # fewer than one of two hundred
    labels[1] = torch.where(torch.rand(1, 50, 50, generator=generator) < 0.3, 0, labels[1])
    bins.place(labels)
    assert bins.centres[[0, -1]].tolist() == pytest.approx([1.02, 4.98], abs=0.02)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_values_labels_and_confidences_equal_the_loop(name: str) -> None:
    task, generator = REGRESSIONS[name], torch.Generator().manual_seed(1)
    bins = Bins(task).double()
    count = len(bins.centres)
    centres = bins.centres.reshape(count, -1).tolist()
    logits = 3 * torch.randn(2, count, 5, 7, generator=generator, dtype=torch.float64)
    target = torch.rand(2, task.target_channels, 5, 7, generator=generator, dtype=torch.float64)
    target = target * (4 if name == "depth" else 0.4) if task.kind == "depth" else target - 0.5
    target = torch.where(torch.rand(2, 1, 5, 7, generator=generator) < 0.3, 0, target)
    value, label, loss = bins.value(logits), bins.label(target), bins.losses(logits, target)
    confidences = [bins.confidence(logits, window) for window in (False, True)]
    for b in range(2):
        errors = []
        for i, j in itertools.product(range(5), range(7)):
            own, known = logits[b, :, i, j].tolist(), target[b, :, i, j].tolist()
            assert value[b, :, i, j].tolist() == pytest.approx(slow_value(task, centres, own), rel=1e-9)
            k = slow_label(task, centres, known)
            assert int(label[b, i, j]) == (IGNORE if k is None else k)
            if k is not None:
                errors.append(-math.log(softmax(own)[k]))
            for window, found in enumerate(confidences):
                slow = slow_confidence(task, centres, own, bool(window))
                assert float(found[b, 0, i, j]) == pytest.approx(slow, rel=1e-9)
        assert float(loss[b]) == pytest.approx(sum(errors) / len(errors), rel=1e-9)


@pytest.mark.parametrize("labelled", ["mixed", "six"])
@pytest.mark.parametrize("kind", [Consistency, MeanTeacher])
def test_losses_with_bins_equal_the_loop(kind: type, labelled: str) -> None:
    """Regressions are trusted by their bins' confidence alone; everything else is as without bins."""
    torch.manual_seed(3)
    given = {"confidence": 0.6, "agreement": 1e-9, "weight": 1.7, "ramp_up": 0.5}
    made = kind(problem(names(labelled), (16, 32)), trust="bins", certainty=0.2, **given)
    initialise(made, 0)
    sure(made.double())
    for head in made.bin_heads.values():
        head.weight.data *= 3
    data = cropped(made.problem, labelled)
    made.prepare(iter([data]))
    first, second = made.both(data)
    with torch.no_grad():
        teaches = made.teacher.run(data.images) if kind is MeanTeacher else first
    scores = made.bins.confidences(teaches[1])
    found = made.losses(data, torch.tensor(0.3, dtype=torch.float64))
    own = (made.problem, teaches[0], second[0], data.views[0], data.labelled, 0.6, 1e-9)
    pseudo = slow_pseudo_loss(*own, (scores, 0.2))
    assert pseudo > slow_pseudo_loss(*own)
    extra = {
        "bins": 0.1 * slow_bins_loss(made.problem, made.bins, first[1], data),
        "consistency": 1.7 * slow_ramp(0.3, 0.5) * pseudo,
    }
    check_losses(made, found, extra, supervised(made.problem, first[0], data))
