"""A record's digest: what tells that no value of it was changed after its run wrote it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.files import read_json
from benchmark.spec.run import run_id

KEY = "digest"
FILES = "files"  # in a published record: {suffix: `of_file`} of what lies beside it


def of(record: dict[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of a record as read from a file, its own
    digest left out.
    """
    content = {key: value for key, value in record.items() if key != KEY}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def edited(record: dict[str, Any]) -> str:
    """What of a record is not as its run wrote it, its id or its digest, in words; "" where both are, or
    there is no digest.
    """
    for what, said, made in (
        ("id is not that of its spec", record["id"], run_id(record["spec"])),
        ("digest is not that of its content", record.get(KEY), of(record)),
    ):
        if said not in (None, made):
            return what
    return ""


def read_published(path: Path) -> dict[str, Any]:
    """Return a published record of a trial. Raises `UserError` where it was edited."""
    record = read_json(path, "restore it or remove it")
    what = "id is not that of its name" if record.get("id") != path.stem else edited(record)
    if what:
        raise UserError(f"{path} was edited: its {what}; restore it or remove it.")
    return record


def of_file(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file. Raises `OSError`."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def beside(path: Path, record: dict[str, Any]) -> str:
    """What is wrong with the files beside a published record, without a full stop; "" if they are those that
    it names.
    """
    named = record.get(FILES, {})
    if not isinstance(named, dict) or not named.keys() <= {".npz", ".webp"}:
        return f"{path} is damaged: {FILES} is no table of the files .npz and .webp beside it"
    for suffix, said in named.items():
        file = path.with_suffix(suffix)
        try:
            if of_file(file) != said:
                return f"{file} is not what was published with {path.name}: it was changed or exchanged"
        except OSError as error:
            return f"{file}, which {path.name} names, could not be read: {error.strerror}"
    return ""


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its digest."""
    # As a file gives it back: keys that are numbers become texts, which sort otherwise.
    return record | {KEY: of(json.loads(json.dumps(record)))}
