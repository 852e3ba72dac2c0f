"""A random furnished room: what stands where, the camera in it and the lights. Plain numbers, no tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from datasets.rendering import furniture as f
from datasets.rendering import materials as m
from datasets.rendering.fittings import door, figure, poster, rug, skirting, window
from datasets.rendering.furniture import Item, Vector
from datasets.rendering.materials import Colour

FIGURE_SHARE = 0.36  # of the rooms have a figure
_MAKERS: dict[int, Callable[[Random, bool], Item]] = {
    f.TABLE: f.table, f.CHAIR: f.chair, f.CABINET: f.cabinet, f.BED: f.bed,
    f.LAMP: f.lamp, f.BALL: f.ball, f.CARTON: f.carton,
}  # fmt: skip
_OFTEN = {f.TABLE: 3, f.CHAIR: 5, f.CABINET: 3, f.BED: 2, f.LAMP: 2.5, f.BALL: 2, f.CARTON: 3}
_HERO_OFTEN = {f.TABLE: 2, f.CHAIR: 2, f.CABINET: 1.5, f.BED: 1, f.LAMP: 1, f.BALL: 2, f.CARTON: 2}
_EYE_CLEARANCE = 0.45  # metres around the camera


@dataclass(frozen=True)
class Light:
    """Describe a point light, `strength` at one metre; no shadow falls from the object numbered `inside`."""

    position: Vector
    colour: Colour
    strength: float
    inside: int = -1


@dataclass(frozen=True)
class Placed:
    """Place an item, turned by `yaw` (rad, +z towards +x), as an object's `number`; 0 is the room's own."""

    item: Item
    yaw: float
    position: Vector
    number: int


class Room:
    """Furnish the room of a seed, so that the camera's view of its object stays open.

    The floor's centre is the origin. size: width (x), height (y), depth (z) in metres. eye: the camera; it
    looks along +z when yaw, pitch and roll (rad) are 0, to the right, up and tilted clockwise where they are
    positive. materials: of the six sides -x, +x, floor, ceiling, -z, +z. hero: number of the salient object.
    ambient: strength of the light from everywhere.
    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
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
        wall, floor = m.wall_material(rng), m.floor_material(rng)
        walls = [wall if rng.random() < 0.75 else m.wall_material(rng) for _ in range(4)]
        hero = _furnish(self)
        windows = _decorate(self)
        away = math.hypot(hero.position[0] - self.eye[0], hero.position[2] - self.eye[2])
        target = math.atan2(hero.item.height / 2 - self.eye[1], away)
        self.pitch = max(-0.6, min(0.06, target + rng.uniform(-0.1, 0.28)))
        self.materials = (walls[0], walls[1], floor, m.ceiling_material(rng), walls[2], walls[3])
        self.lights = _lights(self, windows)
        self.roll = rng.gauss(0, 0.025)
        self.hero = hero.number
        self.ambient = rng.uniform(0.18, 0.4)

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
            if placed := self.put(item, x, z, facing + self.rng.gauss(0, 0.6)):
                half = 0.8 * max(item.footprint)
                for side in (-half, 0.0, half):
                    dx = x + side * math.cos(facing) - self.eye[0]
                    dz = z - side * math.sin(facing) - self.eye[2]
                    shares = range(1, 12)
                    self._sight += [(self.eye[0] + dx * k / 12, self.eye[2] + dz * k / 12) for k in shares]
                return placed
        return None

    def wall_point(self, side: int, along: float) -> tuple[float, float]:
        """Find (x, z) on a wall: 0 is -z, 1 -x, 2 +z, 3 +x; items there face the room at side * 90 deg."""
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
            if placed := self.put(item, x, z, side * math.pi / 2):
                return placed
        return None

    def anywhere(self, item: Item) -> Placed | None:
        """Stand an item freely in view, more or less square to the walls."""
        for _ in range(8):
            x, z = self.in_view(0.5, 1.4, 6.0)
            turn = self.rng.gauss(0, 0.4) if self.rng.random() < 0.5 else 0.0
            if placed := self.put(item, x, z, self.rng.randrange(4) * math.pi / 2 + turn):
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


def _pick(rng: Random, often: dict[int, float]) -> int:
    return rng.choices(list(often), list(often.values()))[0]


