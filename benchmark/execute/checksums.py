"""The hash of a file that came from elsewhere: compared with the one it must have, or with the one it had the
first time.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Protocol

from benchmark.errors import UserError


class Watcher(Protocol):
    """Who is told how a long job fares. progress: bytes done, of how many if known. note: a sentence worth
    reading.
    """

    def progress(self, what: str, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


class Mismatch(UserError):
    """The content is not what it must be."""


def check(path: Path, target: Path, watcher: Watcher, sha256: str | None = None) -> None:
    """Compare `path`, the file that is or is to become `target`, with `sha256` or else with what
    TARGET.sha256 holds.

    That file is written, in the format of `sha256sum --check`, when the content is right or nothing is known
    of it yet. Raises `Mismatch` when the content is not what it must be, and `UserError` when TARGET.sha256
    is damaged.
    """
    record = target.with_name(f"{target.name}.sha256")
    recorded = _recorded(record)
    expected = sha256.lower() if sha256 else recorded
    found = _sha256(path, target.name, watcher)
    if expected and found != expected:
        what = f"{target} has" if path == target else f"what came for {target} has"
        whose = "asked for" if sha256 else f"of the first time, in {record}"
        cure = (
            "remove it, and the same command fetches it again"
            if path == target
            else "it was not kept; try another source"
        )
        accept = "" if sha256 else f", or remove {record} to accept what comes"
        raise Mismatch(f"{what} sha256 {found}, not {expected} as {whose}; {cure}{accept}.")
    if recorded != found:
        record.write_text(f"{found}  {target.name}\n", encoding="utf-8")
    if sha256:
        watcher.note(f"{target.name} has the sha256 asked for.")
    elif recorded:
        watcher.note(f"{target.name} has the sha256 of the first time.")
    else:
        watcher.note(
            f"no checksum is published; sha256 of what came: {found} (kept in {record} and checked from now "
            f"on)."
        )


def _recorded(record: Path) -> str | None:
    if not record.exists():
        return None
    found = re.match(r"[0-9a-f]{64}(?=\s)", record.read_text(encoding="utf-8", errors="replace"))
    if not found:
        raise UserError(
            f"{record} is damaged: expected a sha256 and a file name; remove it and run the same command "
            f"again."
        )
    return found[0]


def _sha256(path: Path, name: str, watcher: Watcher) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
            done += len(chunk)
            watcher.progress(f"checking {name}", done, total)
    return digest.hexdigest()
