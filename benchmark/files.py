"""Write files whole or not at all, and read JSON with an error that names the file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.errors import UserError


class writing:
    """Turn a failing write below `folder` into a `UserError` that says what failed and what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise UserError(
                f"could not write in {self.folder}: {error.strerror or error}; make room, permit writing "
                f"there, or name another "
                f"folder with --results; finished runs are untouched and the same command goes on from the "
                f"last checkpoint."
            ) from error


def dumps(value: dict[str, Any]) -> str:
    """JSON with one line for each key of the object: small, and still a readable difference under version
    control.
    """
    lines = (
        f"{json.dumps(k)}:{json.dumps(value[k], sort_keys=True, separators=(',', ':'))}"
        for k in sorted(value)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


@contextmanager
def replacing(path: Path, token: str) -> Iterator[Path]:
    """A draft beside `path` that takes its place when the block ends well. The token keeps two processes'
    drafts apart.
    """
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; a `UserError` names a file that is unreadable or truncated."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}); remove the folder {path.parent} and run the same command again."
        ) from None
    return value
