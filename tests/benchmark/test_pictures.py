"""Pictures: colours mean what they say, panels slice back into cells, files stay below their limit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.runs.pictures import (
    colour,
    colour_error,
    colour_prediction,
    contact_sheet,
    errors,
    panel,
    save_webp,
    worst,
)
from datasets.base import Split
from datasets.tasks import Task, depth, edge, normals, parts, saliency, semseg

NAMES = tuple(f"c{i}" for i in range(13))
TASKS: dict[str, Task] = {
    "semseg": semseg(NAMES), "depth": depth(), "normals": normals(), "edge": edge(), "saliency": saliency(),
    "parts": parts(("background", "head", "leg")),
}  # fmt: skip


def _targets(n: int, height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, 3, height, width))
    vectors /= np.sqrt((vectors**2).sum(1, keepdims=True))
    shape = (n, 1, height, width)
    targets = {name: rng.integers(0, max(t.channels, 2), shape, dtype=np.uint8) for name, t in TASKS.items()}
    depths = rng.uniform(0.5, 7, shape).astype(np.float16)
    return targets | {"depth": depths, "normals": np.rint(vectors * 127).astype(np.int8)}


@pytest.mark.parametrize("name", list(TASKS))
def test_unknown_pixels_are_grey_and_known_ones_are_not_touched(name: str) -> None:
    task, target = TASKS[name], _targets(1, 9, 12)[name][0]
    hidden = target.copy()
    hidden[:, :4] = task.ignore
    whole, part = colour(task, target), colour(task, hidden)
    assert whole.shape == (9, 12, 3) and whole.dtype == np.uint8
    assert np.array_equal(whole[4:], part[4:])
    top = part[:4].reshape(-1, 3)
    assert (top == top[:, :1]).all() and len(np.unique(top)) == 2  # hatched in two greys


def test_normals_and_depth_map_linearly() -> None:
    vectors = np.array([[2.0, 0, 0, -1], [0, 1, 0, 0], [0, 0, -3, 0]]).reshape(3, 1, 4)  # of any length
    colours = [[255, 128, 128], [128, 255, 128], [128, 128, 0], [0, 128, 128]]
    assert colour(TASKS["normals"], vectors)[0].tolist() == colours
    assert np.array_equal(colour_prediction(TASKS["normals"], vectors), colour(TASKS["normals"], vectors))
    metres = np.array([[[1.0, 2.0, 4.0, 99.0, np.nan]]])
    spans = ((1, (1.0, 4.0)), (2, (0.5, 2.0)))
    near, far = (colour(replace(TASKS["depth"], span=span), metres / n) for n, span in spans)
    assert np.array_equal(near, far)
    assert near[0, 0].tolist() == [68, 1, 84] and near[0, 2].tolist() == near[0, 3].tolist() == [253, 231, 36]


def test_errors_are_those_of_the_metrics() -> None:
    nan = np.nan
    classes = np.array([[[0, 1, 2, 255]]], dtype=np.uint8)
    logits = np.zeros((13, 1, 4))
    logits[1] = 5
    np.testing.assert_equal(errors(TASKS["semseg"], classes, logits), [[1, 0, 1, nan]])
    edges, logit = np.array([[[0, 1, 1, 255]]], dtype=np.uint8), np.array([[[0.0, 0.0, 40.0, 0.0]]])
    np.testing.assert_allclose(errors(TASKS["edge"], edges, logit), [[0.5, 0.5, 0, nan]], atol=1e-9)
    metres, predicted = np.array([[[1.0, 2.0, 0.0, nan]]], dtype=np.float16), np.full((1, 1, 4), 1.5)
    np.testing.assert_allclose(errors(TASKS["depth"], metres, predicted), [[0.5, 0.5, nan, nan]])
    truth = np.array([[127, 0, 0, 0], [0, 127, 127, 0], [0, 0, 0, 0]], dtype=np.int8).reshape(3, 1, 4)
    vectors = np.array([[3.0, 2.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).reshape(3, 1, 4)
    np.testing.assert_allclose(errors(TASKS["normals"], truth, vectors), [[0, 45, 90, nan]], atol=1e-5)


@pytest.mark.parametrize("name", list(TASKS))
def test_the_picture_of_an_error_goes_from_white_to_dark_red(name: str) -> None:
    task = TASKS[name]
    target = np.full((task.target_channels, 1, 3), 0 if task.is_map_of_integers else 1, np.uint8)
    right = np.full((task.channels, 1, 3), 1.0)
    if task.is_map_of_integers:
        right[0] = 40.0 if task.kind == "classes" else -40.0
    target[..., 2] = task.ignore
    wrong = right + worst(task.kind, task.span) if name == "depth" else -right
    best, worse = colour_error(task, target, right)[0], colour_error(task, target, wrong)[0]
    assert best[0].tolist() == [255, 245, 240] and worse[0].tolist() == [103, 0, 12]
    assert np.array_equal(best[2], worse[2]) and len(set(best[2].tolist())) == 1  # grey: there is no label
    assert worst(task.kind, task.span) == (60.0 if name == "normals" else 1.0)


def test_panel_slices_back_into_its_cells() -> None:
    rng = np.random.default_rng(2)
    images, targets = rng.integers(0, 256, (2, 3, 24, 32), dtype=np.uint8), _targets(2, 24, 32)
    predictions = {name: rng.normal(size=(2, task.channels, 24, 32)) for name, task in TASKS.items()}
    sheet = np.asarray(panel(images, targets, predictions, TASKS, cell=(24, 32)))
    assert sheet.shape == (2 * 24, (1 + 3 * len(TASKS)) * 32, 3)
    cells = sheet.reshape(2, 24, -1, 32, 3).swapaxes(1, 2)
    for i in range(2):
        assert np.array_equal(cells[i, 0], images[i].transpose(1, 2, 0))
        for t, (name, task) in enumerate(TASKS.items()):
            truth, said = targets[name][i], predictions[name][i]
            assert np.array_equal(cells[i, 1 + 3 * t], colour(task, truth))
            assert np.array_equal(cells[i, 2 + 3 * t], colour_prediction(task, said))
            assert np.array_equal(cells[i, 3 + 3 * t], colour_error(task, truth, said))
    resized = np.asarray(panel(images, targets, predictions, TASKS, cell=(48, 64)))
    assert resized.shape == (2 * 48, (1 + 3 * len(TASKS)) * 64, 3)
    assert np.array_equal(resized[:48:2, 64:128:2], cells[0, 1])  # labels are resized without mixing colours


def test_contact_sheet_has_a_row_a_sample() -> None:
    targets = {name: torch.from_numpy(t) for name, t in _targets(3, 24, 32).items()}
    images = torch.randint(0, 256, (3, 3, 24, 32), dtype=torch.uint8)
    there = torch.ones(3, len(TASKS), dtype=torch.bool)
    split = Split(torch.arange(3), ("a", "b", "c"), images, targets, there, "")
    two, three = contact_sheet(split, TASKS, count=2), contact_sheet(split, TASKS, count=8)
    assert three.height - two.height == 26 and three.width == two.width > 7 * 32
    first = np.asarray(three)[-(3 * 26 - 2) :][:24, -(7 * 34 - 2) :][:, :32]
    assert np.array_equal(first, images[0].numpy().transpose(1, 2, 0))


@pytest.mark.parametrize("limit", [60 * 1024, 3000, 120])
def test_webp_files_keep_the_limit(limit: int, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    save_webp(noise, tmp_path / "x.webp", limit)
    assert 0 < (tmp_path / "x.webp").stat().st_size <= limit
    with Image.open(tmp_path / "x.webp") as image:
        assert image.format == "WEBP" and (limit < 10000 or image.size == (300, 200))
