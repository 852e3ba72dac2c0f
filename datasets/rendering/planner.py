"""Where things stand in a room, so that the camera's view of its object stays open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from datasets.rendering.furniture import Item, Vector

_EYE_CLEARANCE = 0.45  # metres around the camera


@dataclass(frozen=True)
class Placed:
    """Place an item, turned by `yaw` (rad, +z towards +x) and moved.

    number: of the object; 0 is the room itself, to which posters, rugs and skirting belong.
    """

    item: Item
    yaw: float
    position: Vector
    number: int


class Planner:
    """Draw a room's size and camera, and place items without overlaps.

    placed: what has been placed so far. eye: camera position; yaw (rad): its direction, +z towards +x.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.size = (rng.uniform(3.2, 6.5), rng.uniform(2.3, 3.1), rng.uniform(3.6, 7.0))
        self.placed: list[Placed] = []
        self._objects = 0
        # x0, x1, z0, z1 of what stands on the floor
        self._taken: list[tuple[float, float, float, float]] = []
        self._sight: list[tuple[float, float]] = []  # points of the floor that must stay free
        self._walls: list[list[tuple[float, float]]] = [[], [], [], []]  # taken intervals
        self.yaw = rng.uniform(-math.pi, math.pi)
        self.eye = self._stand_back()
        x, z = self.eye[0], self.eye[2]
        self._taken.append((x - _EYE_CLEARANCE, x + _EYE_CLEARANCE, z - _EYE_CLEARANCE, z + _EYE_CLEARANCE))

    def _stand_back(self) -> Vector:
        """A camera near a wall that looks across the room."""
        rng, (width, _, depth) = self.rng, self.size
        s, c, wide, deep = math.sin(self.yaw), math.cos(self.yaw), width / 2 - 0.35, depth / 2 - 0.35
        back = min(wide / max(abs(s), 1e-6), deep / max(abs(c), 1e-6)) * rng.uniform(0.6, 1)
        shift = rng.uniform(-0.25, 0.25) * min(width, depth)
        x, z = c * shift - s * back, -s * shift - c * back
        return (max(-wide, min(wide, x)), rng.uniform(1.0, 1.85), max(-deep, min(deep, z)))

    def in_view(self, spread: float, near: float, far: float) -> tuple[float, float]:
        """Draw a point (x, z) within `spread` rad of the camera's direction."""
        angle, distance = self.yaw + self.rng.uniform(-spread, spread), self.rng.uniform(near, far)
        return self.eye[0] + distance * math.sin(angle), self.eye[2] + distance * math.cos(angle)

    def add(self, item: Item, yaw: float, position: Vector, background: bool = False) -> Placed:
        """Place an item without asking; `background` makes it part of the room."""
        self._objects += not background
        placed = Placed(item, yaw, position, 0 if background else self._objects)
        self.placed.append(placed)
        return placed

    def put(self, item: Item, x: float, z: float, yaw: float) -> Placed | None:
        """Stand an item on the floor at (x, z) if that is free."""
        hx, hz = item.footprint
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        wide, deep = hx * c + hz * s, hx * s + hz * c
        if abs(x) + wide > self.size[0] / 2 or abs(z) + deep > self.size[2] / 2:
            return None
        x0, x1, z0, z1 = x - wide, x + wide, z - deep, z + deep
        if any(x0 < b and a < x1 and z0 < d and c < z1 for a, b, c, d in self._taken):
            return None
        if any(x0 < px < x1 and z0 < pz < z1 for px, pz in self._sight):
            return None
        self._taken.append((x0, x1, z0, z1))
        return self.add(item, yaw, (x, 0.0, z))

    def in_front(self, item: Item, spread: float = 0.2) -> Placed | None:
        """Stand an item before the camera, and keep the view of it free."""
        for near, far in ((1.9, 3.0), (1.9, 3.0), (1.6, 3.6), (1.4, 4.0)) * 5:
            x, z = self.in_view(spread, near, far)
            facing = math.atan2(self.eye[0] - x, self.eye[2] - z)
            placed = self.put(item, x, z, facing + self.rng.gauss(0, 0.6))
            if placed:
                half = 0.8 * max(item.footprint)
                for side in (-half, 0.0, half):
                    dx = x + side * math.cos(facing) - self.eye[0]
                    dz = z - side * math.sin(facing) - self.eye[2]
                    shares = range(1, 12)
                    self._sight += [(self.eye[0] + dx * k / 12, self.eye[2] + dz * k / 12) for k in shares]
                return placed
        return None

    def wall_point(self, side: int, along: float) -> tuple[float, float]:
        """Find (x, z) on a wall: side 0 is -z, 1 -x, 2 +z, 3 +x.

        An item there faces the room at yaw = side * 90 degrees.
        """
        width, _, depth = self.size
        return ((along, -depth / 2), (-width / 2, along), (along, depth / 2), (width / 2, along))[side]

    def at_wall(self, item: Item) -> Placed | None:
        """Stand an item with its back to a wall."""
        gap = item.footprint[1] + 0.06
        for _ in range(10):
            x, z = self.in_view(0.6, 0.8, 8.0)
            side = self.rng.randrange(4)
            wall_x, wall_z = self.wall_point(side, z if side % 2 else x)
            x, z = (wall_x + gap * (2 - side), z) if side % 2 else (x, wall_z + gap * (1 - side))
            placed = self.put(item, x, z, side * math.pi / 2)
            if placed:
                return placed
        return None

    def anywhere(self, item: Item) -> Placed | None:
        """Stand an item freely in view, more or less square to the walls."""
        for _ in range(8):
            x, z = self.in_view(0.5, 1.4, 6.0)
            turn = self.rng.gauss(0, 0.4) if self.rng.random() < 0.5 else 0.0
            placed = self.put(item, x, z, self.rng.randrange(4) * math.pi / 2 + turn)
            if placed:
                return placed
        return None

    def on_wall(self, item: Item, background: bool = False) -> Placed | None:
        """Hang an item on a free stretch of a wall, rather in view than not."""
        half, walls = item.footprint[0] + 0.08, (self.size[0], self.size[2])
        for _ in range(8):
            side = self.rng.randrange(4)
            x, z = self.in_view(0.6, 2.0, 8.0)
            room = walls[side % 2] / 2 - half
            along = max(-room, min(room, z if side % 2 else x))
            if room > 0 and not any(along - half < b and a < along + half for a, b in self._walls[side]):
                self._walls[side].append((along - half, along + half))
                x, z = self.wall_point(side, along)
                return self.add(item, side * math.pi / 2, (x, 0.0, z), background)
        return None
