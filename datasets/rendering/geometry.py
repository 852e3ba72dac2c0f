"""Convex solids and the rays that meet them: boxes, ellipsoids, frusta, and the room around them.

Every solid is an affine image of a unit solid, so a ray keeps its parameter t in the solid's own axes. World
axes: x right, y up, z forward; lengths in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROOM, BOX, ELLIPSOID, FRUSTUM = range(4)
# the most faces a solid has: 2 * axis + (1 on the positive side); frustum: 0 side, 1 lower cap, 2 upper cap
FACES = 6
NEAR = 1e-6  # hits nearer than this (in t) are the surface that the ray starts on
_BUNDLE = 32  # neighbouring rays that are culled together first: some shadows of v1 hang on it
_CORNERS = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)


@dataclass(frozen=True)
class Solids:
    """Hold P solids, float64.

    kind (P,) int64; centre (P, 3); axes (P, 3, 3), whose columns are the solid's own axes in world axes; half
    (P, 3) half extents along them; taper (P,), a frustum's upper radius over its lower one.
    """

    kind: Tensor
    centre: Tensor
    axes: Tensor
    half: Tensor
    taper: Tensor

    @cached_property
    def to_own(self) -> Tensor:
        """Map world axes to those in which a solid has unit size; (P, 3, 3)."""
        return self.axes.transpose(1, 2) / self.half[:, :, None]

    @cached_property
    def corners(self) -> Tensor:
        """Compute the corners of each solid's box, in world axes; (P, 8, 3)."""
        return self.centre[:, None] + torch.einsum("pij,cj->pci", self.axes * self.half[:, None, :], _CORNERS)


@dataclass(frozen=True)
class Surface:
    """Hold what N rays meet.

    t (N,); solid, face (N,) int64; point, normal (3, N) in world axes, the normal unit and towards the origin
    of the rays; own (3, N) the point in the solid's own axes, in metres; uv (2, N) surface coordinates in
    metres.
    """

    t: Tensor
    solid: Tensor
    face: Tensor
    point: Tensor
    normal: Tensor
    own: Tensor
    uv: Tensor


def _columns(table: Tensor, number: Tensor) -> Tensor:
    """table[:, number], by the operator that is fastest at it."""
    return table.gather(1, number.expand(len(table), -1))


