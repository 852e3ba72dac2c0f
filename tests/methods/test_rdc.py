"""RDC against loops over samples, pairs, regions and cells, in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.training.build import initialise
from methods.base import Batch, View
from methods.mtpsl import MTPSL
from methods.networks import regions
from methods.rdc import RDC
from tests.methods.cases import (
    ALL,
    FULL,
    MIXED,
    NONE_OR_ALL,
    ONE,
    THREE,
    batch,
    check_losses,
    problem,
    reached,
    slow_input,
    supervised,
)  # fmt: skip
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


def given(made: RDC, labelled: list[list[int]]) -> Batch:
    """A batch whose second view has images of patches, blank on the left of one; a label with few pixels."""
    data = batch(made.problem, labelled, views=1)
    view = data.views[0]
    patches = torch.randn(len(labelled), 3, 4, 5, dtype=torch.float64)
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
    points = [[*image[:, y, x].tolist(), unit * y, unit * x] for y in range(height) for x in range(width)]

    def mean(cells: list[int]) -> list[float]:
        return [sum(points[c][i] for c in cells) / len(cells) for i in range(5)]

    bands, posts = (
        [[i for i in range(n) if i * k // n == r] for r in range(k)]
        for n, k in ((height, rows), (width, columns))
    )
    centres = [mean([y * width + x for y in band for x in post]) for band in bands for post in posts]
    found: list[list[int]] = []
    for _ in range(5):
        found = [[] for _ in centres]
        for cell, point in enumerate(points):
            apart = [sum((a - b) ** 2 for a, b in zip(point, centre, strict=True)) for centre in centres]
            found[apart.index(min(apart))].append(cell)
        centres = [mean(cells) if cells else centre for cells, centre in zip(found, centres, strict=True)]
    return found


def coarse(x: Tensor) -> Tensor:
    """Means of 4 x 4 pixels of (c, H, W)."""
    return torch.stack([
        torch.stack([x[:, i : i + 4, j : j + 4].mean((1, 2)) for j in range(0, x.shape[2], 4)], 1)
        for i in range(0, x.shape[1], 4)
    ], 1)  # fmt: skip


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
            for name, task, map_, is_label in (
                (names[s], tasks[s], predictions[names[s]][b], False), (names[t], tasks[t], known, True)
            ):  # fmt: skip
                x = slow_input(task, map_[:, ::stride, ::stride], is_label)
                maps.append(slow_map(made.mapper, name, number, x, poolings).flatten(1).T)
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
        (ONE, {}), (MIXED, {"mapper_stride": 2, "regions": "grid"}), (NONE_OR_ALL, {"mapper_stride": 4}),
        (FULL, {"names": THREE[:2], "complete": True, "mapper_stride": 4, "kappa": 1.0}),
        (ONE, {"names": THREE[:2], "covariance": "full", "mapper_stride": 2, "ramp_up": 0.0}),
    ],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: list[list[int]], keywords: dict[str, Any]) -> None:
    """And their gradients."""
    made = method(**keywords)
    data = given(made, [row[: len(made.problem.tasks)] for row in labelled])
    predictions = made.predict(torch.cat([data.images, data.views[0].images]))
    first, second = ({n: p.chunk(2)[v] for n, p in predictions.items()} for v in range(2))
    slow = slow_contrast(made, second, data.views[0], data.labelled)
    contrast = 0.15 * slow_ramp(0.1, made.ramp_up) * slow
    found = made.losses(data, torch.tensor(0.1, dtype=torch.float64))
    assert (contrast > 0.01) == (labelled is not NONE_OR_ALL)
    check_losses(made, found, {"contrast": contrast}, supervised(made.problem, first, data))


def test_superpixels_equal_the_loop_and_follow_the_image() -> None:
    made = method()
    images = given(made, ONE).views[0].images
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


def test_distances_of_gaussians_have_the_properties_of_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 6, 120, dtype=torch.float64)
    cut, cells = regions.grid((1, 120), (1, 4), x), torch.ones(1, 1, 120, dtype=torch.float64)
    for full in (False, True):
        p, q = (regions.gaussians(cut, y, cells, full) for y in (x, 0.5 * x + 1))
        there, back = regions.distances(p, q), regions.distances(q, p)
        assert torch.allclose(there.diagonal(), back.diagonal(), rtol=1e-3) and bool((there >= 0).all())
        assert regions.distances(p, p).diagonal() == pytest.approx(torch.zeros(4), abs=1e-2 if full else 1e-9)


@pytest.mark.usefixtures("no_noise")
def test_with_weight_0_it_is_mtpsl_without_consistency_to_the_bit() -> None:
    """So what both have in common, two views through one network, is the same."""
    found = []
    for kind, keywords in ((MTPSL, {"consistency_weight": 0.0, "mapper_width": 2}), (RDC, {"weight": 0.0})):
        torch.manual_seed(3)
        made = kind(problem(THREE, SIZE), **keywords)
        initialise(made, 0)
        made.double()
        data = batch(made.problem, MIXED, views=1)
        losses = made.losses(data, torch.tensor(0.5, dtype=torch.float64))
        losses.total().backward()
        grads = {n: p.grad for n, p in made.named_parameters() if not n.startswith("mapper")}
        found.append((losses.tasks, grads))
    for one, two in zip(*found, strict=True):
        assert one.keys() == two.keys() and len(one) >= 3
        assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.usefixtures("no_noise")
def test_labels_without_a_valid_pixel_give_exactly_nothing() -> None:
    made = method()
    empty = ((0, "semseg"), (1, "depth"), (2, "normals"))
    losses = made.losses(batch(made.problem, ONE, views=1, empty=empty), torch.tensor(0.5))
    losses.total().backward()
    assert losses.extra["contrast"] == 0 and not reached(made.mapper)
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


def test_it_learns_to_tell_regions_and_diagnostics_show_it() -> None:
    """The mapper alone, on fixed predictions: partners come nearer than others."""
    torch.manual_seed(0)
    made = RDC(problem(THREE, SIZE), mapper_width=4, mapper_stride=4, ramp_up=0.0, weight=1.0).double()
    data = given(made, ONE)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(made.parameters(), 5e-3)
    told = []
    for _ in range(12):
        told.append({name: float(d.array) for name, d in made.diagnostics(data).items()})
        optimiser.zero_grad()
        made.losses(data, torch.tensor(1.0)).extra["contrast"].backward()
        optimiser.step()
    key = "regions nearest to their partner"
    assert told[-1][key] > told[0][key] + 0.1 and 0.2 < told[0]["regions that count, of all"] < 1
    ratios = [t["distance, own partner"] / t["distance, others"] for t in told]
    assert ratios[-1] < ratios[0]


def test_every_kind_of_task_has_regions() -> None:
    made = method(tuple(ALL), mapper_stride=4)
    data = given(made, [[int(t == b) for t in range(6)] for b in range(6)])
    losses = made.losses(data, torch.tensor(0.5, dtype=torch.float64))
    losses.extra["contrast"].backward()
    assert losses.extra["contrast"] > 0 and all(reached(first) for first in made.mapper.first.values())
