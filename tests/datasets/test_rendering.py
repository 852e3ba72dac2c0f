"""The ray caster against slow references: hits by marching, normals by definition."""

import numpy as np
import pytest
import torch

from datasets.rendering.geometry import BOX, ELLIPSOID, FRUSTUM, ROOM, Solids, cast, surface
from datasets.rendering.render import camera_rays


def _solids(seed: int) -> Solids:
    """A room with a box, an ellipsoid, a cylinder, a frustum and a cone, turned at random."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(6, 3, 3, generator=generator, dtype=torch.float64))[0]
    axes[0] = torch.eye(3)
    centre = torch.rand(6, 3, generator=generator, dtype=torch.float64) * 2 - 1
    centre[:, 2] += 3
    centre[0] = torch.tensor([0.0, 0.0, 2.0])
    half = 0.2 + torch.rand(6, 3, generator=generator, dtype=torch.float64) * 0.8
    half[0] = torch.tensor([3.0, 2.5, 4.0])
    taper = torch.tensor([1.0, 1, 1, 1, 0.4, 0], dtype=torch.float64)
    return Solids(torch.tensor([ROOM, BOX, ELLIPSOID, FRUSTUM, FRUSTUM, FRUSTUM]), centre, axes, half, taper)


def _inside(solids: Solids, p: int, points: np.ndarray) -> np.ndarray:
    """(n,) bool by definition of the solids, for points (n, 3)."""
    local = (points - solids.centre[p].numpy()) @ solids.axes[p].numpy() / solids.half[p].numpy()
    kind = int(solids.kind[p])
    if kind in (ROOM, BOX):
        within = (np.abs(local) <= 1).all(1)
        return ~within if kind == ROOM else within
    if kind == ELLIPSOID:
        return (local**2).sum(1) <= 1
    taper = float(solids.taper[p])
    radius = 1 + (taper - 1) * (local[:, 1] + 1) / 2
    return (np.abs(local[:, 1]) <= 1) & (local[:, 0] ** 2 + local[:, 2] ** 2 <= radius**2)


def _march(solids: Solids, direction: np.ndarray) -> tuple[float, int]:
    """First surface along a ray from the origin: small steps, then bisection. direction: (3,)."""
    ts = np.arange(1, 12000) * 1e-3
    best, which = np.inf, -1
    for p in range(len(solids.kind)):
        hits = np.flatnonzero(_inside(solids, p, ts[:, None] * direction))
        if len(hits):
            low, high = ts[hits[0]] - 1e-3, ts[hits[0]]
            for _ in range(40):
                middle = (low + high) / 2
                inside = _inside(solids, p, middle * direction[None])[0]
                low, high = (low, middle) if inside else (middle, high)
            if high < best:
                best, which = high, p
    return best, which


def test_first_hits_agree_with_marching_along_each_ray() -> None:
    solids, origin = _solids(0), torch.zeros(3, dtype=torch.float64)
    rays = camera_rays((10, 14))
    t, solid = cast(solids, origin, rays)
    seen = set()
    for pixel in range(rays.shape[1]):
        expected, which = _march(solids, rays[:, pixel].numpy())
        if which != int(solid[pixel]):  # a ray may graze less of a solid than one step
            assert float(t[pixel]) < expected < np.inf
            continue
        assert float(t[pixel]) == pytest.approx(expected, abs=1e-8)
        seen.add(which)
    assert len(seen) >= 4


def test_normals_are_the_gradients_of_the_surfaces() -> None:
    solids, origin = _solids(2), torch.zeros(3, dtype=torch.float64)
    rays = camera_rays((40, 40))
    hit = surface(solids, origin, rays, *cast(solids, origin, rays))
    for pixel in range(0, rays.shape[1], 7):
        p, point, normal = int(hit.solid[pixel]), hit.point[:, pixel].numpy(), hit.normal[:, pixel].numpy()
        assert np.linalg.norm(normal) == pytest.approx(1)
        assert normal @ rays[:, pixel].numpy() < 0
        # A little outwards is outside, a little inwards inside; the tangent plane touches to second order.
        assert not _inside(solids, p, (point + 1e-6 * normal)[None])[0]
        assert _inside(solids, p, (point - 1e-6 * normal)[None])[0]
        tangent = np.cross(normal, rays[:, pixel].numpy())
        tangent *= 1e-4 / np.linalg.norm(tangent)
        assert not _inside(solids, p, (point + tangent + 3e-6 * normal)[None])[0] or p == 0
