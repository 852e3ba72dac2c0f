"""What surfaces look like: random materials, and the procedural textures that they stand for.

Materials are drawn with little regard to the class of what they cover, so that colour alone does not tell
classes apart.
"""

from __future__ import annotations

import colorsys
from dataclasses import astuple, dataclass
from functools import lru_cache
from random import Random

import torch
from torch import Tensor

Colour = tuple[float, float, float]
PLAIN, STRIPES, CHECKS, TILES, PLANKS, WOOD, BLOTCHES, DOTS = range(8)
_LATTICE = 16  # period of the noise


@dataclass(frozen=True)
class Material:
    """Describe a surface.

    Linear RGB colours `one` and `two`, mixed by a pattern of `pattern` kind with `scale` cells a metre at
    `angle` (rad), stretched by `aspect`, shifted by `phase`; `grain`: relative strength of fine noise;
    `gloss`: specular share; `glow`: share of the light that is emitted.
    """

    one: Colour
    two: Colour
    pattern: int = PLAIN
    scale: float = 1.0
    angle: float = 0.0
    aspect: float = 1.0
    phase: float = 0.0
    grain: float = 0.1
    gloss: float = 0.0
    glow: float = 0.0


def colour(rng: Random, saturation: float, value: tuple[float, float]) -> Colour:
    """Draw a linear RGB colour; hues lean to those of wood, walls and skin."""
    hue = rng.gauss(0.08, 0.05) % 1 if rng.random() < 0.4 else rng.random()
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, rng.uniform(*value))
    return (r**2.2, g**2.2, b**2.2)


def _blend(a: Colour, b: Colour, share: float) -> Colour:
    r, g, b_ = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return (r, g, b_)


def furniture_material(rng: Random, vivid: bool = False) -> Material:
    """Draw any material; a vivid one is saturated and bright."""
    saturation = rng.uniform(0.65, 0.95) if vivid else min(0.85, rng.betavariate(1.3, 2.2))
    one = colour(rng, saturation, (0.7, 1.0) if vivid else (0.25, 0.95))
    if rng.random() < 0.5:
        two = colour(rng, saturation, (0.2, 1.0))
    else:
        two = _blend(one, (0.02, 0.02, 0.02), rng.uniform(0.3, 0.7))
    pattern = rng.choices((PLAIN, STRIPES, CHECKS, TILES, WOOD, BLOTCHES, DOTS), (5, 1.5, 1, 0.5, 3, 2, 1))[0]
    scale = rng.uniform(4, 12) if pattern in (STRIPES, CHECKS, TILES, DOTS) else rng.uniform(2, 6)
    angle, aspect = rng.choice((0.0, 1.5708, rng.uniform(0, 3.14))), rng.uniform(1, 3)
    phase, grain, gloss = rng.uniform(0, 16), rng.uniform(0.05, 0.25), (0.0, 0.0, rng.uniform(0.1, 0.5))
    return Material(one, two, pattern, scale, angle, aspect, phase, grain, rng.choice(gloss))


def wall_material(rng: Random) -> Material:
    """Draw paint, paper or bricks."""
    one = colour(rng, min(0.8, rng.betavariate(1.2, 3.5)), (0.5, 1.0))
    two = _blend(one, colour(rng, rng.random() * 0.6, (0.3, 0.9)), rng.uniform(0.2, 0.7))
    pattern = rng.choices((PLAIN, STRIPES, CHECKS, TILES, PLANKS, BLOTCHES, DOTS), (5, 2, 0.5, 1, 1, 2, 1))[0]
    scale = rng.uniform(3, 7) if pattern != BLOTCHES else rng.uniform(1, 3)
    angle, aspect = rng.choice((0.0, 1.5708)) if pattern == STRIPES else 0.0, rng.uniform(1, 2.5)
    return Material(one, two, pattern, scale, angle, aspect, rng.uniform(0, 16), rng.uniform(0.03, 0.15))


def floor_material(rng: Random) -> Material:
    """Draw planks, tiles, carpet or stone."""
    one = colour(rng, min(0.8, rng.betavariate(1.5, 2.5)), (0.3, 0.9))
    two = _blend(one, colour(rng, rng.random() * 0.6, (0.1, 0.9)), rng.uniform(0.3, 0.9))
    patterns = (PLAIN, STRIPES, CHECKS, TILES, PLANKS, WOOD, BLOTCHES)
    pattern = rng.choices(patterns, (2, 0.5, 1.5, 2.5, 3, 1, 2))[0]
    scales = {CHECKS: rng.uniform(1.5, 4), PLANKS: rng.uniform(5, 9), BLOTCHES: rng.uniform(1.5, 4)}
    scale = scales.get(pattern, rng.uniform(2, 5))
    angle = rng.choice((0.0, 1.5708, 0.7854))
    aspect = rng.uniform(4, 8) if pattern == PLANKS else 1.0
    phase, grain, gloss = rng.uniform(0, 16), rng.uniform(0.05, 0.25), (0.0, rng.uniform(0.05, 0.3))
    return Material(one, two, pattern, scale, angle, aspect, phase, grain, rng.choice(gloss))


