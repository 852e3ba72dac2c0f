"""A small PASCAL_MT folder in the published layout, and what it holds by slow references."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

PERSON, DOG = 15, 12
SIZES = {"2008_000002": (21, 28), "2008_000003": (30, 17), "2010_006086": (16, 16), "2009_000012": (19, 23)}
PARTS = {
    1: "hair head lear rear leye reye lebrow rebrow mouth nose", 2: "neck torso", 3: "luarm ruarm",
    4: "llarm rlarm lhand rhand", 5: "luleg ruleg", 6: "llleg rlleg lfoot rfoot",
}  # fmt: skip
GROUPS = {name: number for number, names in PARTS.items() for name in names.split()}


@dataclass
class Thing:
    """An annotated object. parts: none is written as MATLAB's empty matrix."""

    name: str
    index: int
    mask: np.ndarray
    parts: list[tuple[str, np.ndarray]] = field(default_factory=list)


@dataclass
class Content:
    """One image's arrays as stored; normals (H, W, 3) uint8."""

    image: np.ndarray
    context: np.ndarray
    semseg: np.ndarray
    normals: np.ndarray
    saliency: np.ndarray
    things: list[Thing]


def blocks(random: np.random.Generator, height: int, width: int, values: np.ndarray) -> np.ndarray:
    """A map of rectangles a few pixels wide."""
    coarse = random.choice(values, (height // 5 + 1, width // 5 + 1))
    return np.kron(coarse, np.ones((5, 5), coarse.dtype))[:height, :width]


def content(number: int) -> Content:
    """Image `number`; its normals lie on classes that count (floor, wall, a monitor) and some that do not."""
    random, (height, width) = np.random.default_rng(number), list(SIZES.values())[number]

    def mask() -> np.ndarray:
        return blocks(random, height, width, np.array([0, 0, 1])).astype(np.uint8)

    normals = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    normals[:, ::7] = random.integers(127, 129, (height, len(range(0, width, 7)), 3))  # unknown
    names = ("hair", "torso", "luarm", "rhand", "luleg", "rfoot")
    things = [Thing("dog", DOG, mask(), [("muzzle", mask()), ("tail", mask())])]
    for i in range((1, 0, 2, 1)[number]):
        things.append(Thing("person", PERSON, mask(), [(name, mask()) for name in names[i:]]))
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
    """A 1xN MATLAB struct array with the fields in this order; an empty matrix for no rows."""
    if not rows:
        return np.zeros((0, 0))
    array = np.empty((1, len(rows)), [(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[name][0, i] = value
    return array


def anno(name: str, things: list[Thing]) -> np.ndarray:
    """VOC's part annotations: imname, objects(class, class_ind, mask, parts(part_name, mask))."""
    objects = []
    for thing in things:
        parts = struct([{"part_name": part, "mask": mask.astype(np.uint8)} for part, mask in thing.parts])
        index = float(thing.index)
        objects.append({"class": thing.name, "class_ind": index, "mask": thing.mask, "parts": parts})
    return struct([{"imname": name, "objects": struct(objects)}])


def write(root: Path) -> None:
    """Three images to train on, one of them without a person, and one to test on; of four sizes."""
    folders = "JPEGImages pascal-context/trainval semseg/VOC12 semseg/pascal-context normals_distill"
    for name in (*folders.split(), "sal_distill", "human_parts", "ImageSets/Context"):
        (root / name).mkdir(parents=True)
    for i, name in enumerate(SIZES):
        made = content(i)
        Image.fromarray(made.image).save(root / f"JPEGImages/{name}.jpg", quality=95)
        context = root / f"pascal-context/trainval/{name}.mat"
        savemat(context, {"LabelMap": made.context}, do_compression=True)
        palette = Image.fromarray(made.semseg).convert("P")  # VOC's own files have a palette
        palette.putdata(made.semseg.ravel().tolist())
        palette.putpalette([(37 * i) % 256 for i in range(768)])
        palette.save(root / "semseg" / ("pascal-context" if i % 2 else "VOC12") / f"{name}.png")
        Image.fromarray(made.normals).save(root / f"normals_distill/{name}.png")
        Image.fromarray(made.saliency).save(root / f"sal_distill/{name}.png")
        savemat(root / f"human_parts/{name}.mat", {"anno": anno(name, made.things)}, do_compression=True)
    ids = list(SIZES)
    (root / "ImageSets/Context/train.txt").write_text("\n".join(ids[:3]) + "\n")
    (root / "ImageSets/Context/val.txt").write_text(ids[3] + "\n")


def expected(folder: Path, split: str, i: int) -> dict[str, np.ndarray]:
    """Sample i of a split, pixel by pixel."""
    number = i if split == "train" else 3
    made, name = content(number), list(SIZES)[number]
    found = {
        "image": np.asarray(Image.open(folder / "JPEGImages" / f"{name}.jpg")),
        "semseg": made.semseg,
        "saliency": (made.saliency / 255 > 0.5).astype(np.uint8),
        "normals": slow_normals(made, {158, 440, 427, 284}),
        "edge": slow_edges(made.context),
    }
    parts = slow_parts(made)
    return found if parts is None else found | {"parts": parts}


def slow_parts(made: Content) -> np.ndarray | None:
    people = [thing for thing in made.things if thing.name == "person" and thing.parts]
    target = np.zeros(made.semseg.shape, int)
    for name, mask in itertools.chain(*(person.parts for person in people)):
        target[mask != 0] = GROUPS[name]
    return target if people else None


def slow_normals(made: Content, kept: set[int]) -> np.ndarray:
    result = np.zeros(made.normals.shape)
    for row, column in np.ndindex(result.shape[:2]):
        vector = [2 * int(x) / 255 - 1 for x in made.normals[row, column]]
        unknown = all(abs(x) <= 1 / 255 + 1e-12 for x in vector)
        if int(made.context[row, column]) in kept and not unknown:
            result[row, column] = np.array(vector) / sum(x * x for x in vector) ** 0.5
    return result


def slow_edges(context: np.ndarray) -> np.ndarray:
    """Where a pixel's class times 4 is not its neighbours' sum, mirrored at the border; thinned."""
    height, width = context.shape
    found = np.zeros(context.shape, bool)
    for row, column in np.ndindex(height, width):
        around = 0
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            y, x = abs(row + down), abs(column + right)
            y, x = min(y, 2 * (height - 1) - y), min(x, 2 * (width - 1) - x)
            around += int(context[y, x])
        found[row, column] = around != 4 * int(context[row, column])
    return slow_thin(found)


def slow_thin(lines: np.ndarray) -> np.ndarray:
    """Guo and Hall's parallel thinning with two sub-iterations (CACM 1989)."""
    lines, before = lines.copy(), None
    steps = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
    while before is None or (lines != before).any():
        before = lines.copy()
        for half in (0, 4):
            padded, drop = np.pad(lines, 1), []
            for row, column in zip(*np.nonzero(lines), strict=True):
                x = [bool(padded[row + 1 + down, column + 1 + right]) for down, right in steps]
                crossings = sum(not x[2 * i] and (x[2 * i + 1] or x[(2 * i + 2) % 8]) for i in range(4))
                first = sum(x[2 * i] or x[2 * i + 1] for i in range(4))
                second = sum(x[2 * i + 1] or x[(2 * i + 2) % 8] for i in range(4))
                y = x[half:] + x[:half]
                blocked = (y[1] or y[2] or not y[7]) and y[0]
                if crossings == 1 and 2 <= min(first, second) <= 3 and not blocked:
                    drop.append((row, column))
            for place in drop:
                lines[place] = False
    return lines
