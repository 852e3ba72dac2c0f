"""Image files as numbers: the one place that opens them, and says which of their forms hold what.

Photographs (JPEG, PNG, WebP) become RGB of 8 bits, scaled by their bit depth. Label maps are PNG or .npy, and
their numbers are those in the file: raw ones of 1, 2, 4, 8 or 16 bits, or the indices of a palette where a
map holds classes. A form that holds other numbers than were drawn (JPEG, transparency, colours or a palette
of them where one number a pixel belongs, channels of 16 bits, of which Pillow gives 8) is refused.
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
from benchmark.files import check_plain
from datasets.layouts.base import Array
from datasets.layouts.files import (
    LARGEST,
    check_shape,
    check_values,
    expected_shape,
    missing,
    one_line,
    read_npy,
)
from datasets.tasks import IGNORE

FORMATS = ("JPEG", "PNG", "WEBP")
PICTURE = "expected an RGB picture"
ORIENTATION = 0x0112  # of EXIF; 1 where the picture is as it was taken
# Modes that Pillow turns into RGB without cutting off a number.
_TO_RGB = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"}
_CHANNELS = {"L": "grey", "LA": "grey with transparency", "P": "a palette", "RGBA": "RGB with transparency"}
Image.MAX_IMAGE_PIXELS = LARGEST  # Pillow itself refuses twice as many
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `opened` does


class Photograph(NamedTuple):
    """Hold (H, W, 3) uint8 RGB, whether EXIF had it turned or mirrored, and whether its 16 bits say little.

    dark: of 65535, it uses 4095 at most, as a file of 12 bits that was never scaled.
    """

    pixels: Array
    turned: bool
    dark: bool


class Numbers(NamedTuple):
    """Hold the numbers of a map, (H, W) or (H, W, 3), and the largest that its format holds.

    most: 255 of 8 bits, 65535 of 16; None of a .npy.
    """

    values: Array
    most: int | None

    @property
    def white(self) -> Array:
        """Tell which numbers are more than half of the largest; bool."""
        assert self.most is not None
        above: Array = self.values > self.most // 2
        return above


@contextmanager
def opened(path: Path, expected: str, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image file of one of a few formats, checksums compared.

    expected: the end of the sentence. Raises `UserError` for a file that is missing, unreadable, damaged, of
    another format, animated, or of more pixels than `files.LARGEST`; also for what fails while it is in use.
    """
    named = " or ".join(filter(None, (", ".join(formats[:-1]), formats[-1]))).replace("WEBP", "WebP")
    try:
        check_plain(path)
        with Image.open(path, formats=formats) as picture:
            if picture.width * picture.height > LARGEST:
                raise Image.DecompressionBombError
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                raise UserError(f"{path} is an animation; {expected}.")
            if picture.format == "PNG":  # Pillow decodes pixels without a look at their checksum
                with Image.open(path, formats=formats) as other:
                    other.verify()
            yield picture
    except UserError:
        raise
    except FileNotFoundError:
        raise missing(path, expected) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path} has more than {LARGEST // 10**6} million pixels; {expected}.") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is no {named} file, or damaged; {expected}.") from None
    except Exception as error:  # whatever a damaged file makes of a decoder
        if isinstance(error, OSError) and error.strerror:  # Pillow's own have none
            raise UserError(f"{path} could not be read: {error.strerror}; {expected}.") from error
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{path} is damaged ({reason}); {expected}.") from error


def rgb(picture: Image.Image, upright: bool = True) -> Photograph:
    """Turn a picture into RGB of 8 bits; 16 bits of grey are scaled by 1/256.

    upright: turned as its EXIF orientation says. Raises `ValueError` for a mode of numbers without a white.
    """
    bits = 16 if picture.mode.startswith("I;16") else _form(picture)[1]
    turned = upright and picture.getexif().get(ORIENTATION, 1) in range(2, 9)
    if turned:
        picture = ImageOps.exif_transpose(picture)
    if bits == 16 and picture.mode.startswith("I"):  # plain I in Pillow before 11.3
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, 2)
    elif picture.mode in _TO_RGB:
        pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    else:
        raise ValueError(f"colour mode {picture.mode} has no largest number")
    return Photograph(pixels, turned, bits == 16 and int(pixels.max()) < 16)


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
        channels, bits = _form(picture)
        values = np.asarray(picture)
        if channels == "LA" and bits == 8:
            if values[..., 1].min() < 255:
                raise _transparent(path, expected)
            channels, values = "L", values[..., 0]
        if channels not in ("L", "P"):
            found = f"{_CHANNELS.get(channels, channels)} of {bits} bits a channel"
            raise UserError(f"{path} holds {found}, not one number a pixel; {expected}.")
        most = 2**bits - 1
        if channels == "L" and bits in (2, 4):  # Pillow spreads them over 0..255
            values = values // np.uint8(255 // most)
        values = values.astype(np.uint16 if bits == 16 else np.uint8)
        _check_opaque(path, picture, values, expected)
        if channels == "P" and not indices:
            values, most = _greys(path, picture, values, expected), 255
    check_shape(path, values, what, shape)
    return Numbers(values, most)


