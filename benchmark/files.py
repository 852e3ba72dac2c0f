"""Write files whole or not at all, and read JSON and TOML with an error that names the file."""

from __future__ import annotations

import errno
import functools
import json
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.errors import UserError


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


def dumps(value: dict[str, Any]) -> str:
    """Return JSON with a line a key: small, and still a readable difference under version control."""
    compact = functools.partial(json.dumps, sort_keys=True, separators=(",", ":"))
    lines = (f"{json.dumps(key)}:{compact(value[key])}" for key in sorted(value))
    return "{\n" + ",\n".join(lines) + "\n}\n"


@contextmanager
def replacing(path: Path, token: str) -> Iterator[Path]:
    """Give a draft beside `path` that takes its place when the block ends well; each process has a token."""
    draft = path.with_name(f".{token}.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write by a rename, so that a reader sees the old or the new content."""
    with replacing(path, uuid.uuid4().hex) as draft:
        draft.write_text(dumps(value), encoding="utf-8")


def check_plain(path: Path) -> None:
    """Raise `OSError` unless a path is a file with an end: to open a pipe waits for its writer."""
    if not path.is_file():
        path.stat()  # says what else is wrong
        raise OSError(errno.EINVAL, "it is no plain file", str(path))


def read_text(path: Path) -> str:
    """Return a file's UTF-8, without a byte-order mark. Raises `OSError` or `UnicodeDecodeError`."""
    check_plain(path)
    return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, cure: str = "") -> dict[str, Any]:
    """Return a JSON object; a `UserError` names a file that is unreadable or damaged, and the cure."""
    cure = cure or f"remove the folder {path.parent} and run the same command again"
    try:
        value = json.loads(read_text(path))
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is truncated or not JSON ({error}); {cure}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object; {cure}.")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables; a `UserError` names the file, and the line where it is malformed."""
    try:
        return tomllib.loads(read_text(path))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8; give a TOML file.") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        raise UserError(f"{path} is not valid TOML: {error}; correct that line.") from None
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
