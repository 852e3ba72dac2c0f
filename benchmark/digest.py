"""A record's digest: what tells that no value of it was changed after its run wrote it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY = "digest"


def of(record: dict[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of a record as read from a file, its own digest left out."""
    content = {key: value for key, value in record.items() if key != KEY}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its digest."""
    # As a file gives it back: keys that are numbers become texts, which sort otherwise.
    return record | {KEY: of(json.loads(json.dumps(record)))}
