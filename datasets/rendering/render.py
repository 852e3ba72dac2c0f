"""One picture of one room, with its labels: rays, light, the camera that makes bytes of it, exact maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from datasets.rendering.furniture import CEILING, CLASSES, FIGURE, FLOOR, UPRIGHT, WALL
from datasets.rendering.geometry import FACES, ROOM, Solids, Surface, cast, surface, unit
from datasets.rendering.materials import Material, albedo, table
from datasets.rendering.room import Light, Room
from datasets.tasks import IGNORE

FOCAL = 0.8  # focal length over the image's longer side: 64 degrees across
CREASE = 0.9  # cosine between normals below which two faces of one object meet in an edge (26 degrees)
STEP = 0.04  # metres out of a face's plane from which a jump within one object is an edge
_RAYS_AT_ONCE = 1 << 16  # bounds the memory of large images
_LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)


def render(seed: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Render the room of `seed` at `size` = (H, W).

    {"image": (3, H, W) uint8, and each task's map (C, H, W)}. A pure function: the same room at every size,
    computed in float64 and then quantised.
    """
    room = Room(seed)
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
    own = _float([((0.0, height / 2, 0.0), *UPRIGHT)] + [(solid.centre, *solid.axes) for _, solid in items])
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


def _float(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def camera(room: Room) -> tuple[Tensor, Tensor]:
    """Compute the eye (3,) and, as columns (3, 3), the camera's right, down and forward in the world."""
    cy, sy, cp, sp = math.cos(room.yaw), math.sin(room.yaw), math.cos(room.pitch), math.sin(room.pitch)
    right, down, forward = (cy, 0.0, -sy), (sy * sp, -cp, cy * sp), (sy * cp, sp, cy * cp)
    cr, sr = math.cos(room.roll), math.sin(room.roll)
    tilted_right = tuple(r * cr + d * sr for r, d in zip(right, down, strict=True))
    tilted_down = tuple(d * cr - r * sr for r, d in zip(right, down, strict=True))
    return _float(list(room.eye)), _float([tilted_right, tilted_down, forward]).T


def camera_rays(size: tuple[int, int]) -> Tensor:
    """Compute rays (3, H * W) through pixel centres: x right, y down, z forward and 1, so t is depth."""
    height, width = size
    focal = FOCAL * max(size)
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2) / focal
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / focal
    v, u = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((u, v, torch.ones_like(u))).flatten(1)


def radiance(scene: Scene, hit: Surface, directions: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the linear light (3, N) that comes back along rays (3, N), 1 long on the optical axis."""
    number = scene.material[hit.solid, hit.face]
    view = -unit(directions)
    slant = (view * hit.normal).sum(0).clamp_min(0.15)
    footprint = hit.t / (FOCAL * max(size)) / slant
    base = albedo(scene.materials, number, hit.own, hit.uv, footprint)
    gloss, glow = scene.materials[number, 12], scene.materials[number, 13]
    light = _ambient(scene, hit).expand(3, -1)
    shine = torch.zeros_like(light)
    for source in scene.room.lights:
        incoming, towards = _direct(scene, hit, source)
        light = light + incoming
        half = unit(towards + view)
        shine = shine + incoming * (half * hit.normal).sum(0).clamp_min(0) ** 40
    return base * (light * (1 - glow) + 1.2 * glow) + gloss * shine


def _ambient(scene: Scene, hit: Surface) -> Tensor:
    """(N,) light from everywhere, less of it in the room's corners."""
    sides = torch.tensor(scene.room.size, dtype=torch.float64)[:, None]
    low = torch.tensor([-0.5, 0.0, -0.5], dtype=torch.float64)[:, None] * sides
    gap = torch.minimum(hit.point - low, low + sides - hit.point).clamp_min(0)
    closed = 1 - 0.4 * torch.exp(-gap / 0.3) * (hit.normal.abs() < 0.7)
    return scene.room.ambient * closed.prod(0)


def _direct(scene: Scene, hit: Surface, source: Light) -> tuple[Tensor, Tensor]:
    """(3, N) light that arrives from a source, shadows cast, and (3, N) the unit direction to it."""
    place = torch.tensor(source.position, dtype=torch.float64)
    ray = hit.point - place[:, None]
    squared = (ray * ray).sum(0)
    towards = -ray / squared.sqrt()
    cosine = (towards * hit.normal).sum(0).clamp_min(0)
    lit = cosine.nonzero()[:, 0]
    solids = scene.solids
    # What belongs to the room (number 0: rugs, posters, skirting) is too flat for a shadow.
    opaque = (scene.number != 0) & (scene.number != source.inside)
    first, _ = cast(solids, place, ray[:, lit], opaque)
    # The ray of a lit point ends on that point's own surface, at t = 1.
    arrives = torch.zeros_like(squared).index_put((lit,), (first > 1 - 1e-4).to(squared))
    power = source.strength * 1.3 / (0.3 + squared) * cosine * arrives
    return torch.tensor(source.colour, dtype=torch.float64)[:, None] * power, towards


def develop(light: Tensor, generator: torch.Generator) -> Tensor:
    """Turn linear light (3, H, W) into a uint8 image: exposure, balance, blur, vignette, gamma, noise."""
    draw = torch.rand(6, generator=generator, dtype=torch.float64)
    brightness = (light * _LUMINANCE[:, None, None]).sum(0)
    target = 0.16 + 0.16 * float(draw[0])
    light = light * (1 + 0.16 * (draw[1:4, None, None] - 0.5))
    # Film-like: the median of the image comes out at `target`, and highlights roll off instead of clipping.
    image = 1 - torch.exp(light * (math.log(1 - target) / float(brightness.median().clamp_min(1e-6))))
    image = _blur(image).clamp(0, 1) ** (1 / 2.2)
    height, width = image.shape[1:]
    y, x = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in (height, width))
    image = image * (1 - (0.05 + 0.15 * draw[4]) * (y[:, None] ** 2 + x**2) / 2)
    noise = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    image = image + noise * (0.006 + 0.024 * draw[5]) * (1.3 - 0.6 * image)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _blur(image: Tensor) -> Tensor:
    """Blur by one pixel, (1, 6, 1) / 8 along rows and columns: the lens, instead of jagged edges."""
    padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    rows = 0.125 * (padded[:, :-2] + padded[:, 2:]) + 0.75 * padded[:, 1:-1]
    return 0.125 * (rows[:, :, :-2] + rows[:, :, 2:]) + 0.75 * rows[:, :, 1:-1]


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
