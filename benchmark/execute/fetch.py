"""Fetch one file over HTTP: it goes on where an earlier try stopped, and gets its name only when it is whole
and checked.

<folder>/<name>.part       what has come so far
<folder>/<name>.part.json  which version of the server's file that is a part of
<folder>/<name>.sha256     the hash of what came, in the format of `sha256sum --check`
"""

from __future__ import annotations

import email.message
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout
from rich.filesize import decimal

from benchmark.errors import UserError
from benchmark.execute import checksums
from benchmark.execute.checksums import Watcher
from benchmark.files import read_json, write_json

TIMEOUT = 60.0  # seconds without an answer or a byte
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try since the last that brought something new
CHUNK = 1 << 18  # bytes
BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes of a server that may answer otherwise in a moment


class _Dropped(Exception):
    """The connection broke, or the server cannot answer at the moment: worth another try."""


def name_of(url: str) -> str:
    """The file name that a URL ends in. Raises `UserError` for one that is not http or https, or that ends in
    no name.
    """
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and parts.username is None
        )
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", url):
        raise UserError(
            f"{url!r} is not a URL that can be fetched; expected https://HOST/PATH or http://HOST/PATH."
        )
    name = PurePosixPath(unquote(parts.path)).name
    if not re.fullmatch(r"[^\\/\x00-\x1f.][^\\/\x00-\x1f]*", name):
        raise UserError(f"{url!r} does not end in the name of a file; give the file's own URL.")
    return name


