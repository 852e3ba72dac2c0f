"""A record's digest: what tells that no value of it was changed after its run wrote it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmark.files import file_hash

KEY = "digest"
FILES = "files"  # in a published record: {suffix: `of_file`} of what lies beside it


def of(record: dict[str, Any]) -> str:
    """Return 16 hex digits of the SHA-256 of a record's canonical JSON, as read, without its digest."""
    content = {key: value for key, value in record.items() if key != KEY}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def of_file(path: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a file. Raises `OSError`."""
    return file_hash(path)[:16]


def beside(path: Path, record: dict[str, Any]) -> str:
    """Return what is wrong with the files beside a published record, without a full stop; "" if nothing."""
    named = record.get(FILES, {})
    if not named.keys() <= {".npz", ".webp"}:
        return f"{path} is damaged: {FILES} is no table of the files .npz and .webp beside it"
    for suffix, expected in named.items():
        file = path.with_suffix(suffix)
        try:
            if of_file(file) != expected:
                return f"{file} is not what was published with {path.name}: it was changed or exchanged"
        except OSError as error:
            return f"{file}, which {path.name} names, could not be read: {error.strerror}"
    return ""


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its digest."""
    # As a file gives it back: keys that are numbers become texts, which sort otherwise.
    return record | {KEY: of(json.loads(json.dumps(record)))}
