"""odsF against thinning pixel by pixel and matching by augmenting paths, and beside the fast boundary F."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmark.metrics import boundary
from benchmark.metrics.boundary import BoundaryMeter, OdsMeter
from benchmark.metrics.correspond import THRESHOLDS, Truth, thin
from benchmark.metrics.maps import meter
from benchmark.metrics.pooled import ABOUT
from datasets import tasks
from datasets.tasks import IGNORE
from tests.benchmark.test_boundary import sample

TASK = replace(tasks.edge(), metric="odsF")
METER = OdsMeter(TASK)


def judge(prediction: Tensor, target: Tensor, ods: OdsMeter = METER) -> dict[str, float]:
    return ods.values(ods.statistics(prediction, target).sum(0).numpy())


# --- references


def slow_thin(image: np.ndarray) -> np.ndarray:
    """Guo and Hall's thinning, whole image by whole image, with the conditions of Lam, Lee and Suen."""
    image = image.copy()
    height, width = image.shape

    def removable(y: int, x: int, second: bool) -> bool:
        around = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]  # x1 ... x8
        n = [0 <= y + v < height and 0 <= x + u < width and bool(image[y + v, x + u]) for v, u in around]
        crossing = sum(not n[2 * i - 2] and (n[2 * i - 1] or n[2 * i % 8]) for i in (1, 2, 3, 4))
        one = sum(n[2 * k - 2] or n[2 * k - 1] for k in (1, 2, 3, 4))
        two = sum(n[2 * k - 1] or n[2 * k % 8] for k in (1, 2, 3, 4))
        side = (n[5] or n[6] or not n[3]) and n[4] if second else (n[1] or n[2] or not n[7]) and n[0]
        return crossing == 1 and 2 <= min(one, two) <= 3 and not side

    while True:
        before = image.sum()
        for second in (False, True):
            gone = [(y, x) for y, x in np.argwhere(image) if removable(y, x, second)]
            for y, x in gone:
                image[y, x] = False
        if image.sum() == before:
            return image


