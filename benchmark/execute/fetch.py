"""Fetch one file over HTTP, going on where an earlier try stopped, and unpack other people's archives.

<folder>/<name>.part       what has come so far
<folder>/<name>.part.json  which version of the server's file that is a part of
"""

from __future__ import annotations

import http.client
import re
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout
from rich.filesize import decimal

from benchmark.errors import UserError, reason
from benchmark.files import file_hash, read_json, write_json

TIMEOUT = 60.0  # seconds without an answer or a byte
CHUNK = 1 << 18  # bytes
BROKEN = (ConnectionError, TimeoutError, ssl.SSLError)  # of a connection, not of the disk
RATIO, LEAST = 64, 256 << 20  # images and arrays of floats shrink to a tenth at best
ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")
# What damaged content makes of the readers; RuntimeError: it is encrypted, or packed in an unknown way.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)

Progress = Callable[[str, int, int | None], None]  # what, bytes done, of how many if known
Note = Callable[[str], None]


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
def _alone(path: Path, doing: str) -> Iterator[None]:
    """Keep other processes from doing the same to a path. Raises `UserError` where one does."""
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise UserError(f"another process is {doing}; wait for it, or end it and try again.") from None


def fetch(url: str, target: Path, progress: Progress, note: Note, sha256: str | None = None) -> None:
    """Have the file at `url` as `target`; one that is there already is only checked.

    sha256: what it must be. Interrupted at any point, the next call goes on from the bytes that came, if the
    server still has the same file. Raises `UserError` when the URL, the server, the content or the disk is
    not as it must be.
    """
    name_of(url)
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, f"fetching {target}"):
            path = target if target.exists() else part
            if path == part:
                _download(url, part, progress, note)
            found = file_hash(path)
            if sha256 and found != sha256.lower():
                part.unlink(missing_ok=True)
                raise UserError(
                    f"{target} has sha256 {found}, not {sha256} as asked for; remove it if it is there, and "
                    "try another source."
                )
            note(f"{target.name} has the sha256 {'asked for' if sha256 else found}.")
            path.replace(target)
            _about(part).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; make room there and run the same command "
            "again, which goes on from what came, or name another folder with --data DIR."
        ) from error


