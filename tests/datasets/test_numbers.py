"""Every way in which a file can hold the numbers of a label map.

Beside each form stand the numbers that are read, or the words in which it is refused.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import UserError

from tests.datasets.forms import BLANK, CLASSES, COLOURS, DEPTH, DRAWN, EDGE, GREYS, INDICES  # isort: skip
from tests.datasets.forms import INVERTED, NORMALS, NUMPY, ROUND, SALIENCY, TWO, UP, H, W, exif  # isort: skip
from tests.datasets.forms import npy, palette, png, saved, source, with_alpha  # isort: skip

# form: (content of the file, what it holds as classes, and as other numbers where that differs).
NOT_ONE = "not one number a pixel; expected .*: save one of its channels, as they are alike"
CLEARED = "is transparent in places; expected .*: save it without transparency"
SHORT, TO_TURN = "index 3 of a palette of 1", "to be turned, as its EXIF .*: save it as a viewer shows it"
NO_PNG = "is no PNG file, or damaged"
NO_NUMBERS = "does not hold one array of numbers but"
FORMS: dict[str, tuple[Any, ...]] = {
    **{f"grey {b}": (lambda v, b=b: png(v, b), DRAWN) for b in (2, 4, 8, 16)},
    **{f"palette {b}": (lambda v, b=b: png(v, b, 3, INDICES), DRAWN, "a palette of colours, not")
       for b in (2, 4, 8)},
    "grey palette": (lambda v: png(v, 8, 3, GREYS), "shows index 0 as the grey 3; which", 3 - DRAWN),
    "palette, opaque": (lambda v: png(v, 8, 3, INDICES, (b"tRNS", b"\xff")), DRAWN, "palette of colours"),
    "palette, index 0 clear": (lambda v: png(v, 8, 3, GREYS, (b"tRNS", b"\0")), CLEARED),
    "palette, too short": (lambda v: png(v, 8, 3, palette((1, 1, 1))), SHORT),
    "to be turned": (lambda v: saved(v.astype(np.uint8), exif=exif(3)), TO_TURN),
    **{f"grey {b}, 1 clear": (lambda v, b=b: png(v, b, 0, (b"tRNS", b"\0\1")), CLEARED)
       for b in (2, 4, 8, 16)},
    "grey, 9 clear": (lambda v: png(v, 8, 0, (b"tRNS", b"\0\x09")), DRAWN),
    "grey and alpha, opaque": (lambda v: png(with_alpha(v, 255), 8, 4), DRAWN),
    "grey and alpha": (lambda v: png(with_alpha(v, 0), 8, 4), CLEARED),
    "RGB of colours": (lambda v: png(np.stack([v, v, 0 * v], -1), 8, 2), "a pixel; .*: save the numbers"),
    "grey and alpha 16": (lambda v: png(with_alpha(v, 65535), 16, 4), NOT_ONE),
    **{f"RGB {b}": (lambda v, b=b: png(np.stack([v] * 3, -1), b, 2), NOT_ONE) for b in (8, 16)},
    **{f"RGBA {b}": (lambda v, b=b: png(np.stack([v] * 4, 2), b, 6), NOT_ONE) for b in (8, 16)},
    "animation": (lambda v: saved(v.astype(np.uint8), save_all=True, append_images=[BLANK]), "an animation"),
    **{f"{form} called .png": (lambda v, form=form: saved(v.astype(np.uint8), form), NO_PNG)
       for form in ("JPEG", "TIFF", "GIF", "BMP", "EPS", "WEBP")},
    **{f"npy {dtype} {order}": (lambda v, d=dtype, o=order: npy(v, d, o), DRAWN)
       for dtype, order in (("u1", "C"), ("i1", "F"), ("<u2", "F"), (">u2", "C"), (">i4", "F"), ("<i8", "C"),
                            ("u8", "C"), ("f2", "C"), (">f4", "F"), ("f8", "C"), (">f8", "F"), ("g", "C"))},
    "npy with a channel": (lambda v: npy(v[..., None]), DRAWN),
    "npy of channels first": (lambda v: npy(v[None]), "has shape .1, 40, 56"),
    "npy of objects": (lambda v: npy(v, object), NO_NUMBERS),
    "npy of fields": (lambda v: npy(np.zeros((H, W), "u1,u1")), NO_NUMBERS),
    "npy and more": (lambda v: npy(v) + b"\r\n", "18050 bytes and its header says", "is damaged"),
    "npy, cut off": (lambda v: npy(v)[:-1], "is damaged or not a plain .npy", "is damaged"),
}  # fmt: skip


def check(folder: Path, keys: str, content: bytes, wanted: Any) -> None:
    """What a map holds, or the one sentence that names a file."""
    own = source(folder, keys, lambda i: content)
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=wanted) as caught:
            own.names("train")
            own.read("train", 0)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        return
    own.names("train")
    found = own.read("train", 0).labels["t"]
    if keys.startswith(NORMALS):
        length = np.linalg.norm(wanted, axis=-1, keepdims=True)
        np.testing.assert_allclose(found, wanted / np.where(length, length, 1), atol=1e-6)
    else:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("form", FORMS)
def test_maps_of_one_number_a_pixel(form: str, tmp_path: Path) -> None:
    write, classes, *numbers = FORMS[form]
    content, number = write(DRAWN), (numbers or [classes])[0]
    check(tmp_path / "classes", CLASSES, content, classes)
    depth = number if isinstance(number, str) else number * (1.0 if content.startswith(NUMPY) else 0.5)
    check(tmp_path / "depth", DEPTH, content, depth)
    if not isinstance(number, str):  # of the grey palette, 3 and 2: neither black and white nor 0 and 1
        number = TWO if np.array_equal(number, DRAWN) else "holds [23]; a map of"
    elif "index 3" in number:
        number = "index 1 of a palette of 1"
    for name, keys in (("edge", EDGE), ("saliency", SALIENCY)):
        check(tmp_path / name, keys, write(TWO), number)


NAN = np.where(DRAWN == 3, np.nan, DRAWN)
UNMEASURED, VOID = png(np.where(DRAWN == 3, 65535, DRAWN), 16), png(np.where(DRAWN == 3, 255, TWO))
GONE = DRAWN[..., None] == 3
BLACK = np.where(GONE, 0, COLOURS)
VALUES: dict[str, tuple[str, bytes, Any]] = {
    "bits are classes": (CLASSES, png(TWO, 1), TWO),
    "bits are edges": (EDGE, png(TWO, 1), TWO),
    "one bit, one of it clear": (CLASSES, png(TWO, 1, 0, (b"tRNS", b"\0\1")), CLEARED),
    "a bool image": (CLASSES, saved(TWO.astype(bool)), TWO),
    "a negative class": (CLASSES, npy(DRAWN - 1), "holds class -1, but .* numbered 0..3, and ignores 255"),
    "half a class": (CLASSES, npy(DRAWN / 2), "holds class 0.5, but .t|holds class 1.5, but .t"),
    "class 4": (CLASSES, png(DRAWN + 1), "holds class 4, but"),
    "-1 ignored": (CLASSES + "ignore = -1", npy(DRAWN - 1), np.where(DRAWN, DRAWN - 1, 255)),
    "NaN ignored": (CLASSES + "ignore = nan", npy(NAN), np.nan_to_num(NAN, nan=255)),
    "65535 ignored": (CLASSES + "ignore = 65535", UNMEASURED, np.nan_to_num(NAN, nan=255)),
    "depth without a number": (DEPTH + "ignore = 65535", UNMEASURED, np.nan_to_num(NAN, nan=0) / 2),
    "depth NaN": (DEPTH, npy(NAN), r"NaN or infinite values; expected metres, .*\(or ignore = nan"),
    "depth NaN ignored": (DEPTH + "ignore = nan", npy(NAN), np.nan_to_num(NAN, nan=0)),
    "depth infinite ignored": (DEPTH + "ignore = inf", npy(np.where(DRAWN == 3, np.inf, 1)), DRAWN != 3),
    "depth -1": (DEPTH, npy(DRAWN - 1), r"must hold metres in 1e-05\.\.1000, .*over -1\.\.2"),
    "depth -1 ignored": (DEPTH + "ignore = -1", npy(DRAWN - 1), np.where(DRAWN, DRAWN - 1, 0)),
    "depth that stores cannot hold": (DEPTH, npy(DRAWN * 1e-6), r"must hold metres in 1e-05\.\.1000"),
    "void edges": (EDGE, VOID, "holds 255; a map of edge is of 0 and 1, or"),
    "void edges ignored": (EDGE + "ignore = 255", VOID, np.where(DRAWN == 3, 255, TWO)),
    "white edges": (EDGE, png(TWO * 255), TWO),
    "white of 16 bits": (SALIENCY, png(TWO * 65535, 16), TWO),
    "white of a palette": (SALIENCY, png(TWO, 1, 3, INVERTED), 1 - TWO),
    "greys": (SALIENCY, png(DRAWN * 85), "holds (85|170); .* as ignore, or .* as threshold, in .tasks.t."),
    "greys with a threshold": (SALIENCY + "threshold = 170", png(DRAWN * 85), DRAWN > 1),
    "a threshold out of reach": (EDGE + "threshold = 128", png(TWO, 1), "up to 1, below threshold = 128"),
    "probabilities": (EDGE, npy(DRAWN / 3), "holds 0.[36]"),
    "probabilities with a threshold": (EDGE + "threshold = 0.5", npy(DRAWN / 3), DRAWN > 1),
    "normals": (NORMALS, png(COLOURS, 8, 2), ROUND),
    "clear normals": (NORMALS, png(with_alpha(COLOURS, 0), 8, 6), CLEARED),
    "a clear colour": (NORMALS, png(COLOURS, 8, 2, (b"tRNS", COLOURS[0, 0].astype(">u2").tobytes())),
                       CLEARED),
    "16 bits a channel": (NORMALS, png(COLOURS * 257, 16, 2), "16 bits .*; a .npy holds more than 8 bits"),
    "normals of a palette": (NORMALS, png(0 * DRAWN, 8, 3, palette(tuple(COLOURS[0, 0]))), ROUND),
    "black normals": (NORMALS, png(BLACK, 8, 2), r"length 1 \(127 or 128 in all three channels"),
    "black normals ignored": (NORMALS + "ignore = 0", png(BLACK, 8, 2), np.where(GONE, 0, ROUND)),
    "normals in an array": (NORMALS, npy(UP, ">f4", "F"), UP),
    "normals NaN ignored": (NORMALS + "ignore = nan", npy(np.where(GONE, np.nan, UP)), np.where(GONE, 0, UP)),
    "halves in an array": (NORMALS, npy((UP + 1) / 2), "must hold vectors of length 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_conventions_that_must_be_chosen(case: str, tmp_path: Path) -> None:
    check(tmp_path, *VALUES[case])


PALETTES: list[tuple[Any, Any, str]] = [
    (INDICES, INDICES, ""),
    (INDICES, (INDICES[0], INDICES[1] + b"more"[:3]), ""),
    (INDICES, palette((255, 255, 0), (9, 90, 9), (0, 0, 255), (200, 0, 0)),
     r"1\.png shows index 1 in another colour than .*0\.png; .*: save their numbers without a palette"),
    (palette(*[(i, i, i) for i in range(4)]), palette(*[(i, i, i) for i in range(4)]), ""),
    (palette((0, 0, 0), (85, 85, 85), (170, 170, 170), (255, 255, 255)), INDICES, "index 1 as the grey 85"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "message"), PALETTES)
def test_indices_are_classes_where_files_agree(first: Any, second: Any, message: str, tmp_path: Path) -> None:
    own = source(tmp_path, CLASSES, lambda i: png(DRAWN, 8, 3, second if i else first))
    if message:
        with pytest.raises(UserError, match=message):
            [own.read("train", i) for i in (0, 1)]
    else:
        assert all(np.array_equal(own.read("train", i).labels["t"], DRAWN) for i in range(4))
