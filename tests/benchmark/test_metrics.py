"""Every metric against a loop over pixels, and what all meters must have in common."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.metrics.maps import ANGLE_BIN, meter
from benchmark.metrics.pooled import ABOUT
from datasets import tasks
from datasets.tasks import IGNORE, Task

SEMSEG = tasks.semseg(("wall", "floor", "door", "lamp", "bed"))
PARTS = tasks.parts(("background", "head", "arm"))
TASKS = (SEMSEG, PARTS, tasks.depth(), tasks.normals(), tasks.saliency(), tasks.edge())
by_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def sample(task: Task, images: int = 6, height: int = 9, width: int = 13) -> tuple[Tensor, Tensor]:
    """Random raw predictions and targets; pixels without label, and in the last image but one no others."""
    g = torch.Generator().manual_seed(0)
    prediction = torch.randn(images, task.channels, height, width, generator=g) * 2
    if task.kind == "classes":
        # The last class is predicted but never true.
        target = torch.randint(0, task.channels - 1, (images, 1, height, width), generator=g)
    elif task.kind == "depth":
        prediction, target = prediction + 3, torch.rand(images, 1, height, width, generator=g) * 8 + 0.5
    elif task.kind == "normals":
        target = torch.nn.functional.normalize(torch.randn(images, 3, height, width, generator=g), dim=1)
        prediction = prediction + 2 * target
    else:
        target = (torch.rand(images, 1, height, width, generator=g) < 0.25).long()
        prediction = prediction + 2 * target
    hidden = torch.rand(images, 1, height, width, generator=g) < 0.2
    hidden[-2] = True
    return prediction, torch.where(hidden, task.ignore, target)


def judge(task: Task, prediction: Tensor, target: Tensor) -> dict[str, float]:
    return meter(task).values(meter(task).statistics(prediction, target).sum(0).numpy())


# --- one at a time, against loops


@pytest.mark.parametrize("task", [SEMSEG, PARTS], ids=["semseg", "parts"])
def test_miou_equals_a_loop_over_pixels(task: Task) -> None:
    prediction, target = sample(task)
    hit, missed, wrong = ([0] * task.channels for _ in range(3))
    for image in range(len(target)):
        for y, x in np.ndindex(*target.shape[-2:]):
            true = int(target[image, 0, y, x])
            if true == IGNORE:
                continue
            said = int(np.argmax(prediction[image, :, y, x].numpy()))
            if said == true:
                hit[true] += 1
            else:
                missed[true] += 1
                wrong[said] += 1
    present = [c for c in range(task.channels) if hit[c] + missed[c] > 0]
    iou = {c: hit[c] / (hit[c] + missed[c] + wrong[c]) for c in present}
    values = judge(task, prediction, target)
    assert present == list(range(task.channels - 1)) and wrong[-1] > 0
    assert values["mIoU"] == pytest.approx(100 * sum(iou.values()) / len(iou), rel=1e-12)
    assert values["pixAcc"] == pytest.approx(100 * sum(hit) / (sum(hit) + sum(missed)), rel=1e-12)
    for c, v in iou.items():
        assert values[f"IoU/{task.classes[c]}"] == pytest.approx(100 * v, rel=1e-12)
    assert len(values) == 2 + len(iou)


def test_depth_errors_equal_a_loop_over_pixels() -> None:
    task = tasks.depth()
    prediction, target = sample(task)
    target[0, 0, 0, :3] = torch.tensor([math.nan, math.inf, 0])
    prediction[0, 0, 0, :3] = math.nan  # whatever is said where there is no label must not matter
    absolute, relative, squared = [], [], []
    for p, d in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
        if d != 0 and math.isfinite(d):
            absolute.append(abs(p - d))
            relative.append(abs(p - d) / d)
            squared.append((p - d) ** 2)
    values = judge(task, prediction, target)
    assert values["absErr"] == pytest.approx(np.mean(absolute), rel=1e-12)
    assert values["relErr"] == pytest.approx(np.mean(relative), rel=1e-12)
    assert values["RMSE"] == pytest.approx(math.sqrt(np.mean(squared)), rel=1e-12)


def test_normals_equal_a_loop_over_pixels() -> None:
    """By the dot product in float64."""
    prediction, target = sample(tasks.normals())
    degrees = []
    pixels = (x.movedim(1, -1).reshape(-1, 3).double().numpy() for x in (prediction, target))
    for p, g in zip(*pixels, strict=True):
        if g.any():
            cosine = np.clip(p @ g / np.linalg.norm(p) / np.linalg.norm(g), -1, 1)
            degrees.append(math.degrees(math.acos(cosine)))
    exact = np.array(degrees)
    values = judge(tasks.normals(), prediction, target)
    assert values["mErr"] == pytest.approx(exact.mean(), rel=1e-7)
    assert values["medErr"] == pytest.approx(np.median(exact), abs=ANGLE_BIN)
    for limit in (11.25, 22.5, 30):
        assert values[f"within{limit:g}"] == pytest.approx(100 * (exact < limit).mean(), rel=1e-12)
    assert 0 < values["within11.25"] < values["within22.5"] < values["within30"] < 100


def best_f(task: Task, prediction: Tensor, target: Tensor, beta_squared: float) -> float:
    probability = torch.sigmoid(prediction.double()).flatten().tolist()
    best = 0.0
    for k in range(1, 20):
        right = said = true = 0
        for p, label in zip(probability, target.flatten().tolist(), strict=True):
            if label != IGNORE:
                positive = 20 * p >= k
                right, said, true = right + (positive and label == 1), said + positive, true + label
        if right:
            precision, recall = right / said, right / true
            best = max(best, (1 + beta_squared) * precision * recall / (beta_squared * precision + recall))
    return 100 * best


def test_max_f_equals_a_loop_and_twice_is_that_of_probabilities_squashed_again() -> None:
    """As published code has it: another sigmoid of the probability, cut at all 19 thresholds."""
    prediction, target = sample(tasks.saliency())
    prediction = prediction - 1
    values = 1 / (1 + np.exp(-1 / (1 + np.exp(-prediction.double().numpy()))))
    valid, positive = target.numpy() != IGNORE, target.numpy() == 1
    scores, effective = [], set()
    for threshold in np.arange(1, 20) / 20:
        said = (values >= threshold) & valid
        right = (said & positive).sum()
        effective.add(int(said.sum()))
        precision, recall = right / max(said.sum(), 1), right / positive.sum()
        scores.append(100 * 1.3 * precision * recall / max(0.3 * precision + recall, 1e-12))
    assert len(effective) == 6  # everything, four cuts, and nothing
    both = judge(tasks.saliency(), prediction, target)
    assert both["maxF_twice"] == pytest.approx(max(scores), rel=1e-12)
    assert both["maxF"] == pytest.approx(best_f(tasks.saliency(), prediction, target, 0.3), rel=1e-12)
    assert both["maxF_twice"] != pytest.approx(both["maxF"], rel=1e-3)
    assert both["maxF"] != pytest.approx(best_f(tasks.saliency(), prediction, target, 1.0), rel=1e-3)


# --- worked by hand


@pytest.mark.parametrize("label", [5, 7, 200])
def test_a_label_outside_the_classes_is_an_error(label: int) -> None:
    target = torch.full((2, 1, 3, 4), 1)
    target[0, 0, 1, 1] = label
    with pytest.raises(RuntimeError, match="out of bounds"):
        meter(SEMSEG).statistics(torch.zeros(2, 5, 3, 4), target)


def test_compact_labels_do_not_overflow() -> None:
    task = tasks.semseg(tuple(f"class {c}" for c in range(40)))
    prediction, target = sample(task)
    assert judge(task, prediction, target.to(torch.uint8)) == judge(task, prediction, target)


ANGLES = [((1, 0, 0), 90), ((0, 0, 0), 90), ((0, 0, -2), 180), ((0, 3, 3), 45), ((0, 1e-3, 1), 0.0572958)]


@pytest.mark.parametrize(("vector", "degrees"), [*ANGLES, ((1e-4, 0, 1e-4), 45)])
def test_angles_worked_by_hand(vector: tuple[float, float, float], degrees: float) -> None:
    target = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    prediction = torch.tensor(vector, dtype=torch.float32).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    values = judge(tasks.normals(), prediction, target)
    assert values["mErr"] == pytest.approx(degrees, abs=1e-5)
    assert values["medErr"] == pytest.approx(degrees, abs=ANGLE_BIN)
    assert all(values[f"within{a:g}"] == 100 * (degrees < a) for a in (11.25, 22.5, 30))


@pytest.mark.parametrize("count", [1, 2, 11, 1000])
@pytest.mark.parametrize("spread", ["uniform", "near", "two"])
def test_the_median_angle_keeps_its_stated_precision(count: int, spread: str) -> None:
    rng = np.random.default_rng(count)
    degrees = {
        "uniform": rng.uniform(0, 180, count),
        "near": rng.exponential(3, count).clip(0, 180),
        "two": np.where(np.arange(count) < count / 2, 10.0, 20.0),  # of an even count, the middle is between
    }[spread]
    radians = torch.from_numpy(np.radians(degrees))
    prediction = torch.stack([radians.sin(), 0 * radians, radians.cos()]).view(1, 3, 1, -1)
    target = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1).expand(1, 3, 1, count)
    found = judge(tasks.normals(), prediction, target)["medErr"]
    assert found == pytest.approx(np.median(degrees), abs=ANGLE_BIN)


def test_binary_truth_without_a_positive_scores_zero() -> None:
    for task in (tasks.saliency(), tasks.edge()):
        values = judge(task, torch.randn(2, 1, 6, 6), torch.zeros(2, 1, 6, 6, dtype=torch.long))
        assert values[task.metric] == 0


# --- what all meters have in common


@by_task
def test_statistics_of_images_add_up(task: Task) -> None:
    """In batches of any size; without labels to nothing. Those that are stored give the primary metric."""
    m, (prediction, target) = meter(task), sample(task)
    whole = m.statistics(prediction.requires_grad_(), target)
    assert not whole.requires_grad and [bool(row.any()) for row in whole] == [True] * 4 + [False, True]
    full = m.values(whole.sum(0).numpy())
    assert [name for name in full if not name.startswith("IoU/")] == list(ABOUT[task.kind])
    assert all(map(math.isfinite, full.values())) and next(iter(full)) == task.metric
    nothing = m.values(whole[4].numpy())
    assert list(nothing) == list(ABOUT[task.kind]) and all(math.isnan(v) for v in nothing.values())
    for size in (1, 2, 5):
        parts = zip(prediction.split(size), target.split(size), strict=True)
        rows = torch.cat([m.statistics(p, t) for p, t in parts])
        torch.testing.assert_close(rows, whole, rtol=1e-12, atol=0)
    channels_last = prediction.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(m.statistics(channels_last, target), whole, rtol=1e-12, atol=0)
    stored = m.values(whole.sum(0).numpy()[: m.stored])
    assert next(iter(stored)) == task.metric and stored == {name: full[name] for name in stored}
    assert set(full) - set(stored) == ({"medErr"} if task.kind == "normals" else set())


@by_task
def test_half_precision_predictions_are_judged_at_their_exact_values(task: Task) -> None:
    prediction, target = sample(task)
    half = prediction.to(torch.bfloat16)
    assert judge(task, half, target) == judge(task, half.float(), target)
    assert judge(task, half.double(), target) == pytest.approx(judge(task, half.float(), target), abs=1e-4)


def test_a_prediction_that_is_not_finite_shows() -> None:
    for task in (tasks.depth(), tasks.normals()):
        prediction, target = sample(task)
        prediction[0] = math.nan
        assert math.isnan(judge(task, prediction, target)[task.metric])


def test_a_class_absent_from_the_truth_has_no_iou_but_costs_the_class_it_was_taken_from() -> None:
    task = tasks.semseg(("a", "b", "c"))
    target = torch.tensor([0, 0, 0, 0, 1, 1, 1, IGNORE]).view(1, 1, 2, 4)
    said = torch.tensor([0, 0, 2, 2, 1, 1, 0, 2]).view(1, 2, 4)
    prediction = torch.nn.functional.one_hot(said, 3).movedim(-1, 1).float()
    # a: 2 right of 4, and b's third pixel taken for it: 2 / 5. b: 2 / 3. c is not in the truth.
    expected = {"mIoU": 100 * (2 / 5 + 2 / 3) / 2, "pixAcc": 100 * 4 / 7, "IoU/a": 40.0, "IoU/b": 200 / 3}
    assert judge(task, prediction, target) == pytest.approx(expected)
