"""Photographs in every form, and what preparation says that it saw in them and in label maps."""

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.execute.model import as_rgb
from datasets import seen
from datasets.layouts.pixels import CLEAR as SHEER
from datasets.layouts.pixels import DARK, TURNED, load_photograph
from tests.conftest import Bench

from tests.datasets.forms import CLASSES, CLEAR, DEPTH, DRAWN, EDGE, INDICES, NOISE, NORMALS  # isort: skip
from tests.datasets.forms import TWO, UP, H, W, chunk, exif, npy, palette, png, saved, source  # isort: skip
from tests.datasets.forms import with_alpha  # isort: skip

GREY = np.repeat(NOISE[..., :1], 3, 2)
PHOTOGRAPHS: dict[str, tuple[bytes, Any]] = {
    "RGB": (png(NOISE, 8, 2), NOISE),
    "RGB of 16 bits": (png(NOISE * 257, 16, 2), NOISE),
    "RGBA": (png(with_alpha(NOISE, 0), 8, 6), NOISE),
    "grey": (png(NOISE[..., 0]), GREY),
    "grey of 16 bits": (png(NOISE[..., 0] * 257, 16), GREY),
    "grey and alpha of 16 bits": (png(with_alpha(NOISE[..., :1] * 257, 65535), 16, 4), GREY),
    "grey of 4 bits": (png(NOISE[..., 0] // 16, 4), GREY // 16 * 17),
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
    "alpha": (png(with_alpha(NOISE, CLEAR), 8, 6), (SHEER,)),
    "grey and alpha of 16 bits": (png(with_alpha(NOISE[..., :1] * 257, 0), 16, 4), (SHEER,)),
    "a clear grey": (png(NOISE[..., 0], 8, 0, (b"tRNS", b"\0\x09")), (SHEER,)),
    "a clear colour": (png(NOISE, 8, 2, (b"tRNS", NOISE[0, 0].astype(">u2").tobytes())), (SHEER,)),
    "a clear index": (png(NOISE[..., 0] % 2, 1, 3, INDICES, (b"tRNS", b"\xff\0")), (SHEER,)),
    "a clear index that is not there": (png(0 * TWO, 1, 3, INDICES, (b"tRNS", b"\xff\0")), ()),
    "WebP with alpha": (saved(Image.new("RGBA", (W, H), (9, 9, 9, 9)), "WEBP", lossless=True), (SHEER,)),
    "13 bits": (png(NOISE[..., 0] * 32, 16), (DARK,)),
    "14 bits": (png(NOISE * 64, 16, 2), (DARK,)),
    "15 bits": (png(NOISE * 128, 16, 2), ()),
    "8 bits in 16": (png(NOISE, 16, 2), (DARK,)),
    "turned": (saved(NOISE.astype(np.uint8), "PNG", exif=exif(8)), (TURNED,)),
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


def more(folder: Path) -> None:
    for i in (0, 2):
        (folder / "m" / f"{i}.tif").write_bytes(saved(TWO.astype(np.uint8), "TIFF"))
    (folder / "images" / "7.bmp").write_bytes(saved(Image.new("L", (W, H)), "BMP"))
    np.save(folder / "m" / "8.npy", DRAWN)


def odd(folder: Path) -> None:
    turned = [saved(NOISE.astype(np.uint8) + np.uint8(i), exif=exif(3)) for i in (1, 2)]
    dim = [png(NOISE[..., 0] * 16, 16), png(NOISE * 15, 16, 2)]
    for i, content in enumerate((*turned, png(with_alpha(NOISE, CLEAR), 8, 6), *dim), 1):
        (folder / "images" / f"{i}.png").write_bytes(content)


SEEN: dict[str, tuple[Any, ...]] = {  # keys of the task, its maps, what else lies there, words of the note
    "a class that never occurs": (CLASSES, lambda i: png(TWO * 255),
     "3 of 4 classes of t occur in no label map: b, c, d"),
    "a class that is tested alone": (CLASSES, lambda i: png(DRAWN if i > 3 else TWO),
                                     "t: c, d occurs in test images alone"),
    "no edge": (EDGE, lambda i: png(0 * TWO), "1 of 2 numbers of t occur in no label map: 1"),
    "the largest number": (DEPTH, lambda i: png(np.where(DRAWN == 3, 255, 2)),
     "6 maps of t hold 255, the largest number of their format, such as 0: .* add ignore = 255 to .tasks"),
    "a small unit": ('kind = "depth"\nunit = 0.0001', lambda i: png(DRAWN + 2),
     "t is 0.0002 to 0.0005 m, which looks like another unit"),
    "z that points away": (NORMALS, lambda i: npy(-UP), r"mean of t is \(.0.00, -0.60, .0.80\), but visible"),
    "exchanged colours": (NORMALS, lambda i: npy(UP[..., ::-1]), "so x and z look exchanged .BGR."),
    "whole metres beside a unit": (DEPTH + "#", lambda i: npy(DRAWN),
                    "6 maps of t are .npy of whole numbers, such as 0: they are read as metres"),
    "a map without a label": (CLASSES, lambda i: png(DRAWN if i else 0 * DRAWN + 255),
     "1 maps of t have no labelled pixel at this size, such as 0: these images count"),
    "files left aside": (CLASSES, lambda i: png(DRAWN) if i % 2 else None, more,
     "2 of 4 train images have no label, such as 0",
     "left aside in .*m: 2 not ending in .png or .npy, such as 0.tif",
     "left aside in .*images: 1 not ending in .*such as 7.bmp",
     "left aside in .*m: 1 with the name of no image, such as 8.npy"),
    "odd images": (CLASSES, lambda i: png(DRAWN), odd,
     "2 images were turned or mirrored .*, such as 1: their",
     "2 images of 16 bits use no number above 16383, such as 4",
     "1 images are transparent in places, such as 3"),
    "one map of 0 and 255": (CLASSES, lambda i: png(DRAWN if i else TWO * 255),
                    "1 maps of t hold 0 and 255 alone, such as 0: 255 is read as no label"),
    "one map that is inverted": (EDGE, lambda i: png(DRAWN // 3 if i != 2 else 1 - DRAWN // 3),
                    "1 maps of t have more edges than other pixels, such as 2: look"),
    "one map of millimetres": (DEPTH, lambda i: png((DRAWN + 2) * (1 if i else 200), 16),
                    "1 maps of t have a median depth more than 30 times .*, such as that of 0"),
    "a split in millimetres": (DEPTH, lambda i: png((DRAWN + 2) * (1 if i > 3 else 200), 16),
                    "the median of t is .* in one split and .* in the other: look whether both are in one"),
    "two odd maps": (NORMALS, lambda i: npy((-UP, UP[..., ::-1])[i] if i < 2 else UP),
                    "2 maps of t have another mean than the others, such as that of 0: z > 0, or x and z"),
    "the share": (CLASSES, lambda i: png(DRAWN),
                    "test_share = 0.34 with split_seed = 14 drew 2 images for testing, such as 4, and"),
}  # fmt: skip


def test_remarks_that_no_reader_makes_are_not_said() -> None:
    odd = ("positive 255 of t", "turned", "", "{count}")  # as earlier versions kept them
    assert seen.said([{remark: (1, "a")} for remark in odd]) == []


@pytest.mark.parametrize("case", SEEN)
def test_preparation_ends_with_what_it_saw(case: str, bench: Bench, tmp_path: Path) -> None:
    keys, maps, *rest = SEEN[case]
    source(tmp_path / "x", keys, maps)
    if callable(rest[0]):
        rest.pop(0)(tmp_path / "x")
    command = ("data", "prepare", "own-data", tmp_path / "x", "--data", tmp_path / "d", "--json")
    for _ in range(2 if case == "odd images" else 1):  # also where there is nothing to do
        code, out, err = bench(*command)
        notes = json.loads(out)["notes"]
        assert code == 0 and all(any(re.search(words, note) for note in notes) for words in rest), out + err
