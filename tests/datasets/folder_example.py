"""A folder of one's own data with partial labels of all kinds, small and made up; and what is in it."""

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 56
TRAIN, TEST = 8, 4
TOML = """
name = "kitchens"
images = "images"
[splits]
train = "train.txt"
test = "test.txt"
[size]
height = 40
width = 56
[tasks.semseg]
kind = "classes"
folder = "labels"
classes = ["floor", "wall", "thing"]
[tasks.material]
kind = "classes"
folder = "material"
classes = ["wood", "stone"]
ignore = 0
[tasks.depth]
kind = "depth"
folder = "depth"
unit = 0.001
[tasks.normals]
kind = "normals"
folder = "normals"
[tasks.edge]
kind = "edge"
folder = "edges"
[tasks.saliency]
kind = "saliency"
folder = "saliency"
"""
TASKS = ("semseg", "material", "depth", "normals", "edge", "saliency")
Arrays = dict[str, np.ndarray]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)


def has(task: str, number: int) -> bool:
    """Whether image `number` has a label of a task; image 5 has none at all."""
    every = ((2, 1), (3, 2), (2, 0), (3, 0), (4, 2), (1, 0))
    step, offset = every[TASKS.index(task)]
    return number != 5 and (number % step == offset or number >= TRAIN + 2)


def arrays(number: int) -> Arrays:
    """One sample as `Sample` holds it: blocks of three classes, one of which stands out, a tenth unknown."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 3, (HEIGHT // 8, WIDTH // 8))
    classes = coarse.repeat(8, 0).repeat(8, 1)
    unknown = random.random((HEIGHT, WIDTH)) < 0.1
    image = np.stack([80 * classes, 40 * classes + 60, 200 - 90 * classes], -1)
    image = image + random.integers(0, 20, (HEIGHT, WIDTH, 3))
    vectors = np.stack([0.3 * classes - 0.3, 0.2 + 0 * classes, -1 + 0 * classes], -1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    edge = np.zeros((HEIGHT, WIDTH), np.uint8)
    edge[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    return {
        "image": image.clip(0, 255).astype(np.uint8),
        "semseg": np.where(unknown, 255, classes).astype(np.uint8),
        "material": np.where(unknown, 255, classes // 2).astype(np.uint8),
        "depth": np.where(unknown, 0, 1.5 + classes + np.round(random.random((HEIGHT, WIDTH)), 3)),
        "normals": np.where(unknown[..., None], 0, vectors).astype(np.float32),
        "edge": edge,
        "saliency": (classes == 2).astype(np.uint8),
    }


def stem(number: int) -> str:
    return f"img {number:02d}"


def write(folder: Path, toml: str = TOML) -> Path:
    """The folder; images are .png, .webp without loss, labels as they are stored by those who make them."""
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.toml").write_text(toml)
    for split, numbers in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        (folder / f"{split}.txt").write_text("".join(f"{stem(i)}\n" for i in numbers))
    for i in range(TRAIN + TEST):
        made, name = arrays(i), stem(i)
        if i % 2:
            save(folder / "images" / f"{name}.PNG", made["image"])
        else:
            Image.fromarray(made["image"]).save(folder / "images" / f"{name}.webp", lossless=True)
        numbered = np.where(made["material"] == 255, 0, made["material"] + 1).astype(np.uint8)
        millimetres = np.round(made["depth"] * 1000).astype(np.uint16)
        colours = np.round((made["normals"] + 1) / 2 * 255).astype(np.uint8)
        stored = {
            "semseg": ("labels", made["semseg"]),
            "material": ("material", numbered),  # from 1, 0 unknown
            "depth": ("depth", millimetres if i % 4 else made["depth"].astype(np.float32)),
            "normals": ("normals", made["normals"] if i % 2 else colours),
            "edge": ("edges", made["edge"] * np.uint8(255)),
            "saliency": ("saliency", made["saliency"]),  # of 0 and 1
        }
        for task, (where, values) in stored.items():
            if has(task, i):
                ending = ".npy" if values.dtype == np.float32 else ".png"
                save(folder / where / f"{name}{ending}", values)
    return folder


def write_untold(folder: Path) -> Path:
    """The folder without its dataset.toml."""
    (write(folder) / "dataset.toml").unlink()
    return folder


def taught(folder: Path) -> Path:
    """With a teacher's maps of depth for train images 0 to 5, and what is none for test images."""
    own = write(folder, TOML.replace('folder = "depth"', 'folder = "depth"\nteacher = "guesses"'))
    (own / "guesses").mkdir()
    for i in range(TRAIN - 2):
        np.save(own / "guesses" / f"{stem(i)}.npy", arrays(i)["depth"].astype(np.float32) + 1)
    for i in range(TRAIN, TRAIN + TEST):
        (own / "guesses" / f"{stem(i)}.png").write_text("no map")
    return own
