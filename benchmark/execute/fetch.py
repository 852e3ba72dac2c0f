"""Fetch one file over HTTP: it goes on where an earlier try stopped, and gets its name only when it is whole.

<folder>/<name>.part       what has come so far
<folder>/<name>.part.json  which version of the server's file that is a part of
<folder>/<name>.sha256     the hash of what came, in the format of `sha256sum --check`
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout
from rich.filesize import decimal

from benchmark.errors import UserError
from benchmark.files import read_json, write_json

TIMEOUT = 60.0  # seconds without an answer or a byte
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try since the last that brought something new
CHUNK = 1 << 18  # bytes
BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes of a server that may answer otherwise in a moment

Progress = Callable[[str, int, int | None], None]  # what, bytes done, of how many if known
Note = Callable[[str], None]


class _Dropped(Exception):
    """The connection broke, or the server cannot answer at the moment: worth another try."""


def name_of(url: str) -> str:
    """Return the file name that an http or https URL ends in. Raises `UserError` for another or none."""
    try:
        parts = urlsplit(url)
        usable = re.fullmatch(r"https?://[!-~]+", url) and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username:
        raise UserError(
            f"{url!r} is not a URL that can be fetched; expected https://HOST/PATH or http://HOST/PATH."
        )
    name = PurePosixPath(unquote(parts.path)).name
    if not re.fullmatch(r"[^\\/\x00-\x1f.][^\\/\x00-\x1f]*", name):
        raise UserError(f"{url!r} does not end in the name of a file; give the file's own URL.")
    return name


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Keep other processes from doing the same to a path. Raises `UserError` where one does."""
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise UserError(f"another process is {doing}; wait for it, or end it and try again.") from None


def fetch(
    url: str, target: Path, progress: Progress, note: Note, sha256: str | None = None, size: int | None = None
) -> None:
    """Have the file at `url` as `target`; one that is there already is only checked.

    sha256: what it must be; where that is not known, what came first is what later calls must find again.
    size: bytes, where known beforehand. Interrupted at any point, the next call goes on from the bytes that
    came, if the server still has the same file. Raises `UserError` when the URL, the server, the content or
    the disk is not as it must be.
    """
    name_of(url)
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target, f"fetching {target}"):
            if target.exists():
                _check(target, target, note, sha256)
                return
            _download(url, part, progress, note, size)
            _check(part, target, note, sha256)
            part.replace(target)
            _about(part).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; make room there and run the same command "
            "again, which goes on from what came, or name another folder with --data DIR."
        ) from error


