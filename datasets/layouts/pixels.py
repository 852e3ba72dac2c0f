"""Image files as numbers: the one place that opens them, and says which of their forms hold what.

Photographs (JPEG, PNG, WebP) become RGB of 8 bits, scaled by their bit depth. Label maps are PNG or .npy, and
their numbers are those in the file: raw ones of 1, 2, 4, 8 or 16 bits, or the indices of a palette where a
map holds classes. A form that holds other numbers than were drawn (JPEG, transparency, a turn by EXIF,
colours where one number a pixel belongs, channels of 16 bits, of which Pillow gives 8) is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from benchmark.errors import UserError
from datasets.layouts.base import Array
from datasets.layouts.files import LARGEST, check_shape, check_values, expected_shape, opening, read_npy
from datasets.tasks import IGNORE

FORMATS = ("JPEG", "PNG", "WEBP")
PICTURE = "expected an RGB picture"
ORIENTATION = 0x0112  # of EXIF; 1 where the picture is as it was taken
# Modes that Pillow turns into RGB without cutting off a number.
_TO_RGB = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"}
_CHANNELS = {"L": "grey", "LA": "grey with transparency", "P": "a palette", "RGBA": "RGB with transparency"}
# Remarks, as `datasets.seen` says them.
TURNED = "images were turned or mirrored as their EXIF orientation says"
TURNED += "|their label maps must be drawn on what a viewer shows"
CLEAR = "images are transparent in places|their colours there count"
DARK = "images of 16 bits use no number above 16383|they are dark at 8, so scale them to 0..65535"
Image.MAX_IMAGE_PIXELS = LARGEST  # Pillow itself refuses twice as many
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `opened` does


class Photograph(NamedTuple):
    """Hold (H, W, 3) uint8 RGB, and what a person should hear of it."""

    pixels: Array
    remarks: tuple[str, ...]


class Numbers(NamedTuple):
    """Hold the numbers of a map (H, W), the largest that its format holds, and its palette.

    most: 255 of 8 bits, 65535 of 16; None of a .npy. palette: (N, 3) uint8 colours, of which the numbers are
    indices; None without one.
    """

    values: Array
    most: int | None
    palette: Array | None = None


@contextmanager
def opened(path: Path, expected: str, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image file of one of a few formats, checksums compared.

    expected: the end of the sentence. Raises `UserError` for a file that is missing, unreadable, damaged, of
    another format, animated, or of more pixels than `files.LARGEST`; also for what fails while it is in use.
    """
    named = " or ".join(filter(None, (", ".join(formats[:-1]), formats[-1]))).replace("WEBP", "WebP")
    with opening(path, expected, "is damaged"):
        try:
            with Image.open(path, formats=formats) as picture:
                if picture.width * picture.height > LARGEST:
                    raise Image.DecompressionBombError
                if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                    raise UserError(f"{path} is an animation; {expected}.")
                if picture.format == "PNG":  # Pillow decodes pixels without a look at their checksum
                    with Image.open(path, formats=formats) as other:
                        other.verify()
                yield picture
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise UserError(f"{path} has more than {LARGEST // 10**6} million pixels; {expected}.") from None
        except UnidentifiedImageError:
            raise UserError(f"{path} is no {named} file, or damaged; {expected}.") from None


def rgb(picture: Image.Image, upright: bool = True) -> Photograph:
    """Turn a picture into RGB of 8 bits; 16 bits of grey are scaled by 1/256.

    upright: turned as its EXIF orientation says. Raises `ValueError` for a mode of numbers without a white.
    """
    bits = 16 if picture.mode.startswith("I;16") else _form(picture)[1]
    remarks = [TURNED] * (upright and _is_turned(picture))
    if remarks:
        picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data and _is_clear(picture, np.asarray(picture)):
        remarks.append(CLEAR)
    if bits == 16 and picture.mode.startswith("I"):  # plain I in Pillow before 11.3
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, 2)
    elif picture.mode in _TO_RGB:
        pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    else:
        raise ValueError(f"colour mode {picture.mode} has no largest number")
    if bits == 16 and pixels.max() < 64:  # as what a camera wrote
        remarks.append(DARK)
    return Photograph(pixels, tuple(remarks))


def load_photograph(path: Path, upright: bool = False, expected: str = PICTURE) -> Photograph:
    """Read a photograph. Raises `UserError` as `opened` does."""
    with opened(path, expected) as picture:
        return rgb(picture, upright)


def load_numbers(path: Path, what: str, shape: Sequence[int], *, indices: bool = False) -> Numbers:
    """Read a map (H, W) of one number a pixel from a .png or .npy, as the file has them.

    indices: a palette's stand for themselves; else its colours must be greys. Raises `UserError` when the
    file is missing, damaged, of another shape or of a form that holds no such numbers.
    """
    expected = expected_shape(what, shape)
    if path.suffix.lower() == ".npy":
        array = read_npy(path, expected)
        array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
        check_shape(path, array, what, shape)
        return Numbers(array.astype(np.uint8) if array.dtype == bool else array, None)
    with opened(path, expected, ("PNG",)) as picture:
        values, bits, palette = _stored(path, picture, "L", expected)
    check_shape(path, values, what, shape)
    if palette is None or indices:
        return Numbers(values, 2**bits - 1, palette)
    used = palette[np.bincount(values.ravel(), minlength=len(palette)) > 0]
    if (used != used[:, :1]).any():
        raise UserError(f"{path} holds a palette of colours, not one number a pixel; {expected}.")
    return Numbers(palette[:, 0][values], 255)


