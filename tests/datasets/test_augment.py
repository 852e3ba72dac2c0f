"""Augmentation against a slow reference, pixel by pixel in float64, and what training relies on."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.errors import UserError
from datasets import augment, tasks
from datasets.augment import Augmentation, Crop, apply, draw
from methods.base import ViewKind, view_kinds

TASKS = {
    "semseg": tasks.semseg(("a", "b", "c")),
    "depth": tasks.depth(),
    "inverse": tasks.inverse_depth(),
    "normals": tasks.normals(),
    "edge": tasks.edge(),
}
MEAN, STD = (0.48, 0.45, 0.4), (0.23, 0.22, 0.21)
Maps = dict[str, Tensor]


def batch(number: int = 3, height: int = 12, width: int = 16, seed: int = 0) -> tuple[Tensor, Maps]:
    """Images and compact targets with a tenth of the pixels unknown."""
    random = np.random.default_rng(seed)
    known = random.random((number, 1, height, width)) > 0.1
    images = random.integers(0, 256, (number, 3, height, width), dtype=np.uint8)
    vectors = random.normal(size=(number, 3, height, width))
    vectors = np.rint(127 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    targets = {
        "semseg": np.where(known, random.integers(0, 3, known.shape), 255).astype(np.uint8),
        "depth": np.where(known, random.uniform(0.5, 10, known.shape), 0).astype(np.float32),
        "inverse": np.where(known, random.uniform(0.01, 0.5, known.shape), 0).astype(np.float16),
        "normals": np.where(known, vectors, 0).astype(np.int8),
        "edge": np.where(known, random.integers(0, 2, known.shape), 255).astype(np.uint8),
    }
    return torch.from_numpy(images), {name: torch.from_numpy(target) for name, target in targets.items()}


def tables(number: int, views: int = 1, config: Augmentation | None = None, seed: int = 0) -> list[Tensor]:
    ids = torch.arange(number) + 5
    return [draw(config or Augmentation(), seed, torch.tensor(7), ids, view) for view in range(views)]


def source(i: int, j: int, size: Any, first: list[float], own: list[float] | None, extent: Any) -> Any:
    """Where the centre of pixel (i, j) of a view lies in the original, in pixels."""
    y, x = i + 0.5, j + 0.5
    for crop in ([own] if own else []) + [first]:
        there = size
        if crop is first:
            there = extent
            if first[3] > 0:
                x = size[1] - x
        scale, top, left = crop[:3]
        y = y / scale + top * (there[0] - size[0] / scale)
        x = x / scale + left * (there[1] - size[1] / scale)
    return y, x


def slow_view(image: Tensor, targets: Maps, first: list[float], own: Any, extent: Any) -> Any:
    """One sample's view with loops: its image, widened targets and what is erased. extent: of the content;
    outside of it there is nothing.
    """
    size = (image.shape[1], image.shape[2])
    height, width = extent or size
    outside = np.zeros(size, dtype=bool)
    colours = own or first
    zoom = first[0] * (own[0] if own else 1.0)
    out = {"image": np.zeros((3, *size))}
    for name, target in targets.items():
        out[name] = np.zeros((target.shape[0], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = source(i, j, size, first, own, (height, width))
            outside[i, j] = not (0 <= y < height and 0 <= x < width)
            cy, cx = min(max(y - 0.5, 0), height - 1), min(max(x - 0.5, 0), width - 1)
            for row in {math.floor(cy), min(math.floor(cy) + 1, height - 1)}:
                for column in {math.floor(cx), min(math.floor(cx) + 1, width - 1)}:
                    share = max(0.0, 1 - abs(cy - row)) * max(0.0, 1 - abs(cx - column))
                    out["image"][:, i, j] += share * image[:, row, column].double().numpy() / 255
            row, column = min(max(math.floor(y), 0), height - 1), min(max(math.floor(x), 0), width - 1)
            for name, target in targets.items():
                pixel = target[:, row, column].double().numpy()
                if extent and outside[i, j]:
                    pixel = np.full_like(pixel, TASKS[name].ignore)
                if name == "depth":
                    pixel = pixel / zoom
                if name == "inverse":
                    pixel = pixel * zoom
                if name == "normals" and pixel.any():
                    pixel = pixel / np.sqrt((pixel**2).sum()) * np.array([-1 if first[3] > 0 else 1, 1, 1])
                out[name][:, i, j] = pixel
    _, _, _, _, brightness, contrast, saturation, *cutout = colours
    luma = np.array([0.299, 0.587, 0.114])

    def grey(x: np.ndarray) -> np.ndarray:
        return np.tensordot(luma, x, 1)[None]

    x = out["image"]
    x = saturation * x + (1 - saturation) * grey(x)
    x = contrast * x + (1 - contrast) * grey(x).mean()
    x = (brightness * x).clip(0, 1)
    out["image"] = (x - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    if extent:
        out["image"][:, outside] = 0
    out["erased"] = np.zeros((1, *size), dtype=bool)
    if cutout:
        side = max(1, round(cutout[2] * min(size)))
        rooms = [room - side for room in size]
        top, left = (min(int(share * (room + 1)), room) for share, room in zip(cutout, rooms, strict=False))
        for i in range(top, top + side):
            for j in range(left, left + side):
                out["erased"][0, i, j] = True
                out["image"][:, i, j] = 0
    return out


def assert_views(images: Tensor, targets: Maps, draws: list[Tensor], extents: Tensor | None) -> list[Crop]:
    """Every view of every sample against the loops."""
    crops = apply(images, targets, TASKS, draws, MEAN, STD, extents, extents is not None)
    for view, crop in enumerate(crops):
        for b in range(len(images)):
            sample = {name: target[b] for name, target in targets.items()}
            own = draws[view][b].tolist() if view else None
            extent = None if extents is None else tuple(extents[b].tolist())
            expected = slow_view(images[b], sample, draws[0][b].tolist(), own, extent)
            np.testing.assert_allclose(crop.images[b], expected["image"], atol=2e-5)
            if crop.erased is not None:
                np.testing.assert_array_equal(crop.erased[b], expected["erased"])
                assert not crop.images[b].masked_select(crop.erased[b]).any()
            for name in TASKS:
                found = crop.targets[name][b].double()
                np.testing.assert_allclose(found, expected[name], atol=1e-6, rtol=1e-6)
                values = crop.targets[name].masked_select(~TASKS[name].valid(crop.targets[name]))
                assert not torch.signbit(values).any()  # no -0.0: equal bits for equal meaning
    return crops


EXTENTS = torch.tensor([[10, 14], [7, 14], [10, 9], [5, 6]])
KINDS = {
    "a crop": ViewKind(),
    "other colours": ViewKind(crop=False),
    "strong": ViewKind(crop=False, colour=0.8, cutout=0.5),
    "a crop, cut": ViewKind(cutout=0.3),
    "a crop as it was": ViewKind(colour=0.0),
    "one pixel": ViewKind(crop=False, cutout=0.001),
    "nearly all": ViewKind(colour=0.99, cutout=0.999),
}


def described(number: int, kind: ViewKind, config: Augmentation, seed: int = 0) -> list[Tensor]:
    """Tables of view 0 and of a further view of that kind."""
    first, second = (tables(number, 2, each, seed) for each in (config, kind.augmentation(config)))
    return [first[0], second[1]]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_views_equal_the_slow_reference(kind: str, padded: bool) -> None:
    images, targets = batch(4, 10, 14, len(kind))
    scales = {"scales": (0.5, 2.0), "uniform": True} if padded else {"scales": (1.0, 1.2, 1.5, 2.3)}
    draws = described(4, KINDS[kind], Augmentation(colour=0.5, **scales), len(kind))
    if padded:
        draws[0][:2, 0] = torch.tensor([0.6, 0.8])  # whatever was drawn, some views shrink
    if KINDS[kind].cutout:
        draws[1][0, len(augment.PARAMETERS) :][:2] = 1.0  # which the largest draw is in float32
    crop = assert_views(images, targets, draws, EXTENTS if padded else None)[1]
    assert (crop.erased is not None) == bool(KINDS[kind].cutout)


def test_a_number_of_views_asks_for_crops_as_ever():
    assert view_kinds(0) == () and view_kinds(2) == (ViewKind(), ViewKind())
    assert view_kinds((ViewKind(cutout=0.5),))[0].cutout
    for config in (Augmentation(), Augmentation(scales=(0.5, 2.0), uniform=True, colour=0.0, flip=False)):
        assert ViewKind().augmentation(config) == config
    # Of the code before there were kinds of views: equal seeds mean the crops of records published then.
    epochs, ids = torch.arange(2)[:, None], torch.arange(20)
    found = [draw(Augmentation(), 3, epochs, ids, view).numpy().tobytes() for view in range(3)]
    hashes = [hashlib.sha256(text).hexdigest()[:12] for text in found]
    assert hashes == ["7ad7c74ee56c", "f346502c67bd", "5fd3d97d9293"]


def test_hidden_labels_move_nothing():
    """Whatever a target holds, images, geometry, squares and the other targets stay, bit for bit."""
    images, targets = batch()
    draws = tables(3, 3) + described(3, KINDS["strong"], Augmentation())[1:]
    crops = apply(images, targets, TASKS, draws, MEAN, STD)
    for name, task in TASKS.items():
        value = task.ignore if task.is_map_of_integers else 93
        garbage = targets | {name: torch.full_like(targets[name], value)}
        fewer = {other: target for other, target in targets.items() if other != name}
        for changed in (garbage, fewer):
            for crop, again in zip(crops, apply(images, changed, TASKS, draws, MEAN, STD), strict=True):
                assert torch.equal(crop.images, again.images)
                assert torch.equal(crop.geometry, again.geometry)
                assert crop.erased is None if again.erased is None else torch.equal(crop.erased, again.erased)
                assert all(torch.equal(crop.targets[other], again.targets[other]) for other in fewer)


def test_a_view_does_not_depend_on_further_views_nor_a_sample_on_its_batch():
    images, targets = batch(4)
    draws = tables(4, 3)
    crops = apply(images, targets, TASKS, draws, MEAN, STD)
    for views in (1, 2):
        for crop, again in zip(crops, apply(images, targets, TASKS, draws[:views], MEAN, STD), strict=False):
            assert torch.equal(crop.images, again.images)
    some = [2, 0]
    parts = {name: target[some] for name, target in targets.items()}
    alone = apply(images[some], parts, TASKS, [d[some] for d in draws], MEAN, STD)
    for crop, again in zip(crops, alone, strict=True):
        torch.testing.assert_close(crop.images[some], again.images, rtol=0, atol=1e-6)
        assert torch.equal(crop.geometry[some], again.geometry)
        assert all(torch.equal(crop.targets[name][some], again.targets[name]) for name in TASKS)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20), st.integers(0, 1000), st.integers(0, 2**40))
def test_draws_depend_on_seed_epoch_and_id_alone(ids, epoch, seed):
    config = Augmentation(cutout=0.3)
    whole = draw(config, seed, torch.tensor(epoch), torch.tensor(ids), 1)
    columns = len(augment.PARAMETERS + augment.CUTOUT)
    assert whole.dtype == torch.float32 and whole.shape == (len(ids), columns)
    for position, number in enumerate(ids):
        alone = draw(config, seed, torch.tensor([epoch]), torch.tensor([number]), 1)
        assert torch.equal(alone[0], whole[position])
    run = draw(config, seed, torch.arange(epoch, epoch + 3)[:, None], torch.tensor(ids), 1)
    assert torch.equal(run[0], whole)
    for s, e, view in ((seed + 1, epoch, 1), (seed, epoch + 1, 1), (seed, epoch, 2)):
        assert not torch.equal(draw(config, s, torch.tensor(e), torch.tensor(ids), view), whole)


def test_draws_have_the_configured_distribution():
    number = 12000
    numbers = draw(Augmentation(), 3, torch.tensor(1), torch.arange(number), 0).double()
    scale, top, left, flip, *colours = numbers.unbind(1)
    assert all(abs(int(((scale - value).abs() < 1e-6).sum()) - number / 3) < 220 for value in (1.0, 1.2, 1.5))
    assert set(flip.tolist()) == {0.0, 1.0} and abs(float(flip.mean()) - 0.5) < 0.02
    for place in (top, left):
        assert place.min() >= 0 and place.max() <= 1 and abs(float(place.mean()) - 0.5) < 0.01
    for colour in colours:
        assert 0.8 <= colour.min() < 0.81 and 1.19 < colour.max() <= 1.2
        assert abs(float(colour.mean()) - 1) < 0.005
    assert (torch.corrcoef(numbers.t()) - torch.eye(7)).abs().max() < 0.04
    assert not draw(Augmentation(), 3, torch.tensor(1), torch.arange(number), 1)[:, 3].any()
    assert not draw(Augmentation(flip=False), 3, torch.tensor(1), torch.arange(number), 0)[:, 3].any()
    off = draw(Augmentation(scales=(1.0,), flip=False, colour=0.0), 3, torch.tensor(1), torch.arange(5), 0)
    assert (off[:, [0, 4, 5, 6]] == 1).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(({"scales": scales}, "scales must be numbers above 0") for scales in ((), (0.0, 1.0), (math.nan,))),
        *(({"colour": value}, "colour must be at least 0 and below 1") for value in (1.0, -0.1)),
        *(({"cutout": value}, "cutout must be at least 0 and below 1") for value in (1.0, -0.5, math.nan)),
        *(({"scales": each, "uniform": True}, "uniform augmentation scales must be two bounds")
          for each in ((1.0,), (2.0, 1.0), (1.0, 1.2, 1.5))),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Augmentation(**values)
    if values.keys() <= {"colour", "cutout"}:
        with pytest.raises(UserError, match=message):
            ViewKind(**values)
