"""From a planned room to what the ray caster takes: solids, classes, materials and camera rays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.rendering.furniture import CEILING, FLOOR, WALL
from datasets.rendering.geometry import FACES, ROOM, Solids
from datasets.rendering.layout import Room
from datasets.rendering.materials import Material, table

FOCAL = 0.8  # focal length over the image's longer side: 64 degrees across


@dataclass(frozen=True)
class Scene:
    """Hold a room as tensors; P solids, the first being the room.

    label, material: (P, 6) int64, by solid and face; number: (P,) int64 object numbers, 0 the room; part:
    (P,) int64; relief: (P,) int64 axis along which a solid lies flat, or -1; materials: (M, 14) of
    `datasets.rendering.materials.table`.
    """

    room: Room
    solids: Solids
    label: Tensor
    material: Tensor
    number: Tensor
    part: Tensor
    relief: Tensor
    materials: Tensor


def make_scene(room: Room) -> Scene:
    """Turn and move every solid of every item to its place."""
    items = [(placed, solid) for placed in room.placed for solid in placed.item.solids]
    palette: dict[Material, int] = {}

    def index(material: Material) -> int:
        return palette.setdefault(material, len(palette))

    sides = [WALL, WALL, FLOOR, CEILING, WALL, WALL]
    label = [sides] + [[placed.item.label] * FACES for placed, _ in items]
    material = [[index(m) for m in room.materials]] + [[index(solid.material)] * FACES for _, solid in items]

    width, height, depth = room.size
    own = _float([((0.0, height / 2, 0.0), *_IDENTITY)] + [(solid.centre, *solid.axes) for _, solid in items])
    yaw = _float([0.0] + [placed.yaw for placed, _ in items])
    position = _float([(0.0, 0.0, 0.0)] + [placed.position for placed, _ in items])
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    rows = (yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    turn = torch.stack(rows, 1).view(-1, 3, 3)
    solids = Solids(
        kind=torch.tensor([ROOM] + [solid.kind for _, solid in items]),
        centre=(turn @ own[:, 0, :, None])[:, :, 0] + position,
        axes=turn @ own[:, 1:],
        half=_float([(width / 2, height / 2, depth / 2)] + [solid.half for _, solid in items]),
        taper=_float([1.0] + [solid.taper for _, solid in items]),
    )
    return Scene(
        room,
        solids,
        torch.tensor(label),
        torch.tensor(material),
        torch.tensor([0] + [placed.number for placed, _ in items]),
        torch.tensor([0] + [solid.part for _, solid in items]),
        torch.tensor([-1] + [solid.relief for _, solid in items]),
        table(list(palette)),
    )


_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def _float(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def camera(room: Room) -> tuple[Tensor, Tensor]:
    """Compute the eye (3,) and the world-from-camera matrix (3, 3).

    Its columns are the camera's right, down and forward.
    """
    cy, sy, cp, sp = math.cos(room.yaw), math.sin(room.yaw), math.cos(room.pitch), math.sin(room.pitch)
    right, down, forward = (cy, 0.0, -sy), (sy * sp, -cp, cy * sp), (sy * cp, sp, cy * cp)
    cr, sr = math.cos(room.roll), math.sin(room.roll)
    tilted_right = tuple(r * cr + d * sr for r, d in zip(right, down, strict=True))
    tilted_down = tuple(d * cr - r * sr for r, d in zip(right, down, strict=True))
    return _float(list(room.eye)), _float([tilted_right, tilted_down, forward]).T


def camera_rays(size: tuple[int, int]) -> Tensor:
    """Compute rays through the pixel centres, in camera axes; (3, H * W).

    x right, y down, z forward, with z = 1: t is depth.
    """
    height, width = size
    focal = FOCAL * max(size)
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2) / focal
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / focal
    v, u = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((u, v, torch.ones_like(u))).flatten(1)
