"""Furniture and objects of random shape and material, each built of a few solids.

Every builder takes a random generator and returns an `Item` that stands on y = 0, centred on x = z = 0, its
front towards +z (its back to the wall, where it has one). Lengths in metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from random import Random

from datasets.rendering.geometry import BOX, ELLIPSOID, FRUSTUM
from datasets.rendering.materials import Colour, Material, furniture_material

CLASSES = (
    "wall", "floor", "ceiling", "window", "door", "table", "chair", "cabinet", "bed", "lamp", "ball", "box",
    "figure",
)  # fmt: skip
WALL, FLOOR, CEILING, WINDOW, DOOR, TABLE, CHAIR, CABINET, BED, LAMP, BALL, CARTON, FIGURE = range(13)
PARTS = ("background", "head", "torso", "arm", "leg")
NO_PART, HEAD, TORSO, ARM, LEG = range(len(PARTS))

Vector = tuple[float, float, float]
UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Solid:
    """Describe one solid of an item.

    axes: rows of the rotation matrix whose columns are the solid's own axes. relief: the own axis along which
    it lies flat on its neighbours, too thin for creases of its own; -1 for none.
    """

    kind: int
    centre: Vector
    half: Vector
    material: Material
    axes: tuple[Vector, Vector, Vector] = UPRIGHT
    taper: float = 1.0
    part: int = NO_PART
    relief: int = -1

    def reach(self, axis: int) -> float:
        """Half extent, along an axis of the item, of the box around the solid."""
        return sum(abs(a) * h for a, h in zip(self.axes[axis], self.half, strict=True))


@dataclass
class Item:
    """Collect the solids of one thing.

    label: class of all of its solids. top: (height, half width, half depth) of the face that can carry
    smaller things, if there is one. light: where a bulb is and its colour, if one is on. relief: of boxes and
    ellipsoids added from now on.
    """

    label: int
    solids: list[Solid] = field(default_factory=list)
    top: Vector | None = None
    light: tuple[Vector, Colour] | None = None
    relief: int = -1

    @property
    def footprint(self) -> tuple[float, float]:
        """Measure half extents along x and z, with those of its mirror images."""
        x, z = (max(abs(s.centre[k]) + s.reach(k) for s in self.solids) for k in (0, 2))
        return x, z

    @property
    def height(self) -> float:
        """Measure how far it reaches up."""
        return max(s.centre[1] + s.reach(1) for s in self.solids)

    def box(self, centre: Vector, size: Vector, material: Material, part: int = NO_PART) -> None:
        """Add a box with sides `size`."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.solids.append(Solid(BOX, centre, half, material, part=part, relief=self.relief))

    def ellipsoid(self, centre: Vector, half: Vector, material: Material, part: int = NO_PART) -> None:
        """Add an ellipsoid with half axes `half`."""
        self.solids.append(Solid(ELLIPSOID, centre, half, material, part=part, relief=self.relief))

    def post(
        self, x: float, z: float, low: float, high: float, radius: float, of: Material, taper: float = 1.0
    ) -> None:
        """Add an upright frustum from `low` to `high`; `radius` is the lower one."""
        half = (radius, (high - low) / 2, radius)
        self.solids.append(Solid(FRUSTUM, (x, (low + high) / 2, z), half, of, taper=taper))

    def limb(self, a: Vector, b: Vector, radius: float, taper: float, material: Material, part: int) -> None:
        """Add a frustum from a (radius `radius`) to b."""
        along = [q - p for p, q in zip(a, b, strict=True)]
        length = math.hypot(*along)
        x, y, z = (c / length for c in along)
        # Any two directions that complete the limb's to a right-handed frame.
        other = (0.0, 0.0, 1.0) if abs(z) < 0.9 else (1.0, 0.0, 0.0)
        u = (y * other[2] - z * other[1], z * other[0] - x * other[2], x * other[1] - y * other[0])
        norm = math.hypot(*u)
        u = (u[0] / norm, u[1] / norm, u[2] / norm)
        w = (u[1] * z - u[2] * y, u[2] * x - u[0] * z, u[0] * y - u[1] * x)
        axes = ((u[0], x, w[0]), (u[1], y, w[1]), (u[2], z, w[2]))
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2)
        self.solids.append(Solid(FRUSTUM, middle, (radius, length / 2, radius), material, axes, taper, part))

    def legs(self, rng: Random, width: float, depth: float, height: float, material: Material) -> None:
        """Add four square or round legs inside a width x depth outline."""
        thick, is_round = rng.uniform(0.025, 0.07), rng.random() < 0.5
        for sx in (-1, 1):
            for sz in (-1, 1):
                x, z = sx * (width - thick) / 2, sz * (depth - thick) / 2
                if is_round:
                    self.post(x, z, 0, height, thick / 2, material)
                else:
                    self.box((x, height / 2, z), (thick, height, thick), material)