def load_classes(path: Path, shape: Sequence[int], count: int) -> Array:
    """Read a map (H, W) uint8 of classes 0..count-1, 255 where void. Raises `UserError` for another."""
    label = load_numbers(path, "classes", shape, indices=True).values
    right = bool(((label < count) | (label == IGNORE)).all())
    check_values(path, right, f"classes 0..{count - 1}, or {IGNORE} where void", label)
    return label.astype(np.uint8)


def load_colours(path: Path, what: str, shape: Sequence[int]) -> Array:
    """Read a map (H, W, 3) uint8 of colours that stand for numbers, from a .png of 8 bits a channel.

    Raises `UserError` when the file is missing, damaged, of another shape or form.
    """
    expected = expected_shape(what, shape)
    with opened(path, expected, ("PNG",)) as picture:
        channels, bits = _form(picture)
        if channels not in ("RGB", "RGBA", "P") or bits > 8:
            cure = "; a .npy holds more than 8 bits" if bits > 8 else ""
            found = f"{_CHANNELS.get(channels, channels)} of {bits} bits a channel"
            raise UserError(f"{path} holds {found}, not RGB of 8; {expected}{cure}.")
        values = np.asarray(picture)
        if channels == "RGBA":
            if values[..., 3].min() < 255:
                raise _transparent(path, expected)
            values = values[..., :3]
        _check_opaque(path, picture, values, expected)
        if channels == "P":
            values = _palette(path, picture, values, expected)[values]
    check_shape(path, values, what, shape)
    return values


def _form(picture: Image.Image) -> tuple[str, int]:
    """Return (channels, bits a channel) as the file of a picture has them, before it is loaded."""
    tile: Any = getattr(picture, "tile", None)
    if not tile:
        return picture.mode, 8
    raw = tile[0][3]
    found = re.fullmatch(r"([A-Z]+)(?:;(\d+)[BLN]?)?", str(raw))
    if raw == "1":
        return "L", 1
    if not found:
        return picture.mode, 8
    return found[1].replace("I", "L"), int(found[2] or 8)


def _check_opaque(path: Path, picture: Image.Image, values: Array, expected: str) -> None:
    """Raise `UserError` where a pixel is of the number or colour that a PNG declares transparent."""
    clear: Any = picture.info.get("transparency")
    if isinstance(clear, bytes):  # alpha of the first indices of a palette
        alpha = np.full(256, 255, np.uint8)
        alpha[: len(clear)] = np.frombuffer(clear, np.uint8)[:256]
        found = bool((alpha[values] < 255).any())
    elif isinstance(clear, int) and picture.mode == "1":
        found = bool((values == bool(clear)).any())
    else:
        found = clear is not None and bool(
            (values == np.array(clear)).reshape(*values.shape[:2], -1).all(-1).any()
        )
    if found:
        raise _transparent(path, expected)


def _transparent(path: Path, expected: str) -> UserError:
    cure = "save it without transparency, and pixels without a label by a number of their own"
    return UserError(f"{path} is transparent in places; {expected}: {cure}.")


def _palette(path: Path, picture: Image.Image, values: Array, expected: str) -> Array:
    """Return the (N, 3) uint8 colours of a palette that has one for every index."""
    colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    if values.max() >= len(colours):
        raise UserError(f"{path} holds index {values.max()} of a palette of {len(colours)}; {expected}.")
    return colours


def _greys(path: Path, picture: Image.Image, values: Array, expected: str) -> Array:
    colours = _palette(path, picture, values, expected)
    used = colours[np.bincount(values.ravel(), minlength=len(colours)) > 0]
    if (used != used[:, :1]).any():
        raise UserError(f"{path} holds a palette of colours, not one number a pixel; {expected}.")
    greys: Array = colours[:, 0][values]
    return greys