def load_classes(path: Path, shape: Sequence[int], count: int) -> Array:
    """Read a class map (H, W) uint8 of numbers below `count`, 255 unknown, as `load_numbers` does."""
    found = load_numbers(path, "classes", shape, indices=True).values
    right = bool(((found < count) | (found == IGNORE)).all())
    check_values(path, right, f"classes 0..{count - 1}, or {IGNORE} where void", found)
    return found.astype(np.uint8)  # a copy, which may be written


def load_white(path: Path, what: str, shape: Sequence[int]) -> Array:
    """Read (H, W) uint8 from a .png, 1 where more than half white. Raises `UserError` for 16 bits."""
    values, most, _ = load_numbers(path, what, shape)
    if most is None or most > 255:
        raise UserError(f"{path} is not a map of 8 bits; {expected_shape(what, shape)}.")
    return (values > most // 2).astype(np.uint8)


def load_colours(path: Path, what: str, shape: Sequence[int]) -> Array:
    """Read colours (H, W, 3) uint8 from a .png of 8 bits a channel. Raises `UserError` for another."""
    expected = expected_shape(what, shape)
    with opened(path, expected, ("PNG",)) as picture:
        values, _, palette = _stored(path, picture, "RGB", expected)
    if palette is not None:
        values = palette[values]
    check_shape(path, values, what, shape)
    return values


def _stored(path: Path, picture: Image.Image, wanted: str, expected: str) -> tuple[Array, int, Array | None]:
    """Return the numbers of a PNG as the file has them, its bits a channel, and its palette.

    wanted: "L" or "RGB". Raises `UserError` for what would be read as other numbers than were drawn: other
    channels, of 16 bits too where Pillow gives 8, pixels that are transparent, and pictures to be turned.
    """
    channels, bits = _form(picture)
    values = np.asarray(picture)
    if channels not in (wanted, f"{wanted}A", "P") or (bits > 8 and channels != "L"):
        found = f"{_CHANNELS.get(channels, channels)} of {bits} bits a channel"
        if wanted == "RGB":
            cure = "; a .npy holds more than 8 bits" if bits > 8 else ""
            raise UserError(f"{path} holds {found}, not RGB of 8; {expected}{cure}.")
        cure = "save the numbers, not colours that stand for them"
        if (values[..., :1] == values[..., :3]).all() or channels == "LA":
            cure = "save one of its channels, as they are alike"
        raise UserError(f"{path} holds {found}, not one number a pixel; {expected}: {cure}.")
    most = 2**bits - 1
    if channels == "L" and bits in (2, 4):  # Pillow spreads them over 0..255
        values = values // np.uint8(255 // most)
    values = values.astype(np.uint16 if bits == 16 else np.uint8, copy=False)
    if _is_clear(picture, values):
        cure = "save it without transparency, and pixels without a label by a number of their own"
        raise UserError(f"{path} is transparent in places; {expected}: {cure}.")
    if _is_turned(picture):
        cure = "save it as a viewer shows it, without that tag"
        raise UserError(f"{path} is to be turned, as its EXIF orientation says; {expected}: {cure}.")
    if channels != "P":
        return values if channels == wanted else values[..., 0 if wanted == "L" else slice(3)], bits, None
    palette = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    if values.max() >= len(palette):
        raise UserError(f"{path} holds index {values.max()} of a palette of {len(palette)}; {expected}.")
    return values, bits, palette


def _form(picture: Image.Image) -> tuple[str, int]:
    """Return (channels, bits a channel) as the file of a picture has them, before it is loaded."""
    tile: Any = getattr(picture, "tile", None)
    raw = tile[0][3] if tile else None
    if raw == "1":
        return "L", 1
    found = re.fullmatch(r"([A-Z]+)(?:;(\d+)[BLN]?)?", str(raw or ""))
    return (found[1].replace("I", "L"), int(found[2] or 8)) if found else (picture.mode, 8)


def _is_turned(picture: Image.Image) -> bool:
    try:
        return picture.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception:  # Pillow's readers of EXIF raise many kinds; what cannot be read turns nothing
        return False


def _is_clear(picture: Image.Image, values: Array) -> bool:
    """Tell whether a pixel of raw values is transparent: by alpha, or as what a PNG declares to be so."""
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return bool(values[..., -1].min() < 255)
    clear: Any = picture.info.get("transparency")
    if isinstance(clear, bytes):  # alpha of the first indices of a palette
        alpha = np.full(256, 255, np.uint8)
        alpha[: len(clear)] = np.frombuffer(clear, np.uint8)[:256]
        return bool((alpha[values] < 255).any())
    if clear is None:
        return False
    same = values == np.array(bool(clear) if picture.mode == "1" else clear)
    return bool(same.reshape(*values.shape[:2], -1).all(-1).any())
