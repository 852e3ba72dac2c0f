"""Thinning, dilation and boundary F against loops over pixels."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.metrics.boundary import BoundaryMeter, dilate, tolerance
from datasets import tasks
from datasets.tasks import IGNORE

METER = BoundaryMeter(tasks.edge())


def judge(prediction: Tensor, target: Tensor) -> dict[str, float]:
    return METER.values(METER.statistics(prediction, target).sum(0).numpy())


def sample(images: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Closed curves as truth, noisy displaced blurred logits; some pixels and the last image unlabelled."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.zeros(images, 1, height, width, dtype=torch.long)
    for image in range(images):
        cy, cx, radius = (torch.rand(3, generator=g) * torch.tensor([height, width, height / 2])).tolist()
        target[image, 0] = (((y - cy) ** 2 + (x - cx) ** 2).sqrt() - radius - 2).abs() < 0.7
    shifted = torch.cat([target[: images // 2].roll(1, 3), target[images // 2 :].roll(4, 3)])
    noisy = shifted * 6 + 2 * torch.randn(target.shape, generator=g)
    prediction = torch.nn.functional.avg_pool2d(noisy, 3, 1, 1) - 1
    target[torch.rand(target.shape, generator=g) < 0.1] = IGNORE
    target[-1] = IGNORE
    return prediction, target


def slow_ridges(values: np.ndarray) -> np.ndarray:
    height, width = values.shape
    keep = np.zeros(values.shape, bool)
    for y, x in np.ndindex(*values.shape):
        curvatures, highest = [], []
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            pair = [values[min(max(y + s * dy, 0), height - 1), min(max(x + s * dx, 0), width - 1)]
                    for s in (1, -1)]  # fmt: skip  # outside the image, the nearest pixel inside
            curvatures.append((pair[0] + pair[1] - 2 * values[y, x]) / (dy * dy + dx * dx))
            highest.append(values[y, x] >= max(pair))
        keep[y, x] = highest[int(np.argmin(curvatures))]
    return keep


def within(points: np.ndarray, y: int, x: int, radius: float) -> bool:
    return bool(((points - (y, x)) ** 2).sum(1).min(initial=10**9) <= radius * radius)


def slow_boundary(prediction: Tensor, target: Tensor) -> dict[str, float]:
    """Boundary F by distances between lists of points, threshold by threshold."""
    radius = max(1.0, 0.0075 * math.hypot(*target.shape[-2:]))
    best = {"boundaryF": 0.0, "boundaryP": 0.0, "boundaryR": 0.0}
    kept = [slow_ridges(p[0].double().numpy()) for p in prediction]
    for k in range(1, 20):
        right = said = found = true = 0
        for logit, label, keep in zip(prediction, target, kept, strict=True):
            labels = label[0].numpy()
            cut = keep & (20 * torch.sigmoid(logit[0].double()).numpy() >= k) & (labels != IGNORE)
            predicted, truth = np.argwhere(cut), np.argwhere(labels == 1)
            right += sum(within(truth, y, x, radius) for y, x in predicted)
            found += sum(within(predicted, y, x, radius) for y, x in truth)
            said, true = said + len(predicted), true + len(truth)
        precision, recall = right / max(said, 1), found / true
        f = 2 * precision * recall / max(precision + recall, 1e-12)
        if 100 * f > best["boundaryF"]:
            best = {"boundaryF": 100 * f, "boundaryP": 100 * precision, "boundaryR": 100 * recall}
    return best


@pytest.mark.parametrize(("height", "width"), [(20, 28), (17, 300)])
def test_boundary_f_equals_a_loop_over_points(height: int, width: int) -> None:
    prediction, target = sample(4, height, width)
    values = judge(prediction, target)
    assert values == pytest.approx(slow_boundary(prediction, target), rel=1e-12)
    assert 5 < values["boundaryF"] < 99.9


@pytest.mark.parametrize("radius", [1, 1.2, 1.5, 2, 3.6, 5.27])
def test_dilation_is_the_maximum_over_a_disc(radius: float) -> None:
    values = torch.randn(2, 1, 14, 11, generator=torch.Generator().manual_seed(1))
    dilated = dilate(values, radius)
    for image, y, x in np.ndindex(2, 14, 11):
        places = [(v, u) for v, u in np.ndindex(14, 11) if (v - y) ** 2 + (u - x) ** 2 <= radius * radius]
        assert dilated[image, 0, y, x].item() == max(values[image, 0, v, u].item() for v, u in places)


def test_a_boundary_is_right_up_to_the_tolerance_and_wrong_beyond_it() -> None:
    height, width = 288, 384  # tolerance 3.6 pixels
    assert tolerance(height, width) == pytest.approx(3.6)
    target = torch.zeros(1, 1, height, width, dtype=torch.long)
    target[..., 100] = 1
    scores = {}
    for shift in (0, 3, 4):
        prediction = torch.full((1, 1, height, width), -8.0)
        prediction[..., 100 + shift] = 8.0
        scores[shift] = judge(prediction, target)
    assert scores[0] == scores[3] == {"boundaryF": 100, "boundaryP": 100, "boundaryR": 100}
    assert scores[4]["boundaryF"] == 0


def test_precision_and_recall_worked_by_hand() -> None:
    target = torch.zeros(1, 1, 12, 12, dtype=torch.long)
    target[..., 2, :8] = 1  # 8 true pixels
    target[..., 11, :] = IGNORE
    prediction = torch.full((1, 1, 12, 12), -8.0)
    prediction[..., 3, :4] = 8  # 4 one pixel off: right; they find the 4 true pixels above them
    prediction[..., 8, 6:8] = 8  # 2 wrong
    prediction[..., 11, :] = 8  # not judged
    f = 100 * 2 * (4 / 6) * (4 / 8) / (4 / 6 + 4 / 8)
    expected = {"boundaryF": f, "boundaryP": 400 / 6, "boundaryR": 50}
    assert judge(prediction, target) == pytest.approx(expected)


def test_the_threshold_is_one_for_the_data_set() -> None:
    """Two images, each perfect at a threshold of its own, are not perfect together."""
    target = torch.zeros(2, 1, 16, 16, dtype=torch.long)
    target[..., 4] = 1
    prediction = torch.full((2, 1, 16, 16), -8.0)
    prediction[0, ..., 4], prediction[0, ..., 10] = 2.0, 0.0
    prediction[1, ..., 4], prediction[1, ..., 10] = 0.0, -2.0
    assert [judge(prediction[i : i + 1], target[i : i + 1])["boundaryF"] for i in (0, 1)] == [100, 100]
    assert judge(prediction, target)["boundaryF"] == pytest.approx(100 * 2 * (2 / 3) / (2 / 3 + 1))