def bundle(directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bundle neighbouring rays (3, N), each bundle in a cone.

    Returns unit directions (B, 3, 32), NaN beyond the last ray, the cones' axes (B, 3) and cosines (B,);
    float32, which is enough for tests with a margin.
    """
    missing = -directions.shape[1] % _BUNDLE
    rays = torch.nn.functional.pad(unit(directions).float(), (0, missing), value=torch.nan)
    rays = rays.view(3, -1, _BUNDLE).transpose(0, 1).contiguous()
    axis = unit(rays.nansum(2), 1)
    cosine = (rays * axis[:, :, None]).sum(1).nan_to_num(1.0).amin(1)
    return rays, axis, cosine


def candidates(
    corners: Tensor, origin: Tensor, bundles: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Find all pairs (solid, ray) that may meet; two (n,) int64.

    corners: (P, 8, 3) of the solids; the rays leave `origin` (3,). Rays that meet a convex solid lie in every
    cone of less than 90 degrees that holds the solid's corners.
    """
    rays, ray_axis, ray_cosine = bundles
    to_corners = unit(corners - origin, 2)
    axis = unit(to_corners.sum(1), 1)
    cosine = (to_corners * axis[:, None]).sum(2).amin(1)
    wide = cosine <= 0.05
    cosine = (cosine - 1e-4).clamp_min(0).float()
    axis = axis.float()
    # Two cones meet where their axes are no further apart than their half angles together.
    sines = ((1 - cosine.square()).sqrt()[:, None], (1 - ray_cosine.square()).clamp_min(0).sqrt())
    apart = cosine[:, None] * ray_cosine - sines[0] * sines[1]
    row, block = ((axis @ ray_axis.T >= apart - 1e-4) | wide[:, None]).nonzero(as_tuple=True)
    limit = torch.where(wide, -2.0, cosine)
    chosen, own = rays.index_select(0, block), axis.index_select(0, row)
    along = own[:, 0:1] * chosen[:, 0]
    along.addcmul_(own[:, 1:2], chosen[:, 1]).addcmul_(own[:, 2:3], chosen[:, 2])
    pair, lane = (along >= limit[row, None]).nonzero(as_tuple=True)
    return row.index_select(0, pair), block.index_select(0, pair) * _BUNDLE + lane


def unit(vectors: Tensor, dim: int = 0) -> Tensor:
    """Scale vectors, with components along `dim`, to length 1."""
    return vectors * (vectors * vectors).sum(dim, keepdim=True).rsqrt()


def _room(origin: Tensor, direction: Tensor, _: Tensor) -> Tensor:
    inverse = 1 / direction
    return (inverse.abs() - origin * inverse).amin(0)


def _box(origin: Tensor, direction: Tensor, _: Tensor) -> Tensor:
    inverse = 1 / direction
    middle, reach = origin * inverse, inverse.abs()
    near, far = -(middle + reach).amin(0), (reach - middle).amin(0)
    return torch.where((near < far) & (near > NEAR), near, torch.inf)


def _ellipsoid(origin: Tensor, direction: Tensor, _: Tensor) -> Tensor:
    a = (direction * direction).sum(0)
    b = (direction * origin).sum(0)
    root = (b * b - a * ((origin * origin).sum(0) - 1)).sqrt()  # NaN on a miss, and NaN > NEAR is False
    t = (-b - root) / a
    return torch.where(t > NEAR, t, torch.inf)


def _frustum(origin: Tensor, direction: Tensor, taper: Tensor) -> Tensor:
    """Side x^2 + z^2 = (m + s y)^2 and caps at y = -1, 1, of radius 1 and `taper`."""
    mean, slope = (1 + taper) / 2, (taper - 1) / 2
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    radius, change = mean + slope * oy, slope * dy
    a = dx * dx + dz * dz - change * change
    a = torch.where(a.abs() < 1e-12, 1e-12, a)
    b = ox * dx + oz * dz - radius * change
    root = (b * b - a * (ox * ox + oz * oz - radius * radius)).sqrt()
    best = torch.full_like(a, torch.inf)
    for t in ((-b - root) / a, (-b + root) / a):
        best = torch.where((t > NEAR) & ((oy + t * dy).abs() <= 1) & (t < best), t, best)
    for end, limit in ((-1.0, 1.0), (1.0, taper)):
        t = (end - oy) / dy
        inside = (ox + t * dx).square() + (oz + t * dz).square() <= limit * limit
        best = torch.where((t > NEAR) & inside & (t < best), t, best)
    return best


# By kind. Each takes origins (3, n), directions (3, n) and tapers (n,) in the axes of unit solids, and
# returns t (n,).
_SOLVERS: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (_room, _box, _ellipsoid, _frustum)


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """(3, n): n matrices, given as (9, n) in row-major order, times n vectors (3, n)."""
    m = matrices.view(3, 3, -1)
    return (m[:, 0] * vectors[0]).addcmul_(m[:, 1], vectors[1]).addcmul_(m[:, 2], vectors[2])


def cast(
    solids: Solids, origin: Tensor, directions: Tensor, among: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find the first solid that each ray origin + t * direction meets.

    origin: (3,). directions: (3, N), of any length. among: (P,) bool, the solids that count (default: all).
    Returns t (N,), infinity where there is none, and the solid's number (N,), -1 where there is none; of
    solids that are met at the same t, the last. A ray that starts inside a solid does not see it, the room
    excepted.
    """
    directions = torch.where(directions.abs() < 1e-12, 1e-12, directions)
    order = solids.kind.argsort(stable=True)
    chosen = order if among is None else order[among[order]]
    # Pairs come by row, thus by kind, so that each kind's are a slice.
    row, ray = candidates(solids.corners[chosen], origin, bundle(directions))
    number = chosen[row]
    to_own = solids.to_own.flatten(1).T.contiguous()
    start = _apply(to_own, (origin - solids.centre).T)
    pairs = (
        _columns(start, number),
        _apply(_columns(to_own, number), _columns(directions, ray)),
        solids.taper[number],
    )
    counts = torch.bincount(solids.kind[number], minlength=len(_SOLVERS)).tolist()
    parts = zip(_SOLVERS, *(torch.split(p, counts, dim=-1) for p in pairs), strict=True)
    hit = torch.cat([solve(*given) for solve, *given in parts])
    t = torch.full_like(directions[0], torch.inf).scatter_reduce(0, ray, hit, "amin")
    last = torch.where((hit == t[ray]) & torch.isfinite(hit), number, -1)
    return t, torch.full_like(t, -1, dtype=torch.int64).scatter_reduce(0, ray, last, "amax")


def _largest(x: Tensor) -> Tensor:
    """(N,) number of the largest of three rows, the first of equals; much faster here than `argmax`."""
    return torch.where((x[0] >= x[1]) & (x[0] >= x[2]), 0, torch.where(x[1] >= x[2], 1, 2))


def surface(solids: Solids, origin: Tensor, directions: Tensor, t: Tensor, solid: Tensor) -> Surface:
    """Compute face, normal and coordinates at the hits of `cast`, of which every ray must have one."""
    point = origin[:, None] + t * directions
    to_own = solids.to_own.flatten(1).T.contiguous().index_select(1, solid)
    x = _apply(to_own, point - solids.centre.T.contiguous().index_select(1, solid))
    half, kind = solids.half.T.contiguous().index_select(1, solid), solids.kind[solid]
    own = x * half

    axis = _largest(x.abs())
    sign = torch.where(x.gather(0, axis[None])[0] > 0, 1.0, -1.0).to(x)
    flat = torch.zeros_like(x).scatter_(0, axis[None], sign[None])
    uv = torch.stack((torch.where(axis == 0, own[2], own[0]), torch.where(axis == 1, own[2], own[1])))
    flat, face = torch.where(kind == ROOM, -flat, flat), 2 * axis + (sign > 0)

    taper = solids.taper[solid]
    slope = (taper - 1) / 2
    side = torch.stack((x[0], -slope * ((1 + taper) / 2 + slope * x[1]), x[2]))
    cap = x[1].abs() > 1 - 1e-9
    rim = torch.stack((torch.zeros_like(t), x[1].sign(), torch.zeros_like(t)))
    frustum = torch.where(cap, rim, side)
    around = torch.stack((torch.atan2(x[2], x[0]) * half[0], own[1]))
    round_face = torch.where(cap & (kind == FRUSTUM), torch.where(x[1] < 0, 1, 2), 0)

    is_round = kind >= ELLIPSOID
    normal = torch.where(kind == ELLIPSOID, x, torch.where(kind == FRUSTUM, frustum, flat))
    face = torch.where(is_round, round_face, face)
    uv = torch.where(is_round, torch.where(face > 0, own[::2], around), uv)
    # A plane's covector: normals go with the transpose of the map to the own axes.
    transposed = to_own.view(3, 3, -1).transpose(0, 1).reshape(9, -1)
    normal = unit(_apply(transposed, normal))
    return Surface(t, solid, face, point, normal, own, uv)
