"""Single files of other people's, read without running code from them; what is wrong is one sentence."""

from __future__ import annotations

import math
import struct
import threading
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError, reason, shown
from benchmark.files import check_plain, read_text
from datasets.layouts.base import Array

# A .npy header is parsed as Python text, and Python 3.11's parser fails now and then when two threads use it.
_PARSER = threading.Lock()
_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # in UTF-8, which differs for names of fields alone
}
LONGEST_HEADER = 10_000  # bytes
LARGEST = 100_000_000  # pixels of an image or map
MATRIX, COMPRESSED = 14, 15  # kinds of elements of a MATLAB 5 file: an array; a deflated element
CELLS, SPARSE_OR_CODE = (1, 2, 3), (5, 16, 17)  # kinds of arrays: of arrays; without a number for each place
DEEPEST = 50  # arrays in each other
LARGEST_MAT = 512 << 20  # bytes, inflated


@contextmanager
def opening(path: Path, expected: str, wrong: str = "could not be read") -> Iterator[None]:
    """Turn what fails while a file is read into a `UserError` that names it.

    expected: the end of the sentence. wrong: what a file is whose content is not what it should be.
    """
    try:
        check_plain(path)
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise missing(path, expected) from None
    except Exception as error:  # whatever a damaged file makes of a reader
        if isinstance(error, OSError) and error.strerror:  # a library's own have none
            raise UserError(f"{path} could not be read: {error.strerror}; {expected}.") from error
        raise UserError(f"{path} {wrong} ({reason(error)[:120]}); {expected}.") from error


def load_npy(path: Path, what: str, shape: Sequence[int], *others: Sequence[int]) -> Array:
    """Read the numbers of a .npy file, float64 if stored so, else float32.

    A size of -1 in `shape` is free; others: shapes with other numbers of dimensions that will do as well.
    Raises `UserError` when the file is missing, damaged, pickled, of another shape, or holds NaN or infinity.
    """
    expected = expected_shape(what, shape)
    array = read_npy(path, expected)
    check_shape(path, array, what, next((other for other in others if len(other) == array.ndim), shape))
    if array.dtype != np.float64:
        array = array.astype(np.float32)
    check_finite(path, array, expected)
    return array


def check_finite(path: Path, array: Array, expected: str) -> None:
    """Raise `UserError` for NaN and infinity."""
    if not np.isfinite(array).all():
        raise UserError(f"{path} holds NaN or infinite values; {expected}.")


def read_npy(path: Path, expected: str) -> Array:
    """Read a .npy file of numbers of any type and order in memory; in native byte order.

    Raises `UserError` when it is missing, damaged, pickled, of other values, or longer or shorter than its
    header says, which is looked at before anything of that size is made.
    """
    damaged = "is damaged or not a plain .npy file"
    with opening(path, expected, damaged), path.open("rb") as file, _PARSER:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _HEADERS[version](file, max_header_size=LONGEST_HEADER)
        if dtype.kind not in "bfiu":
            raise UserError(f"{path} does not hold one array of numbers but {str(dtype)[:60]}; {expected}.")
        if math.prod(shape[:2]) > LARGEST or min(shape, default=0) < 0:
            raise UserError(f"{path} has more than {LARGEST // 10**6} million pixels; {expected}.")
        promised = file.tell() + math.prod(shape) * dtype.itemsize
        if (length := path.stat().st_size) != promised:
            raise ValueError(f"it has {length} bytes and its header says {promised}")
        file.seek(0)
        array: Array = np.lib.format.read_array(file, max_header_size=LONGEST_HEADER)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def load_mat(path: Path, key: str, what: str) -> Any:
    """Read the variable `key` of a MATLAB 5 file: structs as dicts, arrays of them and cells as lists.

    Raises `UserError` when the file is missing, damaged or has no such variable.
    """
    from scipy.io import loadmat

    with opening(path, f"expected {what}", "is damaged or not a MATLAB 5 file"):
        stored: Any = BytesIO(_inflated(path.read_bytes()))
        content = loadmat(stored, variable_names=[key], simplify_cells=True)
    if key not in content:
        raise UserError(f"{path} has no variable {key!r}; expected {what}.")
    return content[key]


