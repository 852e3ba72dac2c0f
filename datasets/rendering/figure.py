"""The articulated object: a figure with head, torso, arms and legs, which the parts task labels."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from datasets.rendering.furniture import ARM, FIGURE, HEAD, LEG, TORSO, Item, Solid, Vector
from datasets.rendering.geometry import FRUSTUM
from datasets.rendering.materials import BLOTCHES, PLAIN, furniture_material


def _joint(start: Vector, length: float, swing: float, spread: float) -> Vector:
    """The end of a limb that hangs from `start`, swung forwards and sideways by angles in rad."""
    x, y, z = math.sin(spread), math.cos(spread) * math.cos(swing), math.cos(spread) * math.sin(swing)
    return (start[0] + length * x, start[1] - length * y, start[2] + length * z)


def figure(rng: Random, vivid: bool) -> Item:
    """Build a person or a doll, 0.9 to 1.9 m tall, in a random pose."""
    item, tall = Item(FIGURE), rng.uniform(1.5, 1.9) if rng.random() < 0.7 else rng.uniform(0.9, 1.3)
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
        item.limb(start, mid, 0.055 * tall * stocky, 0.75, trousers, LEG)
        item.limb(mid, foot, 0.042 * tall * stocky, 0.7, trousers, LEG)
        shoe = (foot[0], 0.02 * tall, foot[2] + 0.03 * tall)
        item.box(shoe, (0.055 * tall, 0.04 * tall, 0.14 * tall), hair, LEG)
        start = (side * 0.115 * tall * stocky, shoulder - 0.02 * tall, 0.0)
        raised = rng.random() < 0.25
        swing, spread = rng.gauss(-side * stride, 0.4), abs(rng.gauss(0.2, 0.25)) + (1.5 if raised else 0)
        elbow = _joint(start, 0.17 * tall, swing, side * spread)
        bend = swing + abs(rng.gauss(0.4, 0.4))
        hand = _joint(elbow, 0.16 * tall, bend, side * spread * rng.uniform(0.2, 1.2))
        item.limb(start, elbow, 0.034 * tall * stocky, 0.85, shirt, ARM)
        item.limb(elbow, hand, 0.029 * tall * stocky, 0.8, skin if rng.random() < 0.6 else shirt, ARM)
        item.ellipsoid(hand, (0.028 * tall, 0.035 * tall, 0.028 * tall), skin, ARM)
    torso = (0.095 * tall * stocky, (shoulder - hip) / 2 + 0.02 * tall, 0.065 * tall * stocky)
    middle = (0.0, (shoulder + hip) / 2, 0.0)
    item.solids.append(Solid(FRUSTUM, middle, torso, shirt, taper=rng.uniform(1.0, 1.35), part=TORSO))
    item.ellipsoid((0, hip, 0), (0.105 * tall * stocky, 0.06 * tall, 0.075 * tall * stocky), trousers, TORSO)
    item.ellipsoid((0, 0.915 * tall, 0), (0.062 * tall, 0.08 * tall, 0.07 * tall), skin, HEAD)
    item.limb((0, shoulder, 0), (0, 0.88 * tall, 0), 0.03 * tall, 1.0, skin, HEAD)
    item.ellipsoid((0, 0.935 * tall, -0.012 * tall), (0.067 * tall, 0.072 * tall, 0.07 * tall), hair, HEAD)
    if rng.random() < 0.2:
        hat, half = furniture_material(rng, vivid), (0.075 * tall, 0.06 * tall, 0.075 * tall)
        taper = rng.uniform(0, 0.8)
        item.solids.append(Solid(FRUSTUM, (0, 1.03 * tall, 0), half, hat, taper=taper, part=HEAD))
    return item