def _check(path: Path, target: Path, note: Note, sha256: str | None) -> None:
    """Compare `path`, which is or is to become `target`, with `sha256` or else with TARGET.sha256.

    That file is written when the content is right or nothing is known of it yet; what came and is wrong is
    removed.
    """
    record = target.with_name(f"{target.name}.sha256")
    expected, whose, where = sha256 and sha256.lower(), "asked for", ""
    if not expected and record.exists():
        expected, whose = record.read_text(encoding="utf-8", errors="replace")[:64], "of the first time"
        where = f", in {record}; remove that file to accept what comes"
    note(f"computing the sha256 of {target.name}.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and found != expected:
        cure = f"remove {target}, and the same command fetches it again"
        if path != target:
            path.unlink()
            cure = "it was not kept: try another source"
        raise UserError(f"{target} has sha256 {found}, not {expected} as {whose}{where}; {cure}.")
    record.write_text(f"{found}  {target.name}\n", encoding="utf-8")
    if expected:
        note(f"{target.name} has the sha256 {whose}.")
    else:
        note(
            f"no checksum is published; sha256 of what came: {found} (kept in {record}, checked from now on)."
        )


def _download(url: str, part: Path, progress: Progress, note: Note, size: int | None) -> None:
    """Try until all of it is there; after PAUSES without anything new, raise."""
    furthest, failures = _size(part), 0
    while True:
        try:
            return _attempt(url, part, progress, note, size)
        except _Dropped as error:
            if _size(part) > furthest:
                furthest, failures = _size(part), 0
            if failures == len(PAUSES):
                raise UserError(
                    f"{url} could not be fetched: {error}; {decimal(_size(part))} of it are kept; check the "
                    "connection and run the same command again later."
                ) from None
            note(f"{error}; trying again in {PAUSES[failures]:g} s.")
            time.sleep(PAUSES[failures])
            failures += 1


def _attempt(url: str, part: Path, progress: Progress, note: Note, size: int | None) -> None:
    """Ask for what is missing and append it. Returns when all of it is there."""
    version = _version(url, part)
    start = _size(part) if version else 0
    headers = {"User-Agent": "bench", "Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version["validator"]}
    with _answer(url, headers) as response:
        validator = _validator(response.headers)
        if version and response.status in (206, 416):
            first, total = _range(response.headers)
            if response.status == 416 and total == start and version["bytes"] in (None, start):
                return  # there is nothing after what came
            # Not every server heeds If-Range: look whether this is the rest of what came.
            changed = validator not in (None, version["validator"]) or total != version["bytes"]
            if response.status == 416 or first != start or changed:
                part.unlink()
                raise _Dropped("the file on the server is not the one that a part came of")
        elif response.status == 200:
            if response.headers.get_content_type() == "text/html" and not url.endswith((".html", ".htm")):
                raise UserError(f"{url} is a web page, not the file; give the file's own URL with --url.")
            if start:
                note("the server sends the file from its start: it has changed, or cannot be sent in parts.")
            length = response.headers["Content-Length"]
            start, total = 0, int(length) if length and length.isdigit() else None
            part.unlink(missing_ok=True)
            write_json(_about(part), {"url": url, "validator": validator, "bytes": total})
            if total and size and total != size:
                note(
                    f"the server has {total:,} bytes where {size:,} are expected: it may be another version."
                )
        else:
            answer = f"the server answered {response.status} {response.reason}"
            if response.status in BUSY:
                raise _Dropped(answer)
            raise UserError(f"{url} cannot be fetched: {answer}.")
        missing, free = (total or size or 0) - start, shutil.disk_usage(part.parent).free
        if missing > free:
            raise UserError(
                f"{url} needs {decimal(missing)} more and {part.parent} has {decimal(free)} free; make room "
                "there, or name another folder with --data DIR."
            )
        _append(response, part, start, total, progress)


def _answer(url: str, headers: dict[str, str]) -> Any:
    """Return the server's response, whatever its status."""
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        return error
    except (OSError, http.client.HTTPException) as error:
        raise _Dropped(f"there is no connection ({reason(getattr(error, 'reason', error))})") from None
    except ValueError as error:
        raise UserError(f"{url!r} is not a URL that can be fetched ({reason(error)}).") from None


def _append(response: Any, part: Path, start: int, total: int | None, progress: Progress) -> None:
    done, name = start, part.name.removesuffix(".part")
    progress(name, done, total)
    with part.open("ab") as file:
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Dropped(f"the connection broke after {decimal(done)} ({reason(error)})") from None
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            progress(name, done, total)
    if total is not None and done < total:
        raise _Dropped(f"the connection broke after {done:,} of {total:,} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _version(url: str, part: Path) -> dict[str, Any] | None:
    """Return which file of the server a part is of; None unless it is known well enough to go on with it."""
    try:
        version = read_json(_about(part)) if _size(part) else {}
    except UserError:
        return None
    return version if version.get("url") == url and version.get("validator") else None


def _validator(headers: Message) -> str | None:
    """Return what If-Range may name: a strong ETag or a date (RFC 9110, 13.1.5)."""
    etag = headers["ETag"]
    return etag if etag and not etag.startswith("W/") else headers["Last-Modified"]


def _range(headers: Message) -> tuple[int | None, int | None]:
    """Return (first byte, size of the whole file) of a Content-Range; None for what it does not say."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", headers["Content-Range"] or "")
    first, total = found.groups() if found else (None, None)
    return (int(first) if first else None), (int(total) if total else None)


def reason(error: object) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__