def fetch(
    url: str, target: Path, watcher: Watcher, sha256: str | None = None, size: int | None = None
) -> None:
    """Have the file at `url` as `target`; one that is there already is only checked.

    sha256: what it must be; where that is not known, what came first is what later calls must find again.
    size: bytes, where known beforehand. Interrupted at any point, the next call goes on from the bytes that
    came, if the server still has the same file. Raises `UserError` when the URL, the server, the content or
    the disk is not as it must be.
    """
    name_of(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock", timeout=0):
            if target.exists():
                checksums.check(target, target, watcher, sha256)
                return
            part = _Part(url, target)
            _download(part, watcher, size)
            try:
                checksums.check(part.path, target, watcher, sha256)
            except checksums.Mismatch:
                part.drop()
                raise
            part.path.replace(target)
            part.drop()
    except Timeout:
        raise UserError(
            f"another process is fetching {target}; wait for it, or end it and try again."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; make room there and run the same command "
            f"again, which goes on "
            f"from what came, or name another folder with --data DIR."
        ) from error


class _Part:
    """What has come of a URL so far."""

    def __init__(self, url: str, target: Path) -> None:
        self.url, self.path = url, target.with_name(f"{target.name}.part")
        self.about = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> dict[str, Any] | None:
        """The server's file that this is a part of; None unless it is known well enough to go on with it."""
        if not self.size() or not self.about.exists():
            return None
        try:
            version = read_json(self.about)
        except UserError:
            return None
        return version if version.get("url") == self.url and _validator(version) else None

    def begin(self, version: dict[str, Any]) -> None:
        self.drop()
        write_json(self.about, version)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def _validator(version: dict[str, Any]) -> str | None:
    """What If-Range may name: a strong ETag or a date (RFC 9110, 13.1.5)."""
    etag = version.get("etag")
    return etag if etag and not etag.startswith("W/") else version.get("modified")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(
                req.full_url, code, f"Redirection to {newurl!r} is not followed", headers, fp
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(part: _Part, watcher: Watcher, size: int | None) -> None:
    """Try until all of it is there. A try that brought nothing new is followed by a longer pause, and the
    last by an error.
    """
    furthest, failures = part.size(), 0
    while True:
        try:
            return _attempt(part, watcher, size)
        except _Dropped as error:
            if part.size() > furthest:
                furthest, failures = part.size(), 0
            if failures == len(PAUSES):
                kept = f"; {decimal(part.size())} of it are kept" if part.version() else ""
                raise UserError(
                    f"{part.url} could not be fetched: {error}{kept}; check the connection and run the same "
                    f"command again later."
                ) from None
            watcher.note(f"{error}; trying again in {PAUSES[failures]:g} s.")
            time.sleep(PAUSES[failures])
            failures += 1


def _attempt(part: _Part, watcher: Watcher, size: int | None) -> None:
    """Ask for what is missing and append it. Returns when all of it is there."""
    version = part.version()
    start = part.size() if version else 0
    headers = {"User-Agent": "bench", "Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={start}-", "If-Range": str(_validator(version))}
    opener = urllib.request.build_opener(_Redirects)
    try:
        response = opener.open(urllib.request.Request(part.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if (
                version and error.code == 416
            ):  # there is nothing after what came: all is here, or the file has shrunk
                if _range(error.headers) == (None, start) and version.get("bytes") in (None, start):
                    return None
                return _anew(part, watcher, size)
        if error.code in BUSY:
            raise _Dropped(f"the server answered {error.code} {error.reason}") from None
        raise UserError(
            f"{part.url} cannot be fetched: the server answered {error.code} {error.reason}."
        ) from None
    except urllib.error.URLError as error:
        raise _Dropped(f"there is no connection ({_reason(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Dropped(f"the connection broke ({_reason(error)})") from None
    except ValueError as error:
        raise UserError(f"{part.url!r} is not a URL that can be fetched ({_reason(error)}).") from None
    with response:
        found = {
            "url": part.url,
            "etag": response.headers["ETag"],
            "modified": response.headers["Last-Modified"],
        }
        if response.status == 206 and version:
            begins, total = _range(response.headers)
            # Not every server heeds If-Range: look whether this is the rest of what came.
            other = any(value is not None and value != version.get(key) for key, value in found.items())
            if other or begins != start or total != version.get("bytes"):
                return _anew(part, watcher, size)
        elif response.status == 200:
            if response.headers.get_content_type() == "text/html" and not part.url.endswith(
                (".html", ".htm")
            ):
                raise UserError(
                    f"{part.url} is a web page, not the file; give the file's own URL with --url."
                )
            if start:
                watcher.note(
                    "the server sends the file from its start: it has changed, or cannot be sent in parts."
                )
            length = response.headers["Content-Length"]
            start, total = 0, int(length) if length and length.isdigit() else None
            part.begin(found | {"bytes": total})
            if total and size and total != size:
                watcher.note(
                    f"the server has {total:,} bytes where {size:,} are expected: it may be another version."
                )
        else:
            raise UserError(
                f"{part.url} cannot be fetched: the server answered {response.status} {response.reason}."
            )
        _check_room(part, (total or size or 0) - start)
        _append(response, part, start, total, watcher)


def _anew(part: _Part, watcher: Watcher, size: int | None) -> None:
    watcher.note("the file on the server is not the one that a part came of: starting again.")
    part.drop()
    _attempt(part, watcher, size)


def _append(response: Any, part: _Part, start: int, total: int | None, watcher: Watcher) -> None:
    done, name = start, part.path.name.removesuffix(".part")
    watcher.progress(name, done, total)
    with part.path.open("ab") as file:
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Dropped(f"the connection broke after {decimal(done)} ({_reason(error)})") from None
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            watcher.progress(name, done, total)
    if total is not None and done < total:
        raise _Dropped(f"the connection broke after {done:,} of {total:,} bytes")


def _range(headers: email.message.Message) -> tuple[int | None, int | None]:
    """(first byte, size of the whole file) of a Content-Range; None for what it does not say."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", headers["Content-Range"] or "")
    first, total = found.groups() if found else (None, None)
    return (int(first) if first else None), (int(total) if total else None)


def _check_room(part: _Part, missing: int) -> None:
    free = shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise UserError(
            f"{part.url} needs {decimal(missing)} more and {part.path.parent} has {decimal(free)} free; make "
            f"room there, or name "
            f"another folder with --data DIR."
        )


def _reason(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
