"""A random furnished room: what stands where, the camera in it and the lights. Plain numbers, no tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from datasets.rendering import furniture as f
from datasets.rendering.figure import figure
from datasets.rendering.furniture import Item, Vector
from datasets.rendering.materials import (
    Colour,
    Material,
    ceiling_material,
    floor_material,
    furniture_material,
    wall_material,
)
from datasets.rendering.openings import door, poster, rug, skirting, window
from datasets.rendering.planner import Placed, Planner

FIGURE_SHARE = 0.36  # of the rooms have a figure
_MAKERS: dict[int, Callable[[Random, bool], Item]] = {
    f.TABLE: f.table, f.CHAIR: f.chair, f.CABINET: f.cabinet, f.BED: f.bed,
    f.LAMP: f.lamp, f.BALL: f.ball, f.CARTON: f.carton,
}  # fmt: skip
_OFTEN = {f.TABLE: 3, f.CHAIR: 5, f.CABINET: 3, f.BED: 2, f.LAMP: 2.5, f.BALL: 2, f.CARTON: 3}
_HERO_OFTEN = {f.TABLE: 2, f.CHAIR: 2, f.CABINET: 1.5, f.BED: 1, f.LAMP: 1, f.BALL: 2, f.CARTON: 2}


@dataclass(frozen=True)
class Light:
    """Describe a point light.

    The object numbered `inside` casts no shadow from it. strength: of its light at one metre.
    """

    position: Vector
    colour: Colour
    strength: float
    inside: int = -1


@dataclass(frozen=True)
class Room:
    """Describe a room; the floor's centre is the origin.

    size: width (x), height (y), depth (z) in metres. materials: of the six sides -x, +x, floor, ceiling, -z,
    +z. eye: the camera; it looks along +z when yaw, pitch and roll (rad) are 0, to the right, up and tilted
    clockwise where they are positive. hero: number of the salient object. ambient: strength of the light from
    everywhere.
    """

    size: Vector
    materials: tuple[Material, ...]
    placed: tuple[Placed, ...]
    lights: tuple[Light, ...]
    eye: Vector
    yaw: float
    pitch: float
    roll: float
    hero: int
    ambient: float


def make_room(seed: int) -> Room:
    """Furnish the room of a seed."""
    rng = Random(seed)
    plan = Planner(rng)
    wall, floor = wall_material(rng), floor_material(rng)
    walls = [wall if rng.random() < 0.75 else wall_material(rng) for _ in range(4)]
    hero = _furnish(plan)
    windows = _decorate(plan)
    target = hero.item.height / 2 - plan.eye[1]
    away = math.hypot(hero.position[0] - plan.eye[0], hero.position[2] - plan.eye[2])
    pitch = max(-0.6, min(0.06, math.atan2(target, away) + rng.uniform(-0.1, 0.28)))
    return Room(
        plan.size,
        (walls[0], walls[1], floor, ceiling_material(rng), walls[2], walls[3]),
        tuple(plan.placed),
        tuple(_lights(plan, windows)),
        plan.eye,
        plan.yaw,
        pitch,
        rng.gauss(0, 0.025),
        hero.number,
        rng.uniform(0.18, 0.4),
    )


def _pick(rng: Random, often: dict[int, float]) -> int:
    return rng.choices(list(often), list(often.values()))[0]


def _furnish(plan: Planner) -> Placed:
    """Fill the room; returns the salient object."""
    rng = plan.rng
    person = rng.random() < FIGURE_SHARE
    hero = plan.in_front(figure(rng, True)) if person and rng.random() < 0.7 else None
    while hero is None:  # ends: small things, drawn often, fit before the camera of any room
        hero = plan.in_front(_MAKERS[_pick(rng, _HERO_OFTEN)](rng, True))
    if person and hero.item.label != f.FIGURE:
        # In sight and not behind other things, because these are placed later and keep clear of it too.
        plan.in_front(figure(rng, False), spread=0.42)
    stand: dict[int, int] = {}
    for _ in range(rng.randint(4, 10)):
        label = _pick(rng, _OFTEN)
        if stand.get(label, 0) >= (1 if label == f.BED else 3):
            continue
        item = _MAKERS[label](rng, rng.random() < 0.12)
        placed = plan.at_wall(item) if label in (f.CABINET, f.BED) else plan.anywhere(item)
        stand[label] = stand.get(label, 0) + (placed is not None)
    for below in list(plan.placed):
        if below.item.label in (f.TABLE, f.CABINET, f.BED) or rng.random() < 0.25:
            _load(plan, below)
    return hero


def _load(plan: Planner, below: Placed) -> None:
    """Put up to three small things on an item that can carry them."""
    if below.item.top is None:
        return
    rng, (height, reach_x, reach_z) = plan.rng, below.item.top
    count = rng.choice((0, 1, 1)) if reach_x < 0.25 else rng.choice((0, 1, 2, 3))
    c, s = math.cos(below.yaw), math.sin(below.yaw)
    for slot in range(count):
        make = rng.choices((f.lamp, f.ball, f.carton), (1, 1, 2))[0]
        # Slots side by side, so that things on one table do not overlap.
        x = reach_x * ((2 * slot + 1) / count - 1)
        z = rng.uniform(-reach_z, reach_z) if reach_x > 0.25 else 0.0
        left, floor, front = below.position
        position = (left + c * x + s * z, floor + height, front - s * x + c * z)
        plan.add(make(rng, small=True), rng.uniform(-3, 3), position)


def _decorate(plan: Planner) -> list[Placed]:
    """Door, windows, posters, skirting, rugs and a hanging lamp; returns the windows."""
    rng, (width, height, depth) = plan.rng, plan.size
    if rng.random() < 0.75:
        plan.on_wall(door(rng))
    windows = [plan.on_wall(window(rng, height)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    for _ in range(rng.choice((0, 0, 1, 2))):
        plan.on_wall(poster(rng, height), background=True)
    if rng.random() < 0.5:
        board = furniture_material(rng)
        for side, length in enumerate((width, depth, width, depth)):
            x, z = plan.wall_point(side, 0.0)
            plan.add(skirting(length, board), side * math.pi / 2, (x, 0.0, z), background=True)
    for _ in range(rng.choice((0, 0, 1))):
        x, z = plan.in_view(0.4, 1.2, 4.0)
        plan.add(rug(rng), rng.randrange(4) * math.pi / 2 + rng.gauss(0, 0.2), (x, 0.0, z), background=True)
    if rng.random() < 0.5:
        x, z = plan.in_view(0.4, 1.6, 4.0)
        if abs(x) < width / 2 - 0.4 and abs(z) < depth / 2 - 0.4:
            plan.add(f.hanging_lamp(rng, height), 0.0, (x, 0.0, z))
    return [w for w in windows if w is not None]


def _lights(plan: Planner, windows: list[Placed]) -> list[Light]:
    """The ceiling's light (always), one window's, and that of one lamp that is on."""
    rng, (width, height, depth) = plan.rng, plan.size
    place = (rng.uniform(-0.3, 0.3) * width, height - rng.uniform(0.05, 0.3), rng.uniform(-0.3, 0.3) * depth)
    lights = [Light(place, (1.0, rng.uniform(0.85, 1.0), rng.uniform(0.65, 1.0)), rng.uniform(0.8, 2.0))]
    if windows:
        pane = rng.choice(windows)
        x, z = pane.position[0] + 0.3 * math.sin(pane.yaw), pane.position[2] + 0.3 * math.cos(pane.yaw)
        place = (x, pane.item.height * 0.85, z)
        lights.append(Light(place, (rng.uniform(0.7, 1), 0.9, 1.0), rng.uniform(0.5, 3.0)))
    lamps = [p for p in plan.placed if p.item.light]
    if lamps:
        on = rng.choice(lamps)
        assert on.item.light is not None
        (_, y, _), tint = on.item.light
        bulb = (on.position[0], on.position[1] + y, on.position[2])
        lights.append(Light(bulb, tint, rng.uniform(0.4, 1.5), on.number))
    return lights