def table(rng: Random, vivid: bool) -> Item:
    """Build a round, four-legged or panelled table; a low one is a coffee table."""
    item, top = Item(TABLE), furniture_material(rng, vivid)
    base = top if rng.random() < 0.5 else furniture_material(rng)
    height = rng.uniform(0.35, 0.5) if rng.random() < 0.3 else rng.uniform(0.65, 0.8)
    thick = rng.uniform(0.025, 0.07)
    if rng.random() < 0.35:
        radius = rng.uniform(0.35, 0.6)
        item.post(0, 0, height - thick, height, radius, top)
        item.post(0, 0, 0.03, height - thick, rng.uniform(0.05, 0.2), base, rng.uniform(0.3, 1))
        item.post(0, 0, 0, 0.03, radius * 0.6, base)
        item.top = (height, radius * 0.65, radius * 0.65)
        return item
    width, depth = rng.uniform(0.7, 1.6), rng.uniform(0.5, 0.85)
    item.box((0, height - thick / 2, 0), (width, thick, depth), top)
    if rng.random() < 0.7:
        item.legs(rng, width * 0.95, depth * 0.92, height - thick, base)
    else:
        for side in (-1, 1):
            centre = (side * (width / 2 - 0.03), (height - thick) / 2, 0)
            item.box(centre, (0.04, height - thick, depth * 0.9), base)
    item.top = (height, width * 0.42, depth * 0.38)
    return item


def chair(rng: Random, vivid: bool) -> Item:
    """Build a seat with a back, on legs or a pedestal, with or without arms."""
    item, main = Item(CHAIR), furniture_material(rng, vivid)
    frame = main if rng.random() < 0.4 else furniture_material(rng)
    width, depth, seat = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.5)
    thick, back = rng.uniform(0.03, 0.12), rng.uniform(0.35, 0.6)
    item.box((0, seat - thick / 2, 0), (width, thick, depth), main)
    rear = -depth / 2 + 0.03
    if rng.random() < 0.65:
        item.box((0, seat + back / 2, rear), (width, back, rng.uniform(0.03, 0.09)), main)
    else:
        for x in (-width / 2 + 0.02, width / 2 - 0.02):
            item.box((x, seat + back / 2, rear), (0.04, back, 0.04), frame)
        for share in (0.55, 0.9):
            item.box((0, seat + back * share, rear), (width, back * 0.18, 0.03), main)
    if rng.random() < 0.75:
        item.legs(rng, width, depth, seat - thick, frame)
    else:
        item.post(0, 0, 0.04, seat - thick, 0.035, frame)
        item.post(0, 0, 0, 0.05, width * 0.45, frame, 0.4)
    if rng.random() < 0.3:
        for x in (-width / 2, width / 2):
            item.box((x, seat + 0.1, 0), (0.05, 0.2, depth), frame)
    item.top = (seat, width * 0.3, depth * 0.25)
    return item


def cabinet(rng: Random, vivid: bool) -> Item:
    """Build a cupboard or chest with door panels and knobs, or an open shelf."""
    item, body = Item(CABINET), furniture_material(rng, vivid)
    width, depth = rng.uniform(0.5, 1.5), rng.uniform(0.32, 0.55)
    height = rng.uniform(0.5, 1.0) if rng.random() < 0.6 else rng.uniform(1.4, 2.1)
    if rng.random() < 0.65:
        front = body if rng.random() < 0.5 else furniture_material(rng)
        knob = furniture_material(rng)
        item.box((0, height / 2, 0), (width, height, depth), body)
        item.relief = 2
        columns, rows = max(1, round(width / 0.5)), rng.randint(1, 3)
        w, h = width / columns, (height - 0.08) / rows
        for column in range(columns):
            for row in range(rows):
                x, y = (column + 0.5) * w - width / 2, 0.06 + (row + 0.5) * h
                item.box((x, y, depth / 2), (w - 0.04, h - 0.04, 0.03), front)
                item.ellipsoid((x + w * 0.3, y, depth / 2 + 0.02), (0.02, 0.02, 0.02), knob)
    else:
        shelves, board = max(2, round(height / 0.38)), 0.035
        for x in (-1, 1):
            item.box((x * (width - board) / 2, height / 2, 0), (board, height, depth), body)
        item.box((0, height / 2, -depth / 2 + 0.01), (width - board, height, 0.02), furniture_material(rng))
        for shelf in range(shelves + 1):
            y = board / 2 + shelf * (height - board) / shelves
            item.box((0, y, 0), (width - 2 * board, board, depth), body)
            if shelf < shelves and rng.random() < 0.7:  # a row of books
                w = rng.uniform(0.2, 0.8) * (width - 0.1)
                h = (height / shelves - board) * rng.uniform(0.4, 0.85)
                x = rng.uniform(-1, 1) * (width - 0.1 - w) / 2
                item.box((x, y + (board + h) / 2, -0.03), (w, h, depth * 0.6), furniture_material(rng))
    item.top = (height, width * 0.42, depth * 0.3)
    return item