def _download(url: str, part: Path, progress: Progress, note: Note) -> None:
    """Ask for what is missing and append it. Raises `UserError` where not all of it comes."""
    version = _version(url, part)
    start, total = (_size(part), version["bytes"]) if version else (0, None)
    if version and start == total:
        return
    headers = {"User-Agent": "bench", "Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version["validator"]}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            # What If-Range may name: a strong ETag or a date (RFC 9110, 13.1.5).
            etag = response.headers["ETag"]
            validator = etag if etag and not etag.startswith("W/") else response.headers["Last-Modified"]
            rest = re.fullmatch(rf"bytes {start}-\d+/{total}", response.headers["Content-Range"] or "")
            if response.status == 200:
                if response.headers.get_content_type() == "text/html" and not url.endswith((".html", ".htm")):
                    raise UserError(f"{url} is a web page, not the file; give the file's own URL with --url.")
                if start:
                    note("the server sends the file from its start: it has changed, or not in parts.")
                length = response.headers["Content-Length"]
                start, total = 0, int(length) if length and length.isdigit() else None
                part.unlink(missing_ok=True)
                write_json(_about(part), {"url": url, "validator": validator, "bytes": total})
            elif response.status != 206 or not version:
                raise UserError(f"{url} cannot be fetched: the server answered {response.status}.")
            elif not rest or validator not in (None, version["validator"]):  # some servers heed no If-Range
                return _anew(url, part, progress, note)
            _append(response, part, start, total, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if version and error.code == 416:  # it has become shorter
            return _anew(url, part, progress, note)
        answer = f"the server answered {error.code} {error.reason}"
        raise UserError(f"{url} cannot be fetched: {answer}.") from None
    except (urllib.error.URLError, http.client.HTTPException, *BROKEN) as error:
        raise UserError(
            f"{url} could not be fetched whole ({reason(getattr(error, 'reason', error))}): "
            f"{decimal(_size(part))} are kept; check the connection and run the same command again."
        ) from None
    except ValueError as error:
        raise UserError(f"{url!r} is not a URL that can be fetched ({reason(error)}).") from None


def _anew(url: str, part: Path, progress: Progress, note: Note) -> None:
    """Fetch from the start what the server has now, which is not what a part came of."""
    note("the file on the server is not the one that a part came of, which is fetched anew.")
    part.unlink()
    _download(url, part, progress, note)


def _append(response: Any, part: Path, start: int, total: int | None, progress: Progress) -> None:
    done, name = start, part.name.removesuffix(".part")
    progress(name, done, total)
    with part.open("ab") as file:
        while chunk := _read(response):
            file.write(chunk)
            done += len(chunk)
            progress(name, done, total)
    if total is not None and done < total:
        raise http.client.HTTPException(f"the connection broke after {done:,} of {total:,} bytes")


def _read(response: Any) -> bytes:
    try:
        chunk: bytes = response.read1(CHUNK)
    except OSError as error:  # of the network, such as no route to the host: not of the file it goes to
        raise http.client.HTTPException(error.strerror or reason(error)) from None
    return chunk


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _version(url: str, part: Path) -> dict[str, Any]:
    """Return which file of the server a part is of; empty unless it is known well enough to go on with it."""
    try:
        version = read_json(_about(part)) if _size(part) else {}
    except UserError:
        return {}
    known = version.get("url") == url and version.get("validator") and version.get("bytes")
    return version if known else {}


def folder_of(archive: Path) -> Path | None:
    """Return the folder beside an archive that it is unpacked to; None where the name is no archive's."""
    ending = next((ending for ending in ENDINGS if archive.name.endswith(ending)), None)
    return archive.with_name(archive.name.removesuffix(ending)) if ending else None


def unpack(
    archive: Path, folder: Path, progress: Progress = lambda *_: None, limit: int | None = None
) -> None:
    """Unpack to `folder`, which is there only when all is in it.

    A single folder at the top of an archive becomes that folder. limit: bytes that its files may have
    together, by default `RATIO` times the archive's own, at least `LEAST`. Raises `UserError` when the
    archive is damaged, when a tar holds symbolic links, devices, or names that lead out, when it holds more
    than `limit`, and when writing fails; nothing is left then.
    """
    draft = folder.with_name(f".{folder.name}.part")
    try:
        with _alone(folder, f"unpacking {archive}"):
            if folder.exists():
                return
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            packed, unpacked = archive.stat().st_size, 0
            limit = limit or max(LEAST, RATIO * packed)
            try:
                with archive.open("rb") as file:
                    for size, done in (_unzip if archive.suffix == ".zip" else _untar)(archive, file, draft):
                        unpacked += size
                        if unpacked > limit:
                            raise UserError(
                                f"{archive} unpacks to more than {limit >> 20} MiB; nothing of it was "
                                "unpacked: use another source."
                            )
                        progress(f"unpacking {archive.name}", done, packed)
                inside = list(draft.iterdir())
                (inside[0] if len(inside) == 1 and inside[0].is_dir() else draft).rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except tarfile.FilterError as error:
        raise UserError(
            f"{archive} holds {error.tarinfo.name!r}, which leads out of its folder or is no plain file; "
            "nothing of it was unpacked: use another source, or unpack it by hand."
        ) from None
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # gzip's own have none
            raise UserError(
                f"cannot unpack {archive} to {folder}: {error.strerror}; make room there, or name another "
                "folder with --data DIR."
            ) from error
        raise UserError(
            f"{archive} is damaged or not such an archive ({reason(error)}); remove it and run the same "
            "command again."
        ) from None


def _untar(archive: Path, file: IO[bytes], draft: Path) -> Iterator[tuple[int, int]]:
    """Yield each member's bytes (an empty one counts a block), and bytes read, before it is unpacked."""
    with tarfile.open(fileobj=file, mode="r:" if archive.suffix == ".tar" else "r:gz") as tar:
        for member in tar:
            yield tarfile.BLOCKSIZE + member.size, file.tell()
            if member.issym():  # by chains of links the filter can be led out in Pythons before 3.11.13
                raise tarfile.SpecialFileError(member)
            tar.extract(member, draft, filter="data")
        # `tarfile` takes a broken header for the end: look for its mark, and read on to the checksum.
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it breaks off before its end")
        while tar.fileobj.read(1 << 20):
            pass


def _unzip(archive: Path, file: IO[bytes], draft: Path) -> Iterator[tuple[int, int]]:
    """Yield each member's bytes, more than which are never read, and bytes read, before it is unpacked."""
    with zipfile.ZipFile(file) as zipped:
        done = 0
        for member in zipped.infolist():
            yield member.file_size, done
            done += member.compress_size
            zipped.extract(member, draft)  # which takes leading `/` and `..` off, and writes links as text