def _inflated(stored: bytes) -> bytes:
    """A MATLAB 5 file without compression. Raises `ValueError` or `zlib.error` unless it is whole.

    scipy parses what it inflates before it knows the check sum, and what a damaged file holds can crash the
    process: looked up beyond the end of a table, nested beyond the stack, or allocated as claimed.
    """
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(stored[124:128])
    if order is None:
        raise ValueError("it has no MATLAB 5 header")
    start, parts, room = 128, [stored[:128]], LARGEST_MAT
    while start < len(stored) or len(parts) == 1:
        kind, size = struct.unpack(order + "II", stored[start : start + 8].ljust(8, b"\0"))
        element = stored[start : start + 8 + size]
        if not size or len(element) < 8 + size:
            raise ValueError("it is cut off")
        if kind == COMPRESSED:
            inflating = zlib.decompressobj()
            element = inflating.decompress(element[8:], room + 1)
            if len(element) <= room and not inflating.eof:
                raise ValueError("it is cut off")
        if (room := room - len(element)) < 0:
            raise ValueError(f"it holds more than {LARGEST_MAT >> 20} MiB")
        _check_elements(element, order)
        parts.append(element)
        start += 8 + size
    return b"".join(parts)


def _check_elements(data: bytes, order: str) -> None:
    """Raise `ValueError` unless elements lie in each other as they say, and no array claims more."""
    todo, data, kind_of_array = [(0, len(data), 0)], data + bytes(8), 0
    while todo:
        at, end, depth = todo.pop()
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        first = at
        while at < end:
            kind, size = struct.unpack_from(order + "II", data, at)
            small = kind >> 16
            if not 1 <= (kind & 0xFFFF) <= 18 or at + 8 + (0 if small else size) > end:
                raise ValueError("it is damaged")
            if kind == MATRIX:
                todo.append((at + 8, at + 8 + size, depth + 1))
            if depth and at == first:
                kind_of_array = struct.unpack_from(order + "I", data, at + 8)[0] & 0xFF if size == 8 else 0
                if not 1 <= kind_of_array <= 17:
                    raise ValueError("it is damaged")
            elif depth and at == first + 16 and kind_of_array not in SPARSE_OR_CODE:
                sides = struct.unpack_from(f"{order}{size // 4}i", data, at + 8) if not small else (0,)
                if math.prod(sides) * (8 if kind_of_array in CELLS else 1) > end - first:
                    raise ValueError(f"it claims {'x'.join(map(str, sides))[:60]} elements")
            at += 8 if small else 8 + size + -size % 8


def numbers(path: Path, value: Any, what: str, shape: Sequence[int]) -> Array:
    """Check that a variable of a file is an array of numbers of this shape."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "bfiu":
        raise UserError(f"{path} does not hold one array of numbers; {expected_shape(what, shape)}.")
    check_shape(path, value, what, shape)
    return value


def read_list(path: Path, what: str, folders: bool = False) -> tuple[str, ...]:
    """Read the lines of a text file that are not empty, plain names, with accents composed (NFC).

    folders: names may have those of folders before them. Raises `UserError` when it is missing, empty,
    repeats itself or names another path.
    """
    expected = f"expected {what}, one a line"
    with opening(path, expected):
        text = unicodedata.normalize("NFC", read_text(path))
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise UserError(f"{path} is empty; {expected}.")
    if len(set(lines)) < len(lines):
        twice = next(line for i, line in enumerate(lines) if line in lines[:i])
        raise UserError(f"{path} names {shown(twice)} twice; expected {what}, each once.")
    for line in lines:
        if ("/" in line and not folders) or "\\" in line or line.startswith("."):
            raise UserError(f"{path} names {shown(line)}, which is not a plain name; {expected}.")
    return lines


def check_shape(path: Path, array: Array, what: str, shape: Sequence[int]) -> None:
    """Raise `UserError` unless an array has this shape and is not empty."""
    fits = array.ndim == len(shape) and all(n in (-1, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or not array.size:
        raise UserError(f"{path} has shape {array.shape}; {expected_shape(what, shape)}.")


def check_values(path: Path, right: bool, expected: str, values: Array) -> None:
    """Raise `UserError` unless `right`, with the values' range."""
    if not right:
        found = f"those found range over {values.min():.4g}..{values.max():.4g}"
        raise UserError(f"{path} must hold {expected}, but {found}.")


def missing(path: Path, expected: str) -> UserError:
    """Make the error of a file that is not there."""
    return UserError(f"{path} is missing; {expected}.")


def expected_shape(what: str, shape: Sequence[int]) -> str:
    """Say in words what a file should hold."""
    return f"expected {what} of shape ({', '.join('any' if n < 0 else str(n) for n in shape)})"
