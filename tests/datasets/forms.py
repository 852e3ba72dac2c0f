"""Files by hand, in every form of numbers, and folders of them."""

import functools
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets.layouts.toml_folder import TomlFolder

H, W = 40, 56
NUMPY = b"\x93NUMPY"
DRAWN = np.random.default_rng(0).integers(0, 4, (H, W))  # classes, depths, or greys
TWO = DRAWN % 2
TOML = """name = "x"
images = "images"
splits = {test_share = 0.34, split_seed = 14}  # 4 and 5 of six for testing
size = {height = 40, width = 56}
[tasks.t]
folder = "m"
"""
CLASSES = 'kind = "classes"\nclasses = ["a", "b", "c", "d"]\n'
DEPTH, EDGE, NORMALS = 'kind = "depth"\nunit = 0.5\n', 'kind = "edge"\n', 'kind = "normals"\n'
SALIENCY = 'kind = "saliency"\n'


def chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def png(values: np.ndarray, bits: int = 8, kind: int = 0, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand: kind 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA; `more` chunks go first."""
    rows = []
    for row in values.reshape(len(values), -1).astype(np.int64):
        if bits >= 8:
            rows.append(b"\0" + row.astype(f">u{bits // 8}").tobytes())
        else:
            rows.append(b"\0" + np.packbits(row[:, None] >> np.arange(bits)[::-1] & 1).tobytes())
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def saved(image: Image.Image | np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def npy(values: np.ndarray, dtype: Any = None, order: Any = "C") -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values, dtype, order=order), allow_pickle=True)
    return file.getvalue()


def palette(*colours: tuple[int, int, int]) -> tuple[bytes, bytes]:
    return b"PLTE", bytes(part for colour in colours for part in colour)


def with_alpha(values: np.ndarray, alpha: Any) -> np.ndarray:
    values = values.reshape(H, W, -1)
    return np.concatenate([values, np.broadcast_to(np.asarray(alpha).reshape(-1, 1), (H, W, 1))], -1)


@functools.cache
def images() -> list[bytes]:
    return [saved(np.random.default_rng(i).integers(0, 256, (H, W, 3), np.uint8)) for i in range(6)]


def source(folder: Path, keys: str, maps: Callable[[int], bytes | None]) -> TomlFolder:
    """Six images of noise, and the maps of task `t`."""
    for name in ("images", "m"):
        (folder / name).mkdir(parents=True)
    for i, content in enumerate(images()):
        (folder / "images" / f"{i}.png").write_bytes(content)
        if (map_ := maps(i)) is not None:
            ending = ".npy" if map_.startswith(NUMPY) else ".png"
            (folder / "m" / f"{i}{ending}").write_bytes(map_)
    (folder / "dataset.toml").write_text(TOML + keys)
    return TomlFolder(folder)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


INDICES = palette((255, 255, 0), (0, 0, 255), (9, 90, 9), (200, 0, 0))  # colours that say nothing
INVERTED = palette((255, 255, 255), (0, 0, 0))
GREYS = palette((3, 3, 3), (2, 2, 2), (1, 1, 1), (0, 0, 0))  # which draw 3 - index
CLEAR = np.tile([255, 0], W // 2)  # alpha of every other pixel
UP = np.broadcast_to([0.0, 0.6, -0.8], (H, W, 3))
COLOURS = np.rint((UP + 1) * 127.5).astype(int)
ROUND = (COLOURS * 2 - 255) / 255
NOISE = np.random.default_rng(1).integers(0, 256, (H, W, 3))
BLANK = Image.new("L", (W, H))
