"""Figures, and what hangs on walls and lies on floors: doors, windows, posters, skirting and rugs.

Wall items have their back on the plane z = 0 and face +z, centred on x = 0; a rug lies on y = 0. A figure is
the articulated object, with head, torso, arms and legs, which the parts task labels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from datasets.rendering import furniture as f
from datasets.rendering.furniture import Item, Solid, Vector
from datasets.rendering.geometry import BOX, FRUSTUM
from datasets.rendering.materials import BLOTCHES, PLAIN, Material, colour, floor_material, furniture_material


def door(rng: Random) -> Item:
    """Build a door leaf with frame, panels and a knob; 0.75 to 1 m wide."""
    item, leaf = Item(f.DOOR, relief=2), furniture_material(rng)
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
    item, frame = Item(f.WINDOW, relief=2), furniture_material(rng)
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
    item, width, tall = Item(f.WALL, relief=2), rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.9)
    y = min(height - 0.2 - tall / 2, rng.uniform(1.2, 1.7))
    item.box((0, y, 0), (width + 0.06, tall + 0.06, 0.02), furniture_material(rng))
    item.box((0, y, 0), (width, tall, 0.026), furniture_material(rng))
    return item


def rug(rng: Random) -> Item:
    """Build a round or rectangular rug: an appearance of the floor."""
    item, material = Item(f.FLOOR), floor_material(rng) if rng.random() < 0.4 else furniture_material(rng)
    half: Vector = (rng.uniform(0.4, 1.0), 0.006, rng.uniform(0.5, 1.3))
    if rng.random() < 0.3:
        half = (half[0], half[1], half[0])
        item.solids.append(Solid(FRUSTUM, (0, half[1], 0), half, material, relief=1))
    else:
        item.solids.append(Solid(BOX, (0, half[1], 0), half, material, relief=1))
    return item


def skirting(length: float, material: Material) -> Item:
    """Build a strip along the foot of a wall of `length`."""
    item = Item(f.WALL, relief=2)
    item.box((0, 0.05, 0), (length, 0.1, 0.03), material)
    return item


def _joint(start: Vector, length: float, swing: float, spread: float) -> Vector:
    """The end of a limb that hangs from `start`, swung forwards and sideways by angles in rad."""
    x, y, z = math.sin(spread), math.cos(spread) * math.cos(swing), math.cos(spread) * math.sin(swing)
    return (start[0] + length * x, start[1] - length * y, start[2] + length * z)


def figure(rng: Random, vivid: bool) -> Item:
    """Build a person or a doll, 0.9 to 1.9 m tall, in a random pose."""
    item, tall = Item(f.FIGURE), rng.uniform(1.5, 1.9) if rng.random() < 0.7 else rng.uniform(0.9, 1.3)
    skin = replace(furniture_material(rng), pattern=PLAIN) if rng.random() < 0.75 else furniture_material(rng)
    shirt, trousers = furniture_material(rng, vivid), furniture_material(rng, vivid)
    hair = replace(furniture_material(rng), pattern=BLOTCHES, grain=0.4)
    stocky = rng.uniform(0.85, 1.25)
    hip, shoulder = 0.48 * tall, 0.81 * tall
    stride, knee = rng.gauss(0, 0.3), abs(rng.gauss(0, 0.3))
    for side in (-1, 1):
        start = (side * 0.055 * tall, hip, 0.0)
        mid = _joint(start, 0.24 * tall, side * stride, side * abs(rng.gauss(0.05, 0.06)))
        foot = _joint(mid, 0.24 * tall, side * stride - knee, side * 0.03)
        foot = (foot[0], 0.035 * tall, foot[2])
        item.limb(start, mid, 0.055 * tall * stocky, 0.75, trousers, f.LEG)
        item.limb(mid, foot, 0.042 * tall * stocky, 0.7, trousers, f.LEG)
        shoe = (foot[0], 0.02 * tall, foot[2] + 0.03 * tall)
        item.box(shoe, (0.055 * tall, 0.04 * tall, 0.14 * tall), hair, f.LEG)
        start = (side * 0.115 * tall * stocky, shoulder - 0.02 * tall, 0.0)
        raised = rng.random() < 0.25
        swing, spread = rng.gauss(-side * stride, 0.4), abs(rng.gauss(0.2, 0.25)) + (1.5 if raised else 0)
        elbow = _joint(start, 0.17 * tall, swing, side * spread)
        bend = swing + abs(rng.gauss(0.4, 0.4))
        hand = _joint(elbow, 0.16 * tall, bend, side * spread * rng.uniform(0.2, 1.2))
        item.limb(start, elbow, 0.034 * tall * stocky, 0.85, shirt, f.ARM)
        item.limb(elbow, hand, 0.029 * tall * stocky, 0.8, skin if rng.random() < 0.6 else shirt, f.ARM)
        item.ellipsoid(hand, (0.028 * tall, 0.035 * tall, 0.028 * tall), skin, f.ARM)
    torso = (0.095 * tall * stocky, (shoulder - hip) / 2 + 0.02 * tall, 0.065 * tall * stocky)
    middle = (0.0, (shoulder + hip) / 2, 0.0)
    item.solids.append(Solid(FRUSTUM, middle, torso, shirt, taper=rng.uniform(1.0, 1.35), part=f.TORSO))
    item.ellipsoid(
        (0, hip, 0), (0.105 * tall * stocky, 0.06 * tall, 0.075 * tall * stocky), trousers, f.TORSO
    )
    item.ellipsoid((0, 0.915 * tall, 0), (0.062 * tall, 0.08 * tall, 0.07 * tall), skin, f.HEAD)
    item.limb((0, shoulder, 0), (0, 0.88 * tall, 0), 0.03 * tall, 1.0, skin, f.HEAD)
    item.ellipsoid((0, 0.935 * tall, -0.012 * tall), (0.067 * tall, 0.072 * tall, 0.07 * tall), hair, f.HEAD)
    if rng.random() < 0.2:
        hat, half = furniture_material(rng, vivid), (0.075 * tall, 0.06 * tall, 0.075 * tall)
        taper = rng.uniform(0, 0.8)
        item.solids.append(Solid(FRUSTUM, (0, 1.03 * tall, 0), half, hat, taper=taper, part=f.HEAD))
    return item
