"""What hangs on walls and lies on floors: doors, windows, posters, skirting and rugs.

Wall items have their back on the plane z = 0 and face +z, centred on x = 0; a rug lies on y = 0.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from datasets.rendering.furniture import DOOR, FLOOR, WALL, WINDOW, Item, Solid, Vector
from datasets.rendering.geometry import BOX, FRUSTUM
from datasets.rendering.materials import BLOTCHES, Material, colour, floor_material, furniture_material


def door(rng: Random) -> Item:
    """Build a door leaf with frame, panels and a knob; 0.75 to 1 m wide."""
    item, leaf = Item(DOOR, relief=2), furniture_material(rng)
    frame = leaf if rng.random() < 0.4 else furniture_material(rng)
    width, height = rng.uniform(0.75, 1.0), rng.uniform(1.9, 2.1)
    item.box((0, height / 2, 0), (width, height, 0.04), leaf)
    for side in (-1, 1):
        item.box((side * (width / 2 + 0.03), height / 2 + 0.03, 0), (0.07, height + 0.06, 0.1), frame)
    item.box((0, height + 0.035, 0), (width, 0.07, 0.1), frame)
    panels, inset = rng.choice((0, 0, 2, 3)), furniture_material(rng)
    for row in range(panels):
        step = height / panels
        item.box((0, (row + 0.5) * step, 0.01), (width * 0.65, step * 0.7, 0.05), inset)
    knob = (rng.choice((-1, 1)) * width * 0.4, height * 0.48, 0.05)
    item.ellipsoid(knob, (0.035, 0.03, 0.04), furniture_material(rng))
    return item


def window(rng: Random, height: float) -> Item:
    """Build a window with frame and bars, by day, at dusk or with a blind."""
    width, sill = rng.uniform(0.6, 1.8), rng.uniform(0.5, 1.1)
    top = min(height - 0.15, sill + rng.uniform(0.8, 1.5))
    middle, tall = (sill + top) / 2, top - sill
    item, frame = Item(WINDOW, relief=2), furniture_material(rng)
    near, far = colour(rng, rng.uniform(0.1, 0.7), (0.2, 0.9)), colour(rng, rng.uniform(0, 0.4), (0.5, 1.0))
    scale, phase, glow = rng.uniform(1.2, 3), rng.uniform(0, 16), rng.choice((0.3, 0.8, 0.95))
    pane = Material(far, near, BLOTCHES, scale, 0, 1, phase, 0.1, 0, glow)
    if rng.random() < 0.2:
        pane = replace(furniture_material(rng), glow=0.2)
    item.box((0, middle, 0), (width, tall, 0.02), pane)
    bars = rng.randint(0, 2)
    for bar in range(bars + 2):
        item.box((width * (bar / (bars + 1) - 0.5), middle, 0), (0.05, tall + 0.05, 0.09), frame)
    for y in (sill, top, middle) if rng.random() < 0.4 else (sill, top):
        item.box((0, y, 0), (width + 0.05, 0.05, 0.09), frame)
    return item


def poster(rng: Random, height: float) -> Item:
    """Build a flat picture: an appearance of the wall, no object."""
    item, width, tall = Item(WALL, relief=2), rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.9)
    y = min(height - 0.2 - tall / 2, rng.uniform(1.2, 1.7))
    item.box((0, y, 0), (width + 0.06, tall + 0.06, 0.02), furniture_material(rng))
    item.box((0, y, 0), (width, tall, 0.026), furniture_material(rng))
    return item


def rug(rng: Random) -> Item:
    """Build a round or rectangular rug: an appearance of the floor."""
    item, material = Item(FLOOR), floor_material(rng) if rng.random() < 0.4 else furniture_material(rng)
    half: Vector = (rng.uniform(0.4, 1.0), 0.006, rng.uniform(0.5, 1.3))
    if rng.random() < 0.3:
        half = (half[0], half[1], half[0])
        item.solids.append(Solid(FRUSTUM, (0, half[1], 0), half, material, relief=1))
    else:
        item.solids.append(Solid(BOX, (0, half[1], 0), half, material, relief=1))
    return item


def skirting(length: float, material: Material) -> Item:
    """Build a strip along the foot of a wall of `length`."""
    item = Item(WALL, relief=2)
    item.box((0, 0.05, 0), (length, 0.1, 0.03), material)
    return item