def near(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """(len(a), len(b)) bool: which pixels (y, x) are at most `radius` apart."""
    return ((a[:, None] - b[None]) ** 2).sum(2) <= radius * radius


def slow_match(predicted: np.ndarray, true: np.ndarray, radius: float) -> int:
    """The greatest number of pairs, by one search for an augmenting path after another (Kuhn)."""
    close = near(np.argwhere(predicted), np.argwhere(true), radius)
    partners = [np.flatnonzero(row).tolist() for row in close]
    owner: dict[int, int] = {}

    def place(p: int, seen: set[int]) -> bool:
        for t in partners[p]:
            if t not in seen:
                seen.add(t)
                if t not in owner or place(owner[t], seen):
                    owner[t] = p
                    return True
        return False

    return sum(place(p, set()) for p in range(len(partners)))


def slow_ods(prediction: Tensor, target: Tensor, distance: float) -> dict[str, float]:
    best = {"odsF": 0.0, "odsP": 0.0, "odsR": 0.0}
    radius = distance * math.hypot(*target.shape[-2:])
    labels = target[:, 0].numpy()
    truths = [slow_thin(label == 1) for label in labels]
    true = sum(truth.sum() for truth in truths)
    for k in range(1, 100):
        said = right = 0
        for logit, label, truth in zip(prediction[:, 0].double(), labels, truths, strict=True):
            lines = slow_thin((100 * torch.sigmoid(logit) >= k).numpy()) & (label != IGNORE)
            said, right = said + lines.sum(), right + slow_match(lines, truth, radius)
        precision, recall = right / max(said, 1), right / true
        f = 2 * precision * recall / max(precision + recall, 1e-12)
        if 100 * f > best["odsF"]:
            best = {"odsF": 100 * f, "odsP": 100 * precision, "odsR": 100 * recall}
    return best


# --- the two steps


def maps() -> list[np.ndarray]:
    """Binary maps: noise of every density, blobs, full, empty, tiny."""
    rng = np.random.default_rng(0)
    noise = [rng.random((23, 31)) < density for density in (0.05, 0.3, 0.5, 0.7, 0.9, 0.99)]
    smooth = [ndimage.gaussian_filter(rng.standard_normal((40, 56)), s) > 0 for s in (1, 2, 4)]
    full = [np.ones(shape, bool) for shape in ((17, 12), (1, 9), (9, 1), (1, 1))]
    return [*noise, *smooth, *full, np.zeros((5, 6), bool)]


def test_thinning_equals_a_loop_over_pixels() -> None:
    for image in maps():
        given = image.copy()
        expected = slow_thin(image)
        for order in (image, np.asfortranarray(image), image.repeat(2, 0)[::2]):
            np.testing.assert_array_equal(thin(order), expected)
        np.testing.assert_array_equal(image, given)  # left as it was
        np.testing.assert_array_equal(thin(thin(image)), thin(image))  # lines one pixel wide stay


@pytest.mark.parametrize("radius", [0.4, 1, 1.5, 2.3, 5])
def test_the_number_of_pairs_is_the_greatest_there_is(radius: float) -> None:
    rng = np.random.default_rng(0)
    for density in (0.02, 0.1, 0.3, 0.8):
        true = rng.random((14, 19)) < density
        truth = Truth(true, radius)
        assert truth.pixels == true.sum()
        for other in (0.02, 0.1, 0.3, 0.8):
            predicted = rng.random(true.shape) < other
            assert truth.match(predicted) == slow_match(predicted, true, radius)
    nothing = np.zeros((14, 19), bool)
    assert Truth(nothing, radius).match(~nothing) == Truth(~nothing, radius).match(nothing) == 0


# --- the metric


@pytest.mark.parametrize(("height", "width", "distance"), [(12, 16, 0.0075), (10, 18, 0.12)])
def test_ods_f_equals_a_loop_over_thresholds_and_points(height: int, width: int, distance: float) -> None:
    prediction, target = sample(3, height, width)
    target[:2, 0, 0, 0] = target[:2, 0, -1, -1] = 0  # labelled corners: the diagonal is the image's
    expected = slow_ods(prediction, target, distance)
    assert judge(prediction, target, OdsMeter(TASK, distance)) == pytest.approx(expected, rel=1e-12)
    assert 5 < expected["odsF"] < 99


def test_pixels_share_no_counterpart_as_they_do_in_boundary_f() -> None:
    target = torch.zeros(1, 1, 288, 384, dtype=torch.long)
    target[..., 100] = 1
    prediction = torch.full((1, 1, 288, 384), -8.0)
    prediction[..., 98] = prediction[..., 102] = 8.0  # two lines for one, both within 3.6 pixels
    fast = BoundaryMeter(tasks.edge())
    assert fast.values(fast.statistics(prediction, target).sum(0).numpy())["boundaryF"] == 100
    assert judge(prediction, target) == pytest.approx({"odsF": 200 / 3, "odsP": 50, "odsR": 100})


@pytest.mark.parametrize(
    ("offset", "right"), [((0, 3), 1), ((3, 0), 1), ((2, 2), 1), ((0, 4), 0), ((3, 1), 0), ((-2, -2), 1)]
)
def test_a_pair_is_at_most_the_tolerance_apart(offset: tuple[int, int], right: int) -> None:
    assert 0.06 * math.hypot(30, 40) == 3.0  # exactly
    target = torch.zeros(1, 1, 30, 40, dtype=torch.long)
    target[..., 10, 10] = 1
    prediction = torch.full((1, 1, 30, 40), -8.0)
    prediction[..., 10 + offset[0], 10 + offset[1]] = 8
    assert judge(prediction, target, OdsMeter(TASK, 0.06))["odsF"] == 100 * right


def test_padding_without_labels_changes_nothing() -> None:
    prediction, target = sample(3, 30, 40)
    target[:2, 0, 0, 0] = target[:2, 0, -1, -1] = 0
    alone = METER.statistics(prediction, target)
    padded = torch.nn.functional.pad(target, (0, 23, 0, 9), value=IGNORE)
    said = torch.nn.functional.pad(prediction, (0, 23, 0, 9), value=5.0)  # in the padding, nonsense
    assert torch.equal(METER.statistics(said, padded), alone)


def test_truth_without_a_boundary_scores_zero_and_no_label_is_nan() -> None:
    prediction, target = sample(4, 30, 40)
    empty = torch.where(target[:-1] == IGNORE, IGNORE, 0)
    assert judge(prediction[:-1], empty) == {"odsF": 0, "odsP": 0, "odsR": 0}
    # Nor predicted: not a perfect score.
    assert judge(prediction[:-1] - 50, empty) == {"odsF": 0, "odsP": 0, "odsR": 0}
    assert all(math.isnan(v) for v in judge(prediction[-1:], target[-1:]).values())
    assert not METER.statistics(prediction[-1:], target[-1:]).any()


def test_what_all_meters_have_in_common() -> None:
    assert meter(TASK) == METER and isinstance(meter(tasks.edge()), BoundaryMeter)
    prediction, target = sample(5, 16, 20)
    whole = METER.statistics(prediction, target)
    assert whole.shape == (5, 2 + 2 * THRESHOLDS) and whole.dtype == torch.float64
    values = METER.values(whole.sum(0).numpy())
    assert list(values) == list(ABOUT["ods"]) and next(iter(values)) == TASK.metric == "odsF"
    assert METER.values(whole.sum(0).numpy()[: METER.stored]) == {}
    for size in (1, 3):
        parts = zip(prediction.split(size), target.split(size), strict=True)
        assert torch.equal(torch.cat([METER.statistics(p, t) for p, t in parts]), whole)
    drawn = [0, 0, 3, 1, 4]
    assert METER.values(whole[drawn].sum(0).numpy()) == judge(prediction[drawn], target[drawn])
    assert torch.equal(METER.statistics(prediction, target.to(torch.uint8)), whole)
    half = prediction.to(torch.bfloat16)
    assert torch.equal(METER.statistics(half, target), METER.statistics(half.double(), target))
    assert not METER.statistics(prediction.requires_grad_(), target).requires_grad


def test_several_processes_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, target = sample(5, 12, 16)
    judged = OdsMeter(TASK, 0.04)
    alone = judged.statistics(prediction, target)
    monkeypatch.setattr(boundary, "SHARED", 0)
    monkeypatch.setattr(boundary, "cores", lambda: 2)
    monkeypatch.setattr(boundary.correspond, "counts", None)  # not in this process
    assert torch.equal(judged.statistics(prediction, target), alone)


def test_the_threshold_is_one_for_the_data_set_and_finer_than_a_twentieth() -> None:
    target = torch.zeros(2, 1, 16, 16, dtype=torch.long)
    target[..., 4] = 1
    probability = torch.full((2, 1, 16, 16), 0.001)
    probability[0, ..., 4], probability[0, ..., 10] = 0.538, 0.525  # told apart by 0.53 alone
    probability[1, ..., 4], probability[1, ..., 10] = 0.525, 0.515  # and by 0.52
    prediction = torch.logit(probability.double())
    assert [judge(prediction[i : i + 1], target[i : i + 1])["odsF"] for i in (0, 1)] == [100, 100]
    assert judge(prediction, target) == pytest.approx({"odsF": 80, "odsP": 200 / 3, "odsR": 100})


def test_unlabelled_pixels_are_neither_predicted_nor_true() -> None:
    target = torch.zeros(1, 1, 30, 40, dtype=torch.long)
    target[..., 10, 5:25] = 1
    target[..., 10, 20:25] = IGNORE  # of the line, 15 pixels are left
    prediction = torch.full((1, 1, 30, 40), -8.0)
    prediction[..., 10, 5:25] = 8
    target[..., 15, 20] = IGNORE
    prediction[..., 15, 20] = 8
    sums = METER.statistics(prediction, target).sum(0)
    predicted, matched = sums[2:].view(2, THRESHOLDS)[:, 49].tolist()
    assert [*sums[:2].tolist(), predicted, matched] == [1200 - 6, 15, 15, 15]
