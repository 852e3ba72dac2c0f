"""One picture of one room, with its labels."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from datasets.rendering.geometry import Surface, cast, surface
from datasets.rendering.labels import label_maps
from datasets.rendering.layout import make_room
from datasets.rendering.scene import camera, camera_rays, make_scene
from datasets.rendering.shading import develop, radiance

_RAYS_AT_ONCE = 1 << 16  # bounds the memory of large images


def render(seed: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Render the room of `seed` at `size` = (H, W).

    {"image": (3, H, W) uint8, and each task's map (C, H, W)}. A pure function: the same room at every size,
    computed in float64 and then quantised.
    """
    room = make_room(seed)
    scene = make_scene(room)
    eye, axes = camera(room)
    directions = axes @ camera_rays(size)
    hits, light = [], []
    for rays in torch.split(directions, _RAYS_AT_ONCE, dim=1):
        hit = surface(scene.solids, eye, rays, *cast(scene.solids, eye, rays))
        hits.append(hit)
        light.append(radiance(scene, hit, rays, size))
    whole = Surface(*(torch.cat([getattr(hit, field.name) for hit in hits], -1) for field in fields(Surface)))
    image = develop(torch.cat(light, 1).view(3, *size), torch.Generator().manual_seed(seed))
    return {"image": image, **label_maps(scene, whole, axes, size)}
