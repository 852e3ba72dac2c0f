"""RDC against loops over samples, pairs, regions and cells, in float64."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base import Batch, View
from methods.networks import regions
from methods.rdc import RDC
from tests.methods import cases
from tests.methods.cases import ALL, THREE, Labelled, batch, check_losses, problem, slow_input
from tests.methods.pseudo_reference import slow_ramp
from tests.methods.test_mtpsl import slow_map

SIZE = (64, 96)  # 16 x 24 cells, 3 x 4 regions


def method(names: tuple[str, ...] = THREE, complete: bool = False, **keywords: Any) -> RDC:
    torch.manual_seed(3)
    made = RDC(replace(problem(names, SIZE), complete=complete), mapper_width=2, **keywords).double()
    for norm in (*made.mapper.norms, *(first[1] for first in made.mapper.first.values())):
        for name, p in norm.named_parameters():
            nn.init.normal_(p, float(name in ("gamma", "weight")), 0.3)
    return made


def given(made: RDC, labelled: Labelled) -> Batch:
    """A batch whose second view has images of patches, blank on the left of one; a label with few pixels."""
    data = batch(made.problem, labelled, views=1)
    view = data.views[0]
    patches = torch.randn(len(data.images), 3, 4, 5, dtype=torch.float64)
    images = 2 * nn.functional.interpolate(patches, SIZE) + 0.3 * view.images
    images[0, :, :, :30] = 0
    targets = dict(view.targets)
    for name, task in made.problem.tasks.items():
        targets[name] = targets[name].clone()
        targets[name][1, :, 24:] = task.ignore
    return replace(data, views=(View(images, targets, view.geometry),))


def slow_superpixels(image: Tensor, rows: int, columns: int) -> list[list[int]]:
    """Cells of each region of (3, h, w), cell by cell."""
    height, width = image.shape[1:]
    unit = 0.5 / math.sqrt(height * width / (rows * columns))
    places = [[*image[:, y, x].tolist(), unit * y, unit * x] for y in range(height) for x in range(width)]
    points = torch.tensor(places, dtype=torch.float64)
    sides = ((height, rows), (width, columns))
    bands, posts = ([[i for i in range(n) if i * k // n == r] for r in range(k)] for n, k in sides)
    boxes = ([y * width + x for y in band for x in post] for band in bands for post in posts)
    centres = [points[box].mean(0) for box in boxes]
    found: list[list[int]] = []
    for _ in range(5):
        found = [[] for _ in centres]
        for cell, point in enumerate(points):
            found[int(((torch.stack(centres) - point) ** 2).sum(1).argmin())].append(cell)
        centres = [points[c].mean(0) if c else old for c, old in zip(found, centres, strict=True)]
    return found


def coarse(x: Tensor) -> Tensor:
    """Means of 4 x 4 pixels of (c, H, W)."""
    return x.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4))


def slow_root(matrix: Tensor) -> Tensor:
    norm = (matrix**2).sum().sqrt()
    y, z = matrix / norm, torch.eye(len(matrix), dtype=matrix.dtype)
    for _ in range(15):
        step = 0.5 * (3 * torch.eye(len(matrix), dtype=matrix.dtype) - z @ y)
        y, z = y @ step, step @ z
    return y * norm.sqrt()


def slow_distance(p: list[Tensor], q: list[Tensor], full: bool) -> Tensor:
    """W2^2 of the Gaussians of two lists of feature vectors."""
    (a, s), (b, t) = ((x.mean(0), x - x.mean(0)) for x in (torch.stack(p), torch.stack(q)))
    apart = ((a - b) ** 2).sum()
    if not full:
        roots = [((x**2).mean(0) + 1e-6).sqrt() for x in (s, t)]
        return apart + ((roots[0] - roots[1]) ** 2).sum()
    s, t = (x.T @ x / len(x) + 1e-3 * torch.eye(x.shape[1], dtype=x.dtype) for x in (s, t))
    half = slow_root(s)
    return apart + s.trace() + t.trace() - 2 * slow_root(half @ t @ half).trace()


def slow_contrast(made: RDC, predictions: dict[str, Tensor], view: View, labelled: Tensor) -> Tensor:
    names, tasks = list(made.problem.tasks), list(made.problem.tasks.values())
    order = [(s, t) for s in range(len(names)) for t in range(len(names)) if s != t]
    found = []  # (sample, pair, region, vectors of the prediction, of the label)
    stride, poolings = made.stride, {1: (2, 4), 2: (4,), 4: ()}[made.stride]
    for b in range(len(labelled)):
        cut = slow_superpixels(coarse(view.images[b]), 3, 4)
        if made.regions == "grid":
            cut = [
                [y * 24 + x for y in range(16) for x in range(24) if (y * 3 // 16, x * 4 // 24) == (r, c)]
                for r in range(3) for c in range(4)
            ]  # fmt: skip
        shown = (view.images[b] != 0).any(0)
        for number, (s, t) in enumerate(order):
            known = view.targets[names[t]][b]
            valid = tasks[t].valid(known[None])[0, 0]
            if not labelled[b, t] or not tasks[t].valid(known[None, :, ::stride, ::stride]).any():
                continue
            if labelled[b, s] and not made.problem.complete:
                continue
            share = coarse((valid & shown)[None].double())[0].flatten()
            maps = []
            for n, map_ in ((s, predictions[names[s]][b]), (t, known)):
                x = slow_input(tasks[n], map_[:, ::stride, ::stride], n == t)
                maps.append(slow_map(made.mapper, names[n], number, x, poolings).flatten(1).T)
            for k, cells in enumerate(cut):
                inside = [c for c in cells if share[c] > 0.5]
                if len(inside) >= 10:
                    found.append((b, number, k, *([m[c] for c in inside] for m in maps)))
    total = torch.zeros((), dtype=torch.float64)
    for b, number in sorted({each[:2] for each in found}):
        losses = []
        for one in (each for each in found if each[:2] == (b, number)):
            logits = []
            for other in found:
                if other[0] == b and other[2] == one[2] and other is not one:
                    continue
                apart = slow_distance(one[3], other[4], made.full and other is one)
                logits.append(-apart / made.kappa)
            own = -slow_distance(one[3], one[4], made.full) / made.kappa
            losses.append(torch.stack(logits).exp().sum().log() - own)
        total = total + torch.stack(losses).mean()
    return total / len(labelled)


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize(
    ("labelled", "keywords"),
    [
        ("one", {}), ("none or all", {"mapper_stride": 4}),
        ("mixed", {"mapper_stride": 2, "regions": "grid"}),
        ("full", {"names": THREE[:2], "complete": True, "mapper_stride": 4, "kappa": 1.0}),
        ("one", {"names": THREE[:2], "covariance": "full", "mapper_stride": 2, "ramp_up": 0.0}),
    ],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: str, keywords: dict[str, Any]) -> None:
    """And their gradients."""
    made = method(**keywords)
    data = given(made, labelled)
    predictions = made.predict(torch.cat([data.images, data.views[0].images]))
    first, second = ({n: p.chunk(2)[v] for n, p in predictions.items()} for v in range(2))
    slow = slow_contrast(made, second, data.views[0], data.labelled)
    contrast = 0.15 * slow_ramp(0.1, made.ramp_up) * slow
    found = made.losses(data, torch.tensor(0.1, dtype=torch.float64))
    assert (contrast > 0.01) == (labelled != "none or all")
    check_losses(made, found, {"contrast": contrast}, cases.supervised(made.problem, first, data))


def test_superpixels_equal_the_loop_and_follow_the_image() -> None:
    made = method()
    images = given(made, "one").views[0].images
    found = made.cut(images, (16, 24))
    for b, image in enumerate(images):
        expected = slow_superpixels(coarse(image), 3, 4)
        assert [row.nonzero().flatten().tolist() for row in found[b]] == expected
    assert torch.equal(found.sum(1), torch.ones(3, 16 * 24, dtype=torch.float64))
    halves = torch.zeros(1, 3, 16, 24)
    halves[..., 13:] = 3
    by_colour = regions.superpixels(halves, (3, 4))[0]
    right = halves[0, 0].flatten() > 0
    assert all(not (right[row > 0].any() and (~right[row > 0]).any()) for row in by_colour)
    by_place = regions.grid((16, 24), (3, 4), halves)[0]
    assert any(right[row > 0].any() and (~right[row > 0]).any() for row in by_place)


def test_small_images_have_fewer_regions_and_each_has_room() -> None:
    assert regions.seeds((72, 96), 8) == (8, 8) and regions.seeds((24, 32), 8) == (4, 6)
    assert regions.seeds((8, 8), 8) == (1, 1) and regions.seeds((3, 3), 8) == (1, 1)


def test_roots_of_covariances_are_those_of_their_eigenvalues() -> None:
    """At the published 32 channels, of features of few cells, whose covariances are nearly singular."""
    torch.manual_seed(0)
    features = torch.randn(20, 40, 32) @ torch.diag(torch.linspace(0.05, 1.5, 32))
    matrices = features.mT @ features / 40 + regions.RIDGE * torch.eye(32)
    values, vectors = torch.linalg.eigh(matrices.double())
    exact = vectors @ torch.diag_embed(values.sqrt()) @ vectors.mT
    found = regions.root(matrices).diagonal(dim1=1, dim2=2).sum(1)
    assert found.double() == pytest.approx(exact.diagonal(dim1=1, dim2=2).sum(1), rel=2e-3)


def test_every_kind_of_task_has_regions() -> None:
    made = method(tuple(ALL), mapper_stride=4)
    data = given(made, [[int(t == b) for t in range(6)] for b in range(6)])
    losses = made.losses(data, torch.tensor(0.5, dtype=torch.float64))
    losses.extra["contrast"].backward()
    assert losses.extra["contrast"] > 0 and all(cases.reached(first) for first in made.mapper.first.values())
