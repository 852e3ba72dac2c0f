"""Every way in which a file can hold the numbers of a label map or a photograph.

Beside each form stand the numbers that are read, or the words in which it is refused.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.execute.model import as_rgb
from datasets import seen
from datasets.layouts.pixels import load_photograph
from datasets.layouts.toml_folder import TomlFolder
from tests.conftest import Bench

H, W = 40, 56
PNG, NPY = ".png", ".npy"
DRAWN = np.random.default_rng(0).integers(
    0, 4, (H, W)
)  # four classes, or depths, or greys; 0 and 1 of it binary
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


def source(folder: Path, keys: str, maps: Callable[[int], bytes | None], suffix: str = ".png") -> TomlFolder:
    """Six images of noise, and the maps of task `t`."""
    for name in ("images", "m"):
        (folder / name).mkdir(parents=True)
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 256, (H, W, 3), np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{i}.png")
        if (content := maps(i)) is not None:
            (folder / "m" / f"{i}{suffix}").write_bytes(content)
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
# form: (content of the file, suffix, what it holds as classes, and as depth in steps, edges or saliency).
NOT_ONE = "not one number a pixel; expected .*: save one of its channels, as they are alike"
CLEARED = "is transparent in places; expected .*: save it without transparency"
SHORT, TO_TURN = "index 3 of a palette of 1", "to be turned, as its EXIF .*: save it as a viewer shows it"
NO_PNG = "is no PNG file, or damaged"
NO_NUMBERS = "does not hold one array of numbers but"
FORMS: dict[str, tuple[Callable[[np.ndarray], bytes], str, Any, Any]] = {
    **{f"grey {b}": (lambda v, b=b: png(v, b), PNG, DRAWN, DRAWN) for b in (2, 4, 8, 16)},
    **{f"palette {b}": (lambda v, b=b: png(v, b, 3, INDICES), PNG, DRAWN, "a palette of colours, not")
       for b in (2, 4, 8)},
    "grey palette": (lambda v: png(v, 8, 3, GREYS), PNG, "shows index 0 as the grey 3; which", 3 - DRAWN),
    "palette, opaque": (lambda v: png(v, 8, 3, INDICES, (b"tRNS", b"\xff")), PNG, DRAWN,
                    "palette of colours"),
    "palette, index 0 clear": (lambda v: png(v, 8, 3, GREYS, (b"tRNS", b"\0")), PNG, CLEARED, CLEARED),
    "palette, too short": (lambda v: png(v, 8, 3, palette((1, 1, 1))), PNG, SHORT, SHORT),
    "to be turned": (lambda v: saved(v.astype(np.uint8), exif=exif(3)), PNG, TO_TURN, TO_TURN),
    **{f"grey {b}, 1 clear": (lambda v, b=b: png(v, b, 0, (b"tRNS", b"\0\1")), PNG, CLEARED, CLEARED)
       for b in (2, 4, 8, 16)},
    "grey, 9 clear": (lambda v: png(v, 8, 0, (b"tRNS", b"\0\x09")), PNG, DRAWN, DRAWN),
    "grey and alpha, opaque": (lambda v: png(with_alpha(v, 255), 8, 4), PNG, DRAWN, DRAWN),
    "grey and alpha": (lambda v: png(with_alpha(v, 0), 8, 4), PNG, CLEARED, CLEARED),
    "RGB of colours": (lambda v: png(np.stack([v, v, 0 * v], -1), 8, 2), PNG,
                    "number a pixel; .*: save the numbers, not col", "number a pixel; .*: save the numbers"),
    "grey and alpha 16": (lambda v: png(with_alpha(v, 65535), 16, 4), PNG, NOT_ONE, NOT_ONE),
    **{f"RGB {b}": (lambda v, b=b: png(np.stack([v] * 3, -1), b, 2), PNG, NOT_ONE, NOT_ONE) for b in (8, 16)},
    **{f"RGBA {b}": (lambda v, b=b: png(np.stack([v] * 4, 2), b, 6), PNG, NOT_ONE, NOT_ONE) for b in (8, 16)},
    "animation": (lambda v: saved(v.astype(np.uint8), save_all=True, append_images=[Image.new("L", (W, H))]),
                  ".png", "is an animation", "is an animation"),
    **{f"{form} called .png": (lambda v, form=form: saved(v.astype(np.uint8), form), PNG, NO_PNG, NO_PNG)
       for form in ("JPEG", "TIFF", "GIF", "BMP", "EPS", "WEBP")},
    "CMYK JPEG called .png": (lambda v: saved(Image.new("CMYK", (W, H)), "JPEG"), PNG, NO_PNG, NO_PNG),
    **{f"{form}": (lambda v, form=form: saved(v.astype(np.uint8), form), suffix,
                   f"holds no label .* 6 others, such as 0{suffix}",
                   f"holds no label .* 6 others, such as 0{suffix}")
       for form, suffix in (("JPEG", ".jpg"), ("TIFF", ".tif"), ("BMP", ".bmp"), ("GIF", ".gif"))},
    "float TIFF": (lambda v: saved(v.astype(np.float32), "TIFF"), ".tif", "such as 0.tif", "such as 0.tif"),
    **{f"npy {dtype} {order}": (lambda v, d=dtype, o=order: npy(v, d, o), NPY, DRAWN, DRAWN)
       for dtype, order in (("u1", "C"), ("i1", "F"), ("<u2", "F"), (">u2", "C"), (">i4", "F"), ("<i8", "C"),
                            ("u8", "C"), ("f2", "C"), (">f4", "F"), ("f8", "C"), (">f8", "F"), ("g", "C"))},
    "npy with a channel": (lambda v: npy(v[..., None]), NPY, DRAWN, DRAWN),
    "npy of channels first": (lambda v: npy(v[None]), NPY, "has shape .1, 40, 56", "has shape .1, 40, 56"),
    "npy of text": (lambda v: npy(v.astype(str)), NPY, NO_NUMBERS, NO_NUMBERS),
    "npy of objects": (lambda v: npy(v, object), NPY, NO_NUMBERS, NO_NUMBERS),
    "npy of complex": (lambda v: npy(v, "c8"), NPY, NO_NUMBERS, NO_NUMBERS),
    "npy of dates": (lambda v: npy(v, "M8[s]"), NPY, NO_NUMBERS, NO_NUMBERS),
    "npy of fields": (lambda v: npy(np.zeros((H, W), "u1,u1")), NPY, NO_NUMBERS, NO_NUMBERS),
    "npy and more": (lambda v: npy(v) + b"\r\n", NPY, "18050 bytes and its header says", "is damaged"),
    "npy, cut off": (lambda v: npy(v)[:-1], NPY, "is damaged or not a plain .npy", "is damaged"),
}  # fmt: skip


def check(folder: Path, keys: str, content: bytes, suffix: str, wanted: Any) -> None:
    own = source(folder, keys, lambda i: content, suffix)
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=wanted) as caught:
            own.names("train")
            own.read("train", 0)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    else:
        own.names("train")
        np.testing.assert_array_equal(own.read("train", 0).labels["t"], wanted)


@pytest.mark.parametrize("form", FORMS)
def test_maps_of_one_number_a_pixel(form: str, tmp_path: Path) -> None:
    write, suffix, classes, numbers = FORMS[form]
    check(tmp_path / "classes", CLASSES, write(DRAWN), suffix, classes)
    depth = numbers if isinstance(numbers, str) else numbers * (0.5 if suffix == ".png" else 1.0)
    check(tmp_path / "depth", DEPTH, write(DRAWN), suffix, depth)
    for name, keys in (("edge", EDGE), ("saliency", SALIENCY)):
        wanted = numbers
        if not isinstance(numbers, str):  # of the grey palette, 3 and 2: neither black and white nor 0 and 1
            wanted = TWO if np.array_equal(numbers, DRAWN) else "holds [23]; a map of"
        elif "index 3" in numbers:
            wanted = "index 1 of a palette of 1"
        check(tmp_path / name, keys, write(TWO), suffix, wanted)


NAN = np.where(DRAWN == 3, np.nan, DRAWN)
BLACK = np.where(DRAWN[..., None] == 3, 0, COLOURS)
LACKING = np.where(DRAWN[..., None] == 3, 0, UP)
VALUES: dict[str, tuple[str, bytes, str, Any]] = {
    "bits are classes": (CLASSES, png(TWO, 1), PNG, TWO),
    "bits are edges": (EDGE, png(TWO, 1), PNG, TWO),
    "one bit, one of it clear": (CLASSES, png(TWO, 1, 0, (b"tRNS", b"\0\1")), PNG, CLEARED),
    "a bool image": (CLASSES, saved(TWO.astype(bool)), PNG, TWO),
    "a bool array": (CLASSES, npy(TWO == 1), NPY, TWO),
    "a negative class": (CLASSES, npy(DRAWN - 1), NPY,
                    "holds class -1, but .* numbered 0..3, and ignores 255"),
    "half a class": (CLASSES, npy(DRAWN / 2), NPY, "holds class 0.5, but .t|holds class 1.5, but .t"),
    "class NaN": (CLASSES, npy(NAN), NPY, "holds class nan, but"),
    "class 4": (CLASSES, png(DRAWN + 1), PNG, "holds class 4, but"),
    "-1 ignored": (CLASSES + "ignore = -1", npy(DRAWN - 1), NPY, np.where(DRAWN, DRAWN - 1, 255)),
    "NaN ignored": (CLASSES + "ignore = nan", npy(NAN), NPY, np.nan_to_num(NAN, nan=255)),
    "65535 ignored": (CLASSES + "ignore = 65535", png(np.where(DRAWN == 3, 65535, DRAWN), 16), ".png",
                      np.nan_to_num(NAN, nan=255)),
    "depth without a number": (DEPTH + "ignore = 65535", png(np.where(DRAWN == 3, 65535, DRAWN), 16), ".png",
                               np.nan_to_num(NAN, nan=0) / 2),
    "depth NaN": (DEPTH, npy(NAN), NPY, r"NaN or infinite values; expected metres, .*\(or ignore = nan"),
    "depth NaN ignored": (DEPTH + "ignore = nan", npy(NAN), NPY, np.nan_to_num(NAN, nan=0)),
    "depth infinite": (DEPTH, npy(np.where(DRAWN == 3, np.inf, 1.0)), NPY, "NaN or infinite values"),
    "depth infinite ignored": (DEPTH + "ignore = inf", npy(np.where(DRAWN == 3, np.inf, 1)), NPY, DRAWN != 3),
    "depth -1": (DEPTH, npy(DRAWN - 1), NPY, r"must hold metres in 1e-05\.\.1000, .*over -1\.\.2"),
    "depth -1 ignored": (DEPTH + "ignore = -1", npy(DRAWN - 1), NPY, np.where(DRAWN, DRAWN - 1, 0)),
    "depth that stores cannot hold": (DEPTH, npy(DRAWN * 1e-6), NPY, r"must hold metres in 1e-05\.\.1000"),
    "void edges": (EDGE, png(np.where(DRAWN == 3, 255, TWO)), PNG,
                    "holds 255; a map of edge is of 0 and 1, or"),
    "void edges ignored": (EDGE + "ignore = 255", png(np.where(DRAWN == 3, 255, TWO)), ".png",
                           np.where(DRAWN == 3, 255, TWO)),
    "white edges": (EDGE, png(TWO * 255), PNG, TWO),
    "white of 4 bits": (SALIENCY, png(TWO * 15, 4), PNG, TWO),
    "white of 16 bits": (SALIENCY, png(TWO * 65535, 16), PNG, TWO),
    "white of a palette": (SALIENCY, png(TWO, 1, 3, INVERTED), PNG, 1 - TWO),
    "greys": (SALIENCY, png(DRAWN * 85), PNG,
                    "holds (85|170); .* name .* as ignore, or .* as threshold, in .tasks.t."),
    "greys with a threshold": (SALIENCY + "threshold = 170", png(DRAWN * 85), PNG, DRAWN > 1),
    "a threshold above what the file can hold": (EDGE + "threshold = 128", png(TWO, 1), PNG,
                    r"holds numbers up to 1, below threshold = 128 of \[tasks.t\]; save every map with"),
    "probabilities": (EDGE, npy(DRAWN / 3), NPY, "holds 0.[36]"),
    "probabilities with a threshold": (EDGE + "threshold = 0.5", npy(DRAWN / 3), NPY, DRAWN > 1),
    "normals": (NORMALS, png(COLOURS, 8, 2), PNG, ROUND),
    "opaque normals": (NORMALS, png(with_alpha(COLOURS, 255), 8, 6), PNG, ROUND),
    "clear normals": (NORMALS, png(with_alpha(COLOURS, 0), 8, 6), PNG, CLEARED),
    "a clear colour": (NORMALS, png(COLOURS, 8, 2, (b"tRNS", COLOURS[0, 0].astype(">u2").tobytes())), PNG,
                    CLEARED),
    "16 bits a channel": (NORMALS, png(COLOURS * 257, 16, 2), PNG,
                    "16 bits .*; a .npy holds more than 8 bits"),
    "grey normals": (NORMALS, png(DRAWN), PNG, "holds grey of 8 bits a channel, not RGB of 8"),
    "normals of a palette": (NORMALS, png(0 * DRAWN, 8, 3, palette(tuple(COLOURS[0, 0]))), PNG, ROUND),
    "black normals": (NORMALS, png(BLACK, 8, 2), PNG,
                    r"length 1 \(127 or 128 in all three channels where unknown, or"),
    "black normals ignored": (NORMALS + "ignore = 0", png(BLACK, 8, 2), PNG, np.where(DRAWN[..., None] == 3,
                    0, ROUND)),
    "normals in an array": (NORMALS, npy(UP, ">f4", "F"), NPY, UP),
    "normals NaN": (NORMALS, npy(np.where(LACKING, LACKING, np.nan)), NPY, "NaN or infinite values"),
    "normals NaN ignored": (NORMALS + "ignore = nan", npy(np.where(DRAWN[..., None] == 3, np.nan, UP)), NPY,
                    LACKING),
    "colours in an array": (NORMALS, npy(COLOURS, "u1"), NPY, "must hold vectors of length 1"),
    "halves in an array": (NORMALS, npy((UP + 1) / 2), NPY, "must hold vectors of length 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_conventions_that_must_be_chosen(case: str, tmp_path: Path) -> None:
    keys, content, suffix, wanted = VALUES[case]
    own = source(tmp_path, keys, lambda i: content, suffix)
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=wanted):
            own.read("train", 0)
        return
    found = own.read("train", 0).labels["t"]
    if keys.startswith(NORMALS):
        length = np.linalg.norm(wanted, axis=-1, keepdims=True)
        np.testing.assert_allclose(found, wanted / np.where(length, length, 1), atol=1e-6)
    else:
        np.testing.assert_array_equal(found, wanted)


NOISE = np.random.default_rng(1).integers(0, 256, (H, W, 3))
GREY = np.repeat(NOISE[..., :1], 3, 2)
PHOTOGRAPHS: dict[str, tuple[bytes, Any]] = {
    "RGB": (png(NOISE, 8, 2), NOISE),
    "RGB of 16 bits": (png(NOISE * 257, 16, 2), NOISE),
    "RGB of 16 bits, shifted": (png(NOISE * 256, 16, 2), NOISE),
    "RGBA of 16 bits": (png(with_alpha(NOISE * 257, 65535), 16, 6), NOISE),
    "RGBA": (png(with_alpha(NOISE, 0), 8, 6), NOISE),
    "grey": (png(NOISE[..., 0]), GREY),
    "grey of 16 bits": (png(NOISE[..., 0] * 257, 16), GREY),
    "grey of 16 bits, shifted": (png(NOISE[..., 0] * 256, 16), GREY),
    "grey and alpha of 16 bits": (png(with_alpha(NOISE[..., :1] * 257, 65535), 16, 4), GREY),
    "grey of 4 bits": (png(NOISE[..., 0] // 16, 4), GREY // 16 * 17),
    "one bit": (png(NOISE[..., 0] // 128, 1), GREY // 128 * 255),
    "palette": (png(NOISE[..., 0] % 2, 1, 3, palette((1, 2, 3), (4, 5, 6))),
                np.where(NOISE[..., :1] % 2, [4, 5, 6], [1, 2, 3])),
    "WebP": (saved(NOISE.astype(np.uint8), "WEBP", lossless=True), NOISE),
    "two frames of a camera": (saved(Image.new("RGB", (W, H), (9, 9, 9)), "MPO", save_all=True,
                                     append_images=[Image.new("RGB", (W, H))]), np.full((H, W, 3), 9)),
    "CMYK": (saved(Image.new("CMYK", (W, H), (0, 0, 0, 255)), "JPEG"), np.zeros((H, W, 3))),
    "animation": (saved(Image.new("RGB", (W, H)), "WEBP", save_all=True,
                        append_images=[Image.new("RGB", (W, H), "red")]), "is an animation"),
    "EPS": (saved(Image.new("RGB", (W, H)), "EPS"), "no JPEG, PNG or WebP file, or damaged"),
    "too large": (png(np.zeros((1, 1)))[:16] + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 5_001, 8, 0, 0,
     0, 0))[8:] + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""),
     "has more than 100 million pixels"),
    "a changed byte": (png(NOISE, 8, 2)[:1000] + b"?" + png(NOISE, 8, 2)[1001:],
                    "damaged .*checksum in b'IDAT'"),
    "cut off": (png(NOISE, 8, 2)[:-500], "is damaged .Truncated"),
}  # fmt: skip


@pytest.mark.parametrize("case", PHOTOGRAPHS)
def test_photographs(case: str, tmp_path: Path) -> None:
    """As files of a data set and of `predict`, and as pictures of Pillow's that are given to a model."""
    content, wanted = PHOTOGRAPHS[case]
    path = tmp_path / "x.png"
    path.write_bytes(content)
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=wanted):
            load_photograph(path)
        return
    np.testing.assert_array_equal(load_photograph(path).pixels, wanted)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(as_rgb(picture), wanted)


