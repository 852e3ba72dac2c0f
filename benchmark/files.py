"""Write files whole or not at all, and read what others wrote: bounded, checked, and never run.

JSON, TOML, tensors and arrays come through here, whoever wrote them: no size, depth or number in them may do
more than raise a sentence that names the file.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import json
import math
import pickletools
import tomllib
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from benchmark.errors import UserError, reason

if TYPE_CHECKING:
    import numpy as np

SIZE = 32 << 20  # bytes of JSON or TOML, at most; a record has 16 KiB
DEPTH = 50  # of tables and lists in one another
ARRAYS = 256 << 20  # bytes that an .npz file may unpack to


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failing write below `folder` into a `UserError` that says what failed and what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"could not write in {folder}: {error.strerror or error}; make room, permit writing there, or "
            f"name another folder with --results: finished runs are untouched, and the same command goes on "
            f"from the last checkpoint."
        ) from error


def file_hash(path: Path) -> str:
    """Compute a file's SHA-256. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dumps(value: dict[str, Any]) -> str:
    """Return JSON with a line a key: small, and still a readable difference under version control."""
    compact = functools.partial(json.dumps, sort_keys=True, separators=(",", ":"))
    lines = (f"{json.dumps(key)}:{compact(value[key])}" for key in sorted(value))
    return "{\n" + ",\n".join(lines) + "\n}\n"


@contextmanager
def replacing(path: Path, token: str = "") -> Iterator[Path]:
    """Give a draft beside `path` that takes its place when the block ends well; a token names it."""
    draft = path.with_name(f".{token or uuid.uuid4().hex}.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write by a rename, so that a reader sees the old or the new content."""
    with replacing(path) as draft:
        draft.write_text(dumps(value), encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a text by a rename, in a folder that is made where it is missing. Raises `UserError`."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")


def check_plain(path: Path) -> None:
    """Raise `OSError` unless a path is a file with an end: to open a pipe waits for its writer."""
    if not path.is_file():
        path.stat()  # says what else is wrong
        raise OSError(errno.EINVAL, "it is no plain file", str(path))


def read_bytes(path: Path, limit: int = SIZE) -> bytes:
    """Return a file's content. Raises `OSError`, and `ValueError` for more than `limit` bytes."""
    check_plain(path)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it has more than {limit >> 20} MiB")
    return content


def read_text(path: Path) -> str:
    """Return a file's UTF-8, without a byte-order mark. Raises `OSError` or `ValueError`."""
    return read_bytes(path).decode("utf-8-sig")


def parse(content: str | bytes, read: Callable[[str], Any]) -> Any:
    """Return what `read` makes of a text in UTF-8, with or without a byte-order mark.

    Raises `ValueError` where it cannot, for whole numbers beyond 64 bits, for more than `DEPTH` lists and
    tables in one another, and for halves of characters.
    """
    try:
        value = read(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
        level = [value]
        for _ in range(DEPTH):
            level = [inner for outer in level for inner in _inside(outer)]
            if not level:
                return value
    except RecursionError:
        pass
    raise ValueError(f"lists and tables are nested more than {DEPTH} deep")


def _inside(value: Any) -> Iterator[Any]:
    """Yield the parts of a value. Raises `ValueError` for what no file of plain values should hold."""
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, str):
        value.encode()
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("it holds a whole number beyond 64 bits")


def read_json(path: Path, cure: str = "") -> dict[str, Any]:
    """Return a JSON object; a `UserError` names a file that is unreadable or damaged, and the cure."""
    cure = cure or f"remove the folder {path.parent} and run the same command again"
    try:
        value = parse(read_bytes(path), json.loads)
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: it is truncated or not JSON ({error}); {cure}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object; {cure}.")
    return value


def read_toml(path: Path, **options: Any) -> dict[str, Any]:
    """Return a TOML file's tables; a `UserError` names the file, and the line where it is malformed.

    options: of `tomllib.loads`.
    """
    try:
        found: dict[str, Any] = parse(read_bytes(path), functools.partial(tomllib.loads, **options))
        return found
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8; give a TOML file.") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {error}; correct that line.") from None
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None


def read_tensors(source: Path | BinaryIO, device: str = "cpu", checked: bool = True) -> Any:
    """Return the tables of tensors that `torch.save` wrote. Raises `OSError` or `ValueError`.

    No code of the file runs, its checksums are compared, which torch does not do, and nothing in it is
    larger than it is in the file. checked: refuse torch's form of before 2020, which has no checksums.
    """
    import torch

    if isinstance(source, Path):
        check_plain(source)
        with source.open("rb") as file:
            return read_tensors(file, device, checked)
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as content:
                if any(member.compress_type != zipfile.ZIP_STORED for member in content.infolist()):
                    raise ValueError("its parts are compressed, which torch does not do")
                if damaged := content.testzip():
                    raise ValueError(f"the checksum of {damaged} is wrong")
                for name in content.namelist():
                    if name.endswith("data.pkl"):
                        _check_pickle(io.BytesIO(content.read(name)))
        elif checked:
            raise ValueError("it is cut off, or no file of torch's with checksums")
        else:
            source.seek(0)
            for _ in range(5):  # magic, version, system, content, names of storages
                _check_pickle(source)
        source.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own about files of its old form
            return torch.load(source, map_location=device, weights_only=True)
    except (OSError, ValueError):
        raise
    except Exception as error:  # a damaged file raises many kinds
        raise ValueError(reason(error)[:160]) from None


def _check_pickle(source: BinaryIO) -> None:
    """Raise `ValueError` for the one call that torch would carry out and that may fill the memory."""
    for opcode, argument, _ in pickletools.genops(source):
        if opcode.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise ValueError("it holds a call of bytearray, which no tensor needs")


def read_arrays(path: Path, limit: int = ARRAYS) -> dict[str, np.ndarray]:
    """Return {name: array} of an .npz file, its checksums compared. Raises `OSError` or `ValueError`.

    limit: bytes that all arrays may have together.
    """
    import numpy as np

    found = {}
    try:
        check_plain(path)
        with path.open("rb") as file, zipfile.ZipFile(file) as content:
            if sum(member.file_size for member in content.infolist()) > limit:
                raise ValueError(f"it unpacks to more than {limit >> 20} MiB")
            for member in content.infolist():
                data = io.BytesIO(content.read(member))
                form = np.lib.format
                header = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
                shape, _, dtype = header[form.read_magic(data)](data)
                if math.prod(shape) * dtype.itemsize != len(data.getbuffer()) - data.tell():
                    raise ValueError(f"{member.filename} is not as long as it says")
                data.seek(0)
                found[member.filename.removesuffix(".npy")] = form.read_array(data, allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # a damaged file raises many kinds
        raise ValueError(reason(error)) from None
    return found
