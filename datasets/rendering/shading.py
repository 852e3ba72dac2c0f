"""Light: point lights with shadows, a little ambient light, and the camera that makes bytes of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datasets.rendering.geometry import Surface, cast, unit
from datasets.rendering.layout import Light
from datasets.rendering.materials import albedo
from datasets.rendering.scene import FOCAL, Scene

_LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)


def radiance(scene: Scene, hit: Surface, directions: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the linear light that comes back along rays; (3, N).

    directions: (3, N), 1 long along the optical axis.
    """
    number = scene.material[hit.solid, hit.face]
    view = -unit(directions)
    slant = (view * hit.normal).sum(0).clamp_min(0.15)
    footprint = hit.t / (FOCAL * max(size)) / slant
    base = albedo(scene.materials, number, hit.own, hit.uv, footprint)
    gloss, glow = scene.materials[number, 12], scene.materials[number, 13]
    light = _ambient(scene, hit).expand(3, -1)
    shine = torch.zeros_like(light)
    for source in scene.room.lights:
        incoming, towards = _direct(scene, hit, source)
        light = light + incoming
        half = unit(towards + view)
        shine = shine + incoming * (half * hit.normal).sum(0).clamp_min(0) ** 40
    return base * (light * (1 - glow) + 1.2 * glow) + gloss * shine


def _ambient(scene: Scene, hit: Surface) -> Tensor:
    """(N,) light from everywhere, less of it in the room's corners."""
    sides = torch.tensor(scene.room.size, dtype=torch.float64)[:, None]
    low = torch.tensor([-0.5, 0.0, -0.5], dtype=torch.float64)[:, None] * sides
    gap = torch.minimum(hit.point - low, low + sides - hit.point).clamp_min(0)
    closed = 1 - 0.4 * torch.exp(-gap / 0.3) * (hit.normal.abs() < 0.7)
    return scene.room.ambient * closed.prod(0)


def _direct(scene: Scene, hit: Surface, source: Light) -> tuple[Tensor, Tensor]:
    """(3, N) light that arrives from a source, shadows cast, and (3, N) the unit direction to it."""
    place = torch.tensor(source.position, dtype=torch.float64)
    ray = hit.point - place[:, None]
    squared = (ray * ray).sum(0)
    towards = -ray / squared.sqrt()
    cosine = (towards * hit.normal).sum(0).clamp_min(0)
    lit = cosine.nonzero()[:, 0]
    solids = scene.solids
    # What belongs to the room (number 0: rugs, posters, skirting) is too flat for a shadow.
    opaque = (scene.number != 0) & (scene.number != source.inside)
    first, _ = cast(solids, place, ray[:, lit], opaque)
    # The ray of a lit point ends on that point's own surface, at t = 1.
    arrives = torch.zeros_like(squared).index_put((lit,), (first > 1 - 1e-4).to(squared))
    power = source.strength * 1.3 / (0.3 + squared) * cosine * arrives
    return torch.tensor(source.colour, dtype=torch.float64)[:, None] * power, towards


def develop(light: Tensor, generator: torch.Generator) -> Tensor:
    """Turn linear light (3, H, W) into an image, uint8.

    Exposure, white balance, lens blur, vignette, gamma and noise.
    """
    draw = torch.rand(6, generator=generator, dtype=torch.float64)
    brightness = (light * _LUMINANCE[:, None, None]).sum(0)
    target = 0.16 + 0.16 * float(draw[0])
    light = light * (1 + 0.16 * (draw[1:4, None, None] - 0.5))
    # Film-like: the median of the image comes out at `target`, and highlights roll off instead of clipping.
    image = 1 - torch.exp(light * (math.log(1 - target) / float(brightness.median().clamp_min(1e-6))))
    image = _blur(image).clamp(0, 1) ** (1 / 2.2)
    height, width = image.shape[1:]
    y, x = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in (height, width))
    image = image * (1 - (0.05 + 0.15 * draw[4]) * (y[:, None] ** 2 + x**2) / 2)
    noise = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    image = image + noise * (0.006 + 0.024 * draw[5]) * (1.3 - 0.6 * image)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _blur(image: Tensor) -> Tensor:
    """Blur by one pixel, (1, 6, 1) / 8 along rows and columns: the lens, instead of jagged edges."""
    padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    rows = 0.125 * (padded[:, :-2] + padded[:, 2:]) + 0.75 * padded[:, 1:-1]
    return 0.125 * (rows[:, :, :-2] + rows[:, :, 2:]) + 0.75 * rows[:, :, 1:-1]
