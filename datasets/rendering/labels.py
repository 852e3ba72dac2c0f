"""Exact labels of a rendered view, read off the surfaces that its rays meet."""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.rendering.furniture import CLASSES, FIGURE
from datasets.rendering.geometry import FACES, Surface
from datasets.rendering.scene import Scene
from datasets.tasks import IGNORE

CREASE = 0.9  # cosine between normals below which two faces of one object meet in an edge (26 degrees)
STEP = 0.04  # metres out of a face's plane from which a jump within one object is an edge


def label_maps(scene: Scene, hit: Surface, camera: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Read off {task: (C, H, W)} in the compact dtypes of `Split`.

    hit: surfaces of all pixels, row by row. camera: (3, 3), whose columns are the camera's axes.
    """
    label = scene.label[hit.solid, hit.face]
    number = scene.number[hit.solid]
    part = scene.part[hit.solid]
    if not (label == FIGURE).any():
        part = torch.full_like(part, IGNORE)
    maps = {
        "semseg": label.to(torch.uint8)[None],
        "depth": hit.t.to(torch.float16)[None],
        "normals": (camera.T @ hit.normal * 127).round().to(torch.int8),
        "edge": edges(scene, hit, size),
        "saliency": (number == scene.room.hero).to(torch.uint8)[None],
        "parts": part.to(torch.uint8)[None],
    }
    return {name: values.view(-1, *size) for name, values in maps.items()}


def edges(scene: Scene, hit: Surface, size: tuple[int, int]) -> Tensor:
    """Draw object boundaries, occlusions and creases, one pixel wide.

    (H, W) uint8. Of two neighbours that an edge parts, the nearer one carries it where they belong to two
    objects or classes, or one hides the other; the left or upper one does in a crease. Reliefs (panels,
    frames, posters, rugs) count as painted on: their sides, a pixel across at most, would draw dotted lines
    that say more of the raster than of the room.
    """
    face = (hit.solid * FACES + hit.face).view(size)
    # Objects and classes in one number: the room is one object, and walls, floor and ceiling are not one
    # class.
    objects = (scene.number[hit.solid] * len(CLASSES) + scene.label[hit.solid, hit.face]).view(size)
    relief = scene.relief[hit.solid]
    front = scene.solids.axes[hit.solid, :, relief.clamp_min(0)].T
    normal = torch.where(relief >= 0, front, hit.normal).view(3, *size)
    point, depth = hit.point.view(3, *size), hit.t.view(size)
    result = torch.zeros(size, dtype=torch.bool)
    height, width = size
    for rows, columns in ((1, 0), (0, 1)):
        first = (slice(0, height - rows), slice(0, width - columns))
        second = (slice(rows, height), slice(columns, width))
        n1, n2 = normal[:, *first], normal[:, *second]
        offset = point[:, *second] - point[:, *first]
        step = torch.minimum((n1 * offset).sum(0).abs(), (n2 * offset).sum(0).abs())
        jump = (objects[first] != objects[second]) | (step > STEP)
        edge = (jump | ((n1 * n2).sum(0) < CREASE)) & (face[first] != face[second])
        nearer = (depth[first] <= depth[second]) | ~jump
        result[first] |= edge & nearer
        result[second] |= edge & ~nearer
    return result.to(torch.uint8)
