"""Intervals over test images: pooled metrics against the meters, the bootstrap against a plain loop."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.metrics.maps import meter
from benchmark.metrics.pooled import PRIMARY
from benchmark.report import images
from benchmark.report.tables import csv_text
from datasets.tasks import Task
from tests.benchmark.report import make
from tests.benchmark.report.drawn import only

TASKS = {
    "semseg": Task("semseg", "classes", 3, "mIoU", True, "%", classes=("a", "b", "c")),
    "depth": Task("depth", "depth", 1, "absErr", False, "m"),
    "normals": Task("normals", "normals", 3, "mErr", False, "deg"),
    "saliency": Task("saliency", "saliency", 1, "maxF", True, "%"),
    "edge": Task("edge", "edge", 1, "boundaryF", True, "%"),
}
COUNT = 10
METHODS = ("single_task", "multi_task", "mtpsl")


def statistics(name: str, seed: int = 0, count: int = COUNT) -> tuple[np.ndarray, Any]:
    """(N, K) of random predictions and labels, as far as they are kept, and the meter."""
    torch.manual_seed(seed)
    judge = meter(TASKS[name])
    prediction, shape = torch.randn(count, TASKS[name].channels, 12, 16), (count, 1, 12, 16)
    target = {
        "semseg": torch.randint(0, 3, shape),
        "depth": torch.rand(shape) * 5 + 1,
        "normals": torch.nn.functional.normalize(torch.randn(count, 3, 12, 16), dim=1),
        "saliency": torch.randint(0, 2, shape),
        "edge": torch.randint(0, 2, shape),
    }[name]
    return judge.statistics(prediction, target).numpy()[:, : judge.stored], judge


@pytest.mark.parametrize("name", TASKS)
def test_pooled_metrics_are_those_of_the_meters(name: str) -> None:
    kept, judge = statistics(name)
    draws = np.random.default_rng(0).integers(0, 3, (5, COUNT)).astype(float)
    draws[1, 1:] = 0  # one image alone
    metric = TASKS[name].metric
    plain = [judge.values(sums)[metric] for sums in draws @ kept]
    np.testing.assert_allclose(PRIMARY[metric](draws @ kept), plain, rtol=1e-12)
    assert np.isnan(PRIMARY[metric](np.zeros((1, kept.shape[1])))).all()


def test_draws_are_the_same_everywhere() -> None:
    found = images.weights(654)
    assert found.shape == (images.DRAWS + 1, 654) and (found.sum(1) == 654).all() and (found[0] == 1).all()
    assert hashlib.sha256(found.astype(np.uint8).tobytes()).hexdigest()[:12] == "04df5d1f68fa"
    assert found[1:].mean(0) == pytest.approx(1, abs=0.2) and found[1:].var() == pytest.approx(1, abs=0.02)


def write(folder: Path) -> None:
    """Runs of three methods over two seeds, whose scores are those of the statistics beside them."""
    for i, method in enumerate(METHODS):
        for s in (s for seed in range(2) for s in make.specs(method, seed)):
            r, arrays = make.record(s, curve=False), {}
            for task in s["tasks"]:
                kept, judge = statistics(task, 10 * i + s["label_seed"])
                arrays[task] = kept.astype(np.float32)
                value = judge.values(arrays[task].astype(float).sum(0))[TASKS[task].metric]
                r["metrics"][task][TASKS[task].metric] = float(f"{value:.9g}")
            np.savez(make.write_run(folder, r, panels=False).with_name("per_image.npz"), **arrays)


def test_intervals_against_a_plain_loop(tmp_path: Path) -> None:
    write(tmp_path)
    board = only(tmp_path)
    found = {e.label: e.images for e in board.entries}
    draws = images.weights(COUNT).astype(int)
    signs = {"semseg": 1, "depth": -1, "normals": -1}
    scores: dict[str, list[dict[str, float]]] = {}
    for i, method in enumerate(METHODS):
        kept = {t: [statistics(t, 10 * i + seed) for seed in range(2)] for t in signs}
        for draw in draws:
            picked = np.repeat(np.arange(COUNT), draw)
            values = {t: [judge.values(k[picked].sum(0))[TASKS[t].metric] for k, judge in both]
                      for t, both in kept.items()}  # fmt: skip
            scores.setdefault(method, []).append({t: sum(v) / 2 for t, v in values.items()})
    deltas = {
        method: [sum(100 * s * (x[t] / base[t] - 1) for t, s in signs.items()) / 3 for x, base in pairs]
        for method, pairs in ((m, list(zip(scores[m], scores["single_task"], strict=True))) for m in scores)
    }
    for method, mine in found.items():
        for task in signs:
            estimate = mine[f"{task}_{make.INFO[task]['metric']}"]
            plain = np.percentile([x[task] for x in scores[method][1:]], [2.5, 97.5])
            assert estimate and estimate.n == COUNT
            assert (estimate.low, estimate.high) == pytest.approx(tuple(plain), rel=1e-6)
        assert (mine["vs_baseline"] is None) == (method != "mtpsl")
    apart = np.subtract(deltas["mtpsl"], deltas["multi_task"])[1:]
    versus = found["mtpsl"]["vs_baseline"]
    assert versus and versus.low == pytest.approx(np.percentile(apart, 2.5), abs=1e-4)
    assert "semseg_mIoU_images_low" in csv_text(board).splitlines()[0]


def plain(path: Path) -> np.ndarray:
    """(DRAWS + 1,) mean errors of depth per pixel."""
    with np.load(path) as arrays, np.errstate(invalid="ignore"):
        sums = images.weights(len(arrays["depth"])) @ arrays["depth"].astype(float)
        return np.asarray(sums[:, 1] / sums[:, 0])


@pytest.mark.parametrize(("labelled", "there"), [(3, True), (2, False)])
def test_a_draw_without_a_label_is_left_out(labelled: int, there: bool, tmp_path: Path) -> None:
    """Of 20 test images 3, which 4 % of draws have none of, or 2, which 12 % have none of."""
    for seed in range(2):
        for s in make.specs("single_task", seed, ("depth",)):
            r = make.record(s)
            kept, _ = statistics("depth", seed, 20)
            kept[labelled:] = 0
            r["metrics"]["depth"]["absErr"] = float(PRIMARY["absErr"](kept.sum(0)))
            np.savez(make.write_run(tmp_path, r, panels=False).with_name("per_image.npz"), depth=kept)
    (entry,) = only(tmp_path).entries
    found = entry.images["depth_absErr"]
    assert (found is not None) == there
    if found:
        drawn = [plain(record.arrays) for record in entry.row.records if record.arrays]
        mean = np.mean(drawn, 0)[1:]
        assert 0.01 < np.isnan(mean).mean() < 0.05
        assert (found.low, found.high) == pytest.approx(tuple(np.nanpercentile(mean, [2.5, 97.5])), rel=1e-9)


def test_without_statistics_there_is_no_interval(tmp_path: Path) -> None:
    write(tmp_path)
    next(tmp_path.rglob("mtpsl*s1*/per_image.npz")).unlink()
    semseg = statistics("semseg", 11)[0].astype(np.float32)
    np.savez(next(tmp_path.rglob("multi_task*s1*/per_image.npz")), semseg=semseg)
    found = {e.label: e.images for e in only(tmp_path).entries}
    mtpsl, multi = found["mtpsl"], found["multi_task"]
    assert not any(mtpsl.values())
    assert multi["semseg_mIoU"] and not multi["depth_absErr"]


def test_a_score_that_its_images_do_not_give_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = next(tmp_path.rglob("mtpsl*s1*/record.json"))
    r = json.loads(path.read_text())
    r["metrics"]["depth"]["absErr"] *= 1.001
    path.write_text(json.dumps(r))
    message = r"record.json says absErr .* of depth, but the test images in .*per_image.npz give"
    with pytest.raises(UserError, match=message):
        csv_text(only(tmp_path))


def test_damaged_statistics_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    path = next(tmp_path.rglob("mtpsl*s1*/per_image.npz"))
    whole = path.read_bytes()
    np.savez(path, semseg=np.array([[None]]))
    pickled = path.read_bytes()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("semseg.npy", b"\x93NUMPY\x03\x00" + bytes(20))
    for damaged in (pickled, path.read_bytes(), whole[:50]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"per_image.npz could not be read \(.*\); restore it"):
            csv_text(only(tmp_path))


@pytest.mark.parametrize("count", [64, 300])
def test_the_interval_of_a_mean_per_pixel_covers_about_94_percent(count: int) -> None:
    rng, repetitions = np.random.default_rng(count), 2000
    pixels = rng.integers(500, 1000, (count, repetitions)).astype(float)
    error = pixels * rng.lognormal(0, 0.5, (count, repetitions))
    draws = images.weights(count)
    low, high = np.percentile((draws @ error)[1:] / (draws @ pixels)[1:], [2.5, 97.5], axis=0)
    truth = np.exp(0.125)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.94, abs=0.02)
