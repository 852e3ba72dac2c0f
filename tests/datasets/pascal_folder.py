"""Writes small PASCAL_MT folders in the published layout, with what they hold still at hand as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

PERSON, DOG = 15, 12
Part = tuple[str, np.ndarray]


@dataclass
class Thing:
    """An annotated object. parts: none is written as MATLAB's empty matrix."""

    name: str
    index: int
    mask: np.ndarray
    parts: list[Part] = field(default_factory=list)


@dataclass
class Content:
    image: np.ndarray
    context: np.ndarray  # LabelMap
    semseg: np.ndarray
    normals: np.ndarray  # (H, W, 3) uint8
    saliency: np.ndarray
    things: list[Thing]


def blocks(random: np.random.Generator, height: int, width: int, values: np.ndarray) -> np.ndarray:
    """A map of rectangles a few pixels wide."""
    coarse = random.choice(values, (height // 5 + 1, width // 5 + 1))
    return np.kron(coarse, np.ones((5, 5), coarse.dtype))[:height, :width]


def content(seed: int, height: int = 21, width: int = 28, people: int = 1) -> Content:
    """One image. Normals lie on some classes that count (floor, wall, a monitor) and some that do not."""
    random = np.random.default_rng(seed)

    def mask() -> np.ndarray:
        return (blocks(random, height, width, np.array([0, 0, 1]))).astype(np.uint8)

    normals = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    normals[:, ::7] = random.integers(127, 129, (height, len(range(0, width, 7)), 3))  # unknown
    names = ("hair", "torso", "luarm", "rhand", "luleg", "rfoot")
    things = [Thing("dog", DOG, mask(), [("muzzle", mask()), ("tail", mask())])]
    things += [Thing("person", PERSON, mask(), [(name, mask()) for name in names[i:]]) for i in range(people)]
    things.append(Thing("person", PERSON, mask()))
    return Content(
        image=random.integers(0, 256, (height, width, 3)).astype(np.uint8),
        context=blocks(random, height, width, np.array([158, 440, 427, 284, 187, 360, 2])).astype(np.uint16),
        semseg=blocks(random, height, width, np.array([*range(21), 255])).astype(np.uint8),
        normals=normals,
        saliency=random.integers(120, 136, (height, width)).astype(np.uint8),
        things=things,
    )


def struct(rows: list[dict[str, object]]) -> np.ndarray:
    """A 1xN MATLAB struct array with the fields in this order."""
    array = np.empty((1, len(rows)), [(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[name][0, i] = value
    return array


def anno(name: str, things: list[Thing]) -> np.ndarray:
    """The struct of VOC's part annotations: imname, objects(class, class_ind, mask, parts(part_name,
    mask)).
    """
    objects = []
    for thing in things:
        rows = [{"part_name": part, "mask": mask.astype(np.uint8)} for part, mask in thing.parts]
        parts = struct(rows) if rows else np.zeros((0, 0))
        objects.append(
            {"class": thing.name, "class_ind": float(thing.index), "mask": thing.mask, "parts": parts}
        )
    return struct([{"imname": name, "objects": struct(objects) if objects else np.zeros((0, 0))}])


def write_one(root: Path, name: str, content: Content, voc: bool = True) -> None:
    """The files of an image; its classes in the folder of VOC 2012, or in the one for images that are not
    there.
    """

    def path(*parts: str) -> Path:
        file = root.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    Image.fromarray(content.image).save(path("JPEGImages", f"{name}.jpg"), quality=95)
    savemat(
        path("pascal-context", "trainval", f"{name}.mat"), {"LabelMap": content.context}, do_compression=True
    )
    palette = Image.fromarray(content.semseg).convert("P")  # VOC's own files have a palette
    palette.putdata(content.semseg.ravel().tolist())
    palette.putpalette([(37 * i) % 256 for i in range(768)])
    palette.save(path("semseg", "VOC12" if voc else "pascal-context", f"{name}.png"))
    Image.fromarray(content.normals).save(path("normals_distill", f"{name}.png"))
    Image.fromarray(content.saliency).save(path("sal_distill", f"{name}.png"))
    savemat(path("human_parts", f"{name}.mat"), {"anno": anno(name, content.things)}, do_compression=True)


SIZES = {"2008_000002": (21, 28), "2008_000003": (30, 17), "2010_006086": (16, 16), "2009_000012": (19, 23)}


def write(root: Path) -> dict[str, Content]:
    """Three images to train on, one of them without a person, and one to test on; of four sizes."""
    made = {}
    for i, (name, size) in enumerate(SIZES.items()):
        made[name] = content(i, *size, people=(1, 0, 2, 1)[i])
        write_one(root, name, made[name], voc=i % 2 == 0)
    lists = root / "ImageSets" / "Context"
    lists.mkdir(parents=True)
    ids = list(SIZES)
    (lists / "train.txt").write_text("\n".join(ids[:3]) + "\n")
    (lists / "val.txt").write_text(ids[3] + "\n")
    return made