def _furnish(room: Room) -> Placed:
    """Fill the room; returns the salient object."""
    rng = room.rng
    person = rng.random() < FIGURE_SHARE
    hero = room.in_front(figure(rng, True)) if person and rng.random() < 0.7 else None
    while hero is None:  # ends: small things, drawn often, fit before the camera of any room
        hero = room.in_front(_MAKERS[_pick(rng, _HERO_OFTEN)](rng, True))
    if person and hero.item.label != f.FIGURE:
        # In sight and not behind other things, because these are placed later and keep clear of it too.
        room.in_front(figure(rng, False), spread=0.42)
    stand: dict[int, int] = {}
    for _ in range(rng.randint(4, 10)):
        label = _pick(rng, _OFTEN)
        if stand.get(label, 0) >= (1 if label == f.BED else 3):
            continue
        item = _MAKERS[label](rng, rng.random() < 0.12)
        placed = room.at_wall(item) if label in (f.CABINET, f.BED) else room.anywhere(item)
        stand[label] = stand.get(label, 0) + (placed is not None)
    for below in list(room.placed):
        if below.item.label in (f.TABLE, f.CABINET, f.BED) or rng.random() < 0.25:
            _load(room, below)
    return hero


def _load(room: Room, below: Placed) -> None:
    """Put up to three small things on an item that can carry them."""
    if below.item.top is None:
        return
    rng, (height, reach_x, reach_z) = room.rng, below.item.top
    count = rng.choice((0, 1, 1)) if reach_x < 0.25 else rng.choice((0, 1, 2, 3))
    c, s = math.cos(below.yaw), math.sin(below.yaw)
    for slot in range(count):
        make = rng.choices((f.lamp, f.ball, f.carton), (1, 1, 2))[0]
        # Slots side by side, so that things on one table do not overlap.
        x = reach_x * ((2 * slot + 1) / count - 1)
        z = rng.uniform(-reach_z, reach_z) if reach_x > 0.25 else 0.0
        left, floor, front = below.position
        position = (left + c * x + s * z, floor + height, front - s * x + c * z)
        room.add(make(rng, small=True), rng.uniform(-3, 3), position)


def _decorate(room: Room) -> list[Placed]:
    """Door, windows, posters, skirting, rugs and a hanging lamp; returns the windows."""
    rng, (width, height, depth) = room.rng, room.size
    if rng.random() < 0.75:
        room.on_wall(door(rng))
    windows = [room.on_wall(window(rng, height)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    for _ in range(rng.choice((0, 0, 1, 2))):
        room.on_wall(poster(rng, height), background=True)
    if rng.random() < 0.5:
        board = m.furniture_material(rng)
        for side, length in enumerate((width, depth, width, depth)):
            x, z = room.wall_point(side, 0.0)
            room.add(skirting(length, board), side * math.pi / 2, (x, 0.0, z), background=True)
    for _ in range(rng.choice((0, 0, 1))):
        x, z = room.in_view(0.4, 1.2, 4.0)
        room.add(rug(rng), rng.randrange(4) * math.pi / 2 + rng.gauss(0, 0.2), (x, 0.0, z), background=True)
    if rng.random() < 0.5:
        x, z = room.in_view(0.4, 1.6, 4.0)
        if abs(x) < width / 2 - 0.4 and abs(z) < depth / 2 - 0.4:
            room.add(f.hanging_lamp(rng, height), 0.0, (x, 0.0, z))
    return [w for w in windows if w is not None]


def _lights(room: Room, windows: list[Placed]) -> list[Light]:
    """The ceiling's light (always), one window's, and that of one lamp that is on."""
    rng, (width, height, depth) = room.rng, room.size
    place = (rng.uniform(-0.3, 0.3) * width, height - rng.uniform(0.05, 0.3), rng.uniform(-0.3, 0.3) * depth)
    lights = [Light(place, (1.0, rng.uniform(0.85, 1.0), rng.uniform(0.65, 1.0)), rng.uniform(0.8, 2.0))]
    if windows:
        pane = rng.choice(windows)
        x, z = pane.position[0] + 0.3 * math.sin(pane.yaw), pane.position[2] + 0.3 * math.cos(pane.yaw)
        place = (x, pane.item.height * 0.85, z)
        lights.append(Light(place, (rng.uniform(0.7, 1), 0.9, 1.0), rng.uniform(0.5, 3.0)))
    lamps = [p for p in room.placed if p.item.light]
    if lamps:
        on = rng.choice(lamps)
        assert on.item.light is not None
        (_, y, _), tint = on.item.light
        bulb = (on.position[0], on.position[1] + y, on.position[2])
        lights.append(Light(bulb, tint, rng.uniform(0.4, 1.5), on.number))
    return lights