REMARKS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "opaque": (png(with_alpha(NOISE, 255), 8, 6), ()),
    "alpha": (png(with_alpha(NOISE, CLEAR), 8, 6), ("clear",)),
    "grey and alpha of 16 bits": (png(with_alpha(NOISE[..., :1] * 257, 0), 16, 4), ("clear",)),
    "a clear grey": (png(NOISE[..., 0], 8, 0, (b"tRNS", b"\0\x09")), ("clear",)),
    "a clear grey of 16 bits": (png(NOISE[..., 0] * 257, 16, 0, (b"tRNS", b"\0\0")), ("clear",)),
    "a clear colour": (png(NOISE, 8, 2, (b"tRNS", NOISE[0, 0].astype(">u2").tobytes())), ("clear",)),
    "a clear colour that is not there": (png(NOISE // 2, 8, 2, (b"tRNS", b"\0\xff" * 3)), ()),
    "a clear index": (png(NOISE[..., 0] % 2, 1, 3, INDICES, (b"tRNS", b"\xff\0")), ("clear",)),
    "a clear index that is not there": (png(0 * TWO, 1, 3, INDICES, (b"tRNS", b"\xff\0")), ()),
    "WebP with alpha": (saved(Image.new("RGBA", (W, H), (9, 9, 9, 9)), "WEBP", lossless=True), ("clear",)),
    "13 bits": (png(NOISE[..., 0] * 32, 16), ("dark",)),
    "14 bits": (png(NOISE * 64, 16, 2), ("dark",)),
    "15 bits": (png(NOISE * 128, 16, 2), ()),
    "8 bits in 16": (png(NOISE, 16, 2), ("black",)),
    "turned": (saved(NOISE.astype(np.uint8), "PNG", exif=exif(8)), ("turned",)),
    "turned and clear": (saved(Image.new("LA", (W, H)), "PNG", exif=exif(6)), ("turned", "clear")),
}  # fmt: skip


@pytest.mark.parametrize("case", REMARKS)
def test_what_a_person_should_hear_of_a_photograph(case: str, tmp_path: Path) -> None:
    content, remarks = REMARKS[case]
    (tmp_path / "x.png").write_bytes(content)
    assert load_photograph(tmp_path / "x.png", upright=True).remarks == remarks


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_picture_without_a_white_is_refused(mode: str) -> None:
    with pytest.raises(UserError, match=f"cannot be read as RGB .*colour mode {mode} has no largest number"):
        as_rgb(Image.new(mode, (W, H), 300))


PALETTES: list[tuple[Any, Any, str]] = [
    (INDICES, INDICES, ""),
    (INDICES, (INDICES[0], INDICES[1] + b"more"[:3]), ""),
    (INDICES, palette((255, 255, 0), (9, 90, 9), (0, 0, 255), (200, 0, 0)),
     r"1\.png shows index 1 in another colour than .*0\.png; .*: save their numbers without a palette"),
    (palette(*[(i, i, i) for i in range(4)]), palette(*[(i, i, i) for i in range(4)]), ""),
    (palette((0, 0, 0), (85, 85, 85), (170, 170, 170), (255, 255, 255)), INDICES, "index 1 as the grey 85"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "message"), PALETTES)
def test_indices_are_classes_where_they_mean_the_same_in_every_file(
    first: Any, second: Any, message: str, tmp_path: Path
) -> None:
    own = source(tmp_path, CLASSES, lambda i: png(DRAWN, 8, 3, second if i else first))
    if message:
        with pytest.raises(UserError, match=message):
            [own.read("train", i) for i in (0, 1)]
    else:
        assert all(np.array_equal(own.read("train", i).labels["t"], DRAWN) for i in range(4))


def half(content: bytes) -> Callable[[int], bytes | None]:
    return lambda i: content if i % 2 else None


def more(folder: Path) -> None:
    for i in (0, 2):
        (folder / "m" / f"{i}.tif").write_bytes(saved(TWO.astype(np.uint8), "TIFF"))
    (folder / "images" / "7.bmp").write_bytes(saved(Image.new("L", (W, H)), "BMP"))
    np.save(folder / "m" / "8.npy", DRAWN)


def dim(folder: Path) -> None:
    (folder / "images" / "4.png").write_bytes(png(NOISE[..., 0] * 16, 16))
    (folder / "images" / "5.png").write_bytes(png(NOISE * 15, 16, 2))


def clear(folder: Path) -> None:
    (folder / "images" / "3.png").write_bytes(png(with_alpha(NOISE, CLEAR), 8, 6))


def turn(folder: Path) -> None:
    for i in (1, 2):
        (folder / "images" / f"{i}.png").write_bytes(
            saved(NOISE.astype(np.uint8) + np.uint8(i), exif=exif(3))
        )


def probable(folder: Path) -> None:
    (folder / "m" / "2.png").unlink()
    (folder / "m" / "2.npy").write_bytes(npy(TWO / 1.0))


SEEN: dict[str, tuple[Any, ...]] = {  # keys of the task, its maps, what else lies there, words of the note
    "a class that never occurs": (CLASSES, lambda i: png(TWO * 255),
     "3 of 4 classes of t occur in no label map: b, c, d"),
    "a class that is tested alone": (CLASSES, lambda i: png(DRAWN if i > 3 else TWO),
                                     "t: c, d occurs in test images alone"),
    "no edge": (EDGE, lambda i: png(0 * TWO), "1 of 2 numbers of t occur in no label map: 1"),
    "the largest number": (DEPTH, lambda i: png(np.where(DRAWN == 3, 255, 2)),
     "6 maps of t hold 255, the largest number of their format, such as that of 0: .* add ignore = 255"),
    "a small unit": ('kind = "depth"\nunit = 0.0001', lambda i: png(DRAWN + 2),
     "t is 0.0002 to 0.0005 m, which looks like another unit"),
    "a large unit": ('kind = "depth"\nunit = 90', lambda i: png(DRAWN + 2),
                    "t is 180 to 450 m, which looks"),
    "z that points away": (NORMALS, lambda i: npy(-UP),
                    r"mean of t is \(.0.00, -0.60, .0.80\), but visible"),
    "exchanged colours": (NORMALS, lambda i: npy(UP[..., ::-1]), "so x and z look exchanged .BGR."),
    "two whites": (EDGE, lambda i: png(TWO * (255 if i % 2 else 1)),
     "3 maps of t are of 0 and 1, such as that of 0, and 3 of 0 and 255, such as that of 1"),
    "two whites of 16 bits": (EDGE, lambda i: png(TWO * (65535 if i % 2 else 1), 16),
                    "3 of 0 and 65535, such as that of 1: if 65535 says"),
    "8 bits among 16": (DEPTH, lambda i: png(DRAWN + 2, 16 if i else 8),
                    "1 maps of t are of numbers up to 255, such as that of 0, and 5 of numbers up to 65535"),
    "16 bits of a threshold": (EDGE + "threshold = 2", lambda i: png(DRAWN, 8 if i else 16),
                    "5 maps of t are of numbers up to 255, .*: look whether a number says the same in both"),
    "whole metres beside a unit": (DEPTH + "#", lambda i: npy(DRAWN),
                    "6 maps of t are .npy of whole numbers, such as that of 0, and are read as metres"),
    "a map without a label": (CLASSES, lambda i: png(DRAWN if i else 0 * DRAWN + 255),
     "1 maps of t have no labelled pixel at this size, such as that of 0"),
    "images without a label": (CLASSES, half(png(DRAWN)),
                    "2 of 4 train images have no label, such as 0"),
    "labels left aside": (CLASSES, half(png(DRAWN)), more,
     "left aside in .*m: 2 not ending in .png or .npy, such as 0.tif"),
    "images left aside": (CLASSES, half(png(DRAWN)), more,
                    "left aside in .*images: 1 not ending in .*such as 7.bmp"),
    "labels of no image": (CLASSES, half(png(DRAWN)), more,
     "left aside in .*m: 1 with the name of no image, such as 8.npy"),
    "turned images": (CLASSES, lambda i: png(DRAWN), turn,
                    "2 images were turned or mirrored .*, such as 1: their"),
    "images of 12 bits": (CLASSES, lambda i: png(DRAWN), dim,
                    "2 images of 16 bits use no number above 16383, such as 4"),
    "clear images": (CLASSES, lambda i: png(DRAWN), clear, "1 images are transparent in places, such as 3"),
    "one map of 0 and 255": (CLASSES, lambda i: png(DRAWN if i else TWO * 255),
                    "1 maps of t hold 0 and 255 alone, such as that of 0, and 255 is read as no label"),
    "one map that is inverted": (EDGE, lambda i: png(DRAWN // 3 if i != 2 else 1 - DRAWN // 3),
                    "1 maps of t have more edges than other pixels, such as that of 2"),
    "one map of millimetres": (DEPTH, lambda i: png((DRAWN + 2) * (1 if i else 200), 16),
                    "1 maps of t have a median depth more than 30 times .*, such as that of 0"),
    "a split in millimetres": (DEPTH, lambda i: png((DRAWN + 2) * (1 if i > 3 else 200), 16),
                    "the median of t is .* in one split and .* in the other: look whether both are in one"),
    "probabilities among pictures": (EDGE + "threshold = 128",
                    lambda i: png(TWO * 255), probable,
                    "1 maps of t are of numbers up to 1, such as that of 2, and 5 of numbers up to 255"),
    "two odd maps": (NORMALS, lambda i: npy((-UP, UP[..., ::-1])[i] if i < 2 else UP),
                    "2 maps of t have another mean than the others, such as that of 0: z > 0, or x and z"),
    "the share": (CLASSES, lambda i: png(DRAWN),
                    "test_share = 0.34 with split_seed = 14 drew 2 images for testing, such as 4, and"),
}  # fmt: skip


def test_remarks_that_no_reader_makes_are_not_said() -> None:
    odd = ("positive x of t", "positive of t", "bits 9" + "9" * 5000 + " of t", "odd", "", "{count}")
    assert seen.said([{remark: (1, "a")} for remark in odd]) == []


@pytest.mark.parametrize("case", SEEN)
def test_preparation_ends_with_what_it_saw(case: str, bench: Bench, tmp_path: Path) -> None:
    keys, maps, *changes, words = SEEN[case]
    source(tmp_path / "x", keys, maps, ".npy" if keys in (NORMALS, DEPTH + "#") else ".png")
    for change in changes:
        change(tmp_path / "x")
    for _ in range(2):  # also where there is nothing to do
        code, out, err = bench(
            "data", "prepare", "own-data", tmp_path / "x", "--data", tmp_path / "d", "--json"
        )
        assert code == 0, err
        notes = json.loads(out)["notes"]
        assert [note for note in notes if re.search(words, note)], notes