def bed(rng: Random, vivid: bool) -> Item:
    """Build a bed, head to the wall."""
    item, frame, sheet = Item(BED), furniture_material(rng), furniture_material(rng, vivid)
    width, length, height = rng.uniform(0.9, 1.7), rng.uniform(1.85, 2.1), rng.uniform(0.35, 0.55)
    item.box((0, height * 0.35, 0), (width, height * 0.5, length), frame)
    item.box((0, height * 0.8, 0.02), (width * 0.88, height * 0.4, length * 0.94), sheet)
    item.box((0, height, -length / 2), (width, rng.uniform(0.8, 1.2) * height, 0.06), frame)
    if rng.random() < 0.7:
        cover, blanket = rng.uniform(0.4, 0.65) * length, furniture_material(rng, vivid)
        middle = (0, height * 0.82, (length - cover) / 2 - 0.01)
        item.box(middle, (width * 0.9, height * 0.46, cover), blanket)
    pillow = furniture_material(rng)
    for x in (-width / 4, width / 4) if width > 1.3 else (0.0,):
        item.ellipsoid((x, height * 1.03, -length / 2 + 0.28), (min(0.32, width * 0.22), 0.1, 0.2), pillow)
    item.top = (height * 1.05, width * 0.3, length * 0.2)
    return item


def _shade(rng: Random, lit: bool) -> Material:
    return replace(furniture_material(rng), glow=0.75 if lit else 0.0)


def lamp(rng: Random, vivid: bool = False, small: bool = False) -> Item:
    """Build a floor lamp, or a small one for a table."""
    item, metal, lit = Item(LAMP), furniture_material(rng, vivid), rng.random() < 0.6
    height = rng.uniform(0.35, 0.6) if small else rng.uniform(1.2, 1.75)
    radius = rng.uniform(0.1, 0.16) if small else rng.uniform(0.14, 0.26)
    item.post(0, 0, 0, 0.03, radius * rng.uniform(0.6, 1), metal, rng.uniform(0.5, 1))
    item.post(0, 0, 0.03, height - radius, 0.012 if small else 0.02, metal)
    if rng.random() < 0.7:
        low = height - rng.uniform(1, 1.6) * radius
        item.post(0, 0, low, height, radius, _shade(rng, lit), rng.uniform(0.3, 0.95))
    else:
        half = (radius * 0.8, radius * 0.8, radius * 0.8)
        item.ellipsoid((0, height - radius * 0.7, 0), half, _shade(rng, lit))
    if lit:
        item.light = ((0, height - radius * 0.7, 0), (1.0, 0.8, 0.55))
    return item


def hanging_lamp(rng: Random, height: float) -> Item:
    """Build a lamp that hangs from a ceiling at `height`."""
    item, radius, low = Item(LAMP), rng.uniform(0.12, 0.28), height - rng.uniform(0.35, 0.75)
    item.post(0, 0, low, height, 0.012, furniture_material(rng))
    if rng.random() < 0.6:
        item.post(0, 0, low, low + radius, radius, _shade(rng, True), rng.uniform(0.05, 0.8))
    else:
        item.ellipsoid((0, low, 0), (radius, radius * rng.uniform(0.6, 1), radius), _shade(rng, True))
    item.light = ((0, low, 0), (1.0, 0.92, 0.8))
    return item


def ball(rng: Random, vivid: bool = False, small: bool = False) -> Item:
    """Build a ball for the floor, or a small one for a table."""
    radius = rng.uniform(0.07, 0.13) if small else rng.uniform(0.14, 0.36)
    item = Item(BALL)
    item.ellipsoid((0, radius, 0), (radius, radius, radius), furniture_material(rng, vivid))
    return item


def carton(rng: Random, vivid: bool = False, small: bool = False) -> Item:
    """Build a box, perhaps with a lid or another on top, or a small one."""
    item, base, scale = Item(CARTON), 0.0, 0.45 if small else 1.0
    width, depth = rng.uniform(0.25, 0.6) * scale, rng.uniform(0.25, 0.5) * scale
    for _ in range(1 if small or rng.random() < 0.7 else 2):
        height, material = rng.uniform(0.2, 0.5) * scale, furniture_material(rng, vivid)
        item.box((0, base + height / 2, 0), (width, height, depth), material)
        if rng.random() < 0.5:
            lid = furniture_material(rng, vivid)
            item.box((0, base + height * 0.9, 0), (width * 1.06, height * 0.22, depth * 1.06), lid)
        base += height * 1.01
        width, depth = width * 0.75, depth * 0.75
    item.top = None if small or base > 0.6 else (base, width * 0.3, depth * 0.3)
    return item