def ceiling_material(rng: Random) -> Material:
    """Draw something light, sometimes wood or panels."""
    one = colour(rng, rng.betavariate(1, 5) * 0.6, (0.6, 1.0))
    two = _blend(one, (0.1, 0.1, 0.1), rng.uniform(0.2, 0.7))
    pattern = rng.choices((PLAIN, TILES, PLANKS, BLOTCHES), (6, 1, 1, 2))[0]
    scale, angle = rng.uniform(1.5, 4), rng.choice((0.0, 1.5708))
    return Material(one, two, pattern, scale, angle, 2.0, rng.uniform(0, 16), rng.uniform(0.02, 0.1))


def table(materials: list[Material]) -> Tensor:
    """Tabulate the materials' numbers, colours first; (M, 14) float64."""
    rows = [(*m.one, *m.two, *astuple(m)[2:]) for m in materials]
    return torch.tensor(rows, dtype=torch.float64)


@lru_cache(maxsize=1)
def _lattice() -> Tensor:
    """(1, 1, L+1, L+1, L+1) periodic random numbers in [0, 1)."""
    cube = torch.rand((_LATTICE,) * 3, generator=torch.Generator().manual_seed(20), dtype=torch.float64)
    return torch.nn.functional.pad(cube[None, None], (0, 1) * 3, mode="circular")


def noise(points: Tensor) -> Tensor:
    """Compute smooth noise in [0, 1) at points (3, N), of period 16; (N,)."""
    wrapped = (points % _LATTICE) * (2 / _LATTICE) - 1
    grid = wrapped.T[None, None, None].contiguous()
    return torch.nn.functional.grid_sample(_lattice(), grid, align_corners=True)[0, 0, 0, 0]


def _cell_noise(i: Tensor, j: Tensor) -> Tensor:
    """A number in [0, 1) for each cell (i, j) of a pattern."""
    return (torch.sin(i * 12.9898 + j * 78.233) * 437.585).frac().abs()


def _mix(pattern: int, u: Tensor, v: Tensor, soft: Tensor, rough: Tensor, aspect: Tensor) -> Tensor:
    """(n,) share of the second colour. u, v: pattern coordinates, in cells; soft: cells a pixel covers."""
    if pattern in (STRIPES, CHECKS):
        wave = torch.sin(torch.pi * u)
        wave = wave * torch.sin(torch.pi * v) if pattern == CHECKS else wave
        return (0.5 + wave / (0.1 + 4 * soft)).clamp(0, 1)
    if pattern in (TILES, PLANKS):
        if pattern == PLANKS:  # rows of long cells, each shifted
            v = v / aspect + 7 * _cell_noise(u.floor(), u.floor() + 0.5)
        gap = torch.minimum((u - u.round()).abs(), (v - v.round()).abs() * aspect)
        joint = (1 - gap / (0.05 + soft)).clamp(0, 1) * (0.05 / (0.05 + soft))
        return torch.maximum(joint, 0.45 * _cell_noise(u.floor(), v.floor()))
    if pattern == WOOD:
        return 0.5 + 0.5 * torch.sin(torch.pi * (u + 5 * rough)) * (1 - soft).clamp(0.1, 1)
    if pattern == DOTS:
        distance = ((u - u.round()).square() + (v - v.round()).square()).sqrt()
        return ((0.3 - distance) / (0.05 + soft) + 0.5).clamp(0, 1)
    return (2.2 * rough - 0.6).clamp(0, 1) if pattern == BLOTCHES else torch.zeros_like(u)


def albedo(materials: Tensor, number: Tensor, own: Tensor, uv: Tensor, footprint: Tensor) -> Tensor:
    """Compute linear colours in [0, 1]; (3, N).

    materials (M, 14) of `table`; number (N,): each pixel's material; own (3, N), uv (2, N): coordinates in
    metres; footprint (N,): metres that a pixel covers, below which patterns blur.
    """
    rows = materials.T.contiguous().index_select(1, number)
    pattern, scale, angle, phase = rows[6], rows[7], rows[8], rows[10]
    u = (uv[0] * torch.cos(angle) + uv[1] * torch.sin(angle)) * scale + phase
    v = (uv[1] * torch.cos(angle) - uv[0] * torch.sin(angle)) * scale + phase
    soft = (footprint * scale).clamp(0, 4)
    rough = noise(own * scale + phase)
    fine = noise(own * 23 + phase)
    mix = torch.zeros_like(u)
    for kind in range(STRIPES, DOTS + 1):
        chosen = (pattern == kind).nonzero()[:, 0]
        if len(chosen):
            mix[chosen] = _mix(kind, u[chosen], v[chosen], soft[chosen], rough[chosen], rows[9, chosen])
    base = rows[:3] + (rows[3:6] - rows[:3]) * mix
    return (base * (1 + rows[11] * (0.6 * fine + rough - 0.8))).clamp(0, 1)
