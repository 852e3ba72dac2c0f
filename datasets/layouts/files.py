"""Single files of other people's, read without running code from them; what is wrong is one sentence."""

from __future__ import annotations

import json
import re
import struct
import threading
import tokenize
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from benchmark.errors import UserError
from datasets.layouts.base import Array

# A .npy header is parsed as Python text, and Python 3.11's parser fails now and then when two threads use it.
_PARSER = threading.Lock()
COMPRESSED = 15  # the kind of element of a MATLAB 5 file that holds a deflated one


def load_npy(path: Path, what: str, shape: Sequence[int], *others: Sequence[int]) -> Array:
    """Read the numbers of a .npy file, float64 if stored so, else float32.

    A size of -1 in `shape` is free; others: shapes with other numbers of dimensions that will do as well.
    Raises `UserError` when the file is missing, damaged, pickled, of another shape, or holds NaN or infinity.
    """
    expected = _expected(what, shape)
    try:
        with path.open("rb") as file, _PARSER:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise missing(path, expected) from None
    # The header is Python text.
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, tokenize.TokenError) as error:
        raise UserError(
            f"{path} is damaged or not a plain .npy file ({one_line(error)}); {expected}."
        ) from error
    if array.dtype.kind not in "bfiu":
        raise UserError(f"{path} does not hold one array of numbers; {expected}.")
    check_shape(path, array, what, next((other for other in others if len(other) == array.ndim), shape))
    if array.dtype != np.float64:
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{path} holds NaN or infinite values; {expected}.")
    return array


def load_image(
    path: Path, what: str, shape: Sequence[int], *, upright: bool = False, deep: bool = False
) -> Array:
    """Read a picture's pixels, uint8.

    (H, W, 3) RGB where `shape` has three sizes; else (H, W) as stored: grey, or palette indices. upright:
    turned as its EXIF orientation says. deep: up to 16 bits a pixel, as float32. Raises `UserError` when the
    file is missing, damaged, of another size, or has several channels where one is expected.
    """
    expected = _expected(what, shape)
    try:
        with Image.open(path) as picture:
            if len(shape) == 3:
                array = np.array((ImageOps.exif_transpose(picture) if upright else picture).convert("RGB"))
            elif picture.mode in ("L", "P", "1"):
                array = np.array(picture.convert("L") if picture.mode == "1" else picture)
            else:
                wide = np.asarray(picture) if picture.mode in ("I;16", "I") else None
                if wide is None or not (deep or (wide.min() >= 0 and wide.max() < 256)):
                    raise UserError(
                        f"{path} has colour mode {picture.mode}, not one 8-bit channel; {expected}."
                    )
                array = wide.astype(np.float32 if deep else np.uint8)
    except FileNotFoundError:
        raise missing(path, expected) from None
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is damaged or not a picture ({one_line(error)}); {expected}.") from error
    check_shape(path, array, what, shape)
    return array


def load_mat(path: Path, key: str, what: str) -> Any:
    """Read the variable `key` of a MATLAB 5 file.

    Raises `UserError` when the file is missing, damaged or has no such variable.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(BytesIO(_inflated(path.read_bytes())), variable_names=[key])  # type: ignore[arg-type]
    except FileNotFoundError:
        raise missing(path, f"expected {what}") from None
    except Exception as error:  # zlib's own, and whatever else a damaged file makes of a reader
        found = f"({type(error).__name__}: {one_line(error)})"
        raise UserError(f"{path} is damaged or not a MATLAB 5 file {found}; expected {what}.") from error
    if key not in content:
        raise UserError(f"{path} has no variable {key!r}; expected {what}.")
    return content[key]


def _inflated(stored: bytes) -> bytes:
    """A MATLAB 5 file without compression. Raises `ValueError` or `zlib.error` unless it is whole.

    scipy parses what it inflates before it knows the check sum, and what a damaged file inflates to can crash
    the process.
    """
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(stored[124:128])
    if order is None:
        raise ValueError("it has no MATLAB 5 header")
    start, parts = 128, [stored[:128]]
    while start < len(stored) or len(parts) == 1:
        kind, size = struct.unpack(order + "II", stored[start : start + 8].ljust(8, b"\0"))
        element = stored[start : start + 8 + size]
        if not size or len(element) < 8 + size:
            raise ValueError("it is cut off")
        parts.append(zlib.decompress(element[8:]) if kind == COMPRESSED else element)
        start += 8 + size
    return b"".join(parts)


def numbers(path: Path, value: Any, what: str, shape: Sequence[int]) -> Array:
    """Check that a variable of a file is an array of numbers of this shape."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "bfiu":
        raise UserError(f"{path} does not hold one array of numbers; {_expected(what, shape)}.")
    check_shape(path, value, what, shape)
    return value


def read_list(path: Path, what: str) -> tuple[str, ...]:
    """Read the lines of a text file that are not empty, plain names.

    Raises `UserError` when it is missing, empty, repeats itself or names a path.
    """
    try:
        lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except FileNotFoundError:
        raise missing(path, f"expected {what}, one a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} could not be read ({one_line(error)}); expected {what}, one a line."
        ) from None
    if not lines:
        raise UserError(f"{path} is empty; expected {what}, one a line.")
    if len(set(lines)) < len(lines):
        twice = next(line for i, line in enumerate(lines) if line in lines[:i])
        raise UserError(f"{path} names {twice!r} twice; expected {what}, each once.")
    for line in lines:
        if "/" in line or "\\" in line or line.startswith("."):
            raise UserError(f"{path} names {line!r}, which is not a plain name; expected {what}, one a line.")
    return lines


def source_variant(folder: Path, dataset: str) -> str | None:
    """Read the variant that a folder's SOURCE.json names; None without it.

    Raises `UserError` when the file is damaged, is of another data set, or names no variant.
    """
    path = folder / "SOURCE.json"
    expected = f'expected JSON such as {{"dataset": "{dataset}", "variant": "derived-normals"}}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} could not be read ({one_line(error)}); {expected}.") from None
    name = content.get("variant") if isinstance(content, dict) and content.get("dataset") == dataset else None
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name):
        raise UserError(f"{path} does not name a variant of {dataset}; {expected}.")
    return name


def check_shape(path: Path, array: Array, what: str, shape: Sequence[int]) -> None:
    """Raise `UserError` unless an array has this shape and is not empty."""
    fits = array.ndim == len(shape) and all(n in (-1, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or not array.size:
        raise UserError(f"{path} has shape {array.shape}; {_expected(what, shape)}.")


def check_values(path: Path, right: bool, expected: str, values: Array) -> None:
    """Raise `UserError` unless `right`, with the values' range."""
    if not right:
        found = f"those found range over {values.min():.4g}..{values.max():.4g}"
        raise UserError(f"{path} must hold {expected}, but {found}.")


def missing(path: Path, expected: str) -> UserError:
    """Make the error of a file that is not there."""
    return UserError(f"{path} is missing; {expected}.")


def one_line(error: BaseException) -> str:
    """Return the start of an error's message, on one line."""
    return " ".join(str(error).split())[:120]


def _expected(what: str, shape: Sequence[int]) -> str:
    return f"expected {what} of shape ({', '.join('any' if n < 0 else str(n) for n in shape)})"
