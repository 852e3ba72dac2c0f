"""Unpack archives of other people's: plain files and folders, nothing outside the folder they go to, all of
it or nothing.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock, Timeout

from benchmark.errors import UserError
from benchmark.execute.checksums import Watcher

ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")
# What damaged content makes of the readers; RuntimeError: it is encrypted, or packed in a way that is not
# known.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)


def folder_of(archive: Path) -> Path | None:
    """The folder beside an archive that it is unpacked to; None where the name is no archive's."""
    ending = next((ending for ending in ENDINGS if archive.name.endswith(ending)), None)
    return archive.with_name(archive.name.removesuffix(ending)) if ending else None


def unpack(archive: Path, folder: Path, watcher: Watcher, limit: int | None = None) -> None:
    """Unpack to `folder`, which is there only when all is in it. A single folder at the top of an archive
    becomes that folder.
    limit: how many bytes its files may have together.

    Raises `UserError` when the archive is damaged, when it holds symbolic links, devices, or links or names
    that lead out, more than `limit`, and when writing fails; nothing is left then.
    """
    draft = folder.with_name(f".{folder.name}.part")
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            if folder.exists():
                return
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                with archive.open("rb") as file:
                    (_unzip if archive.suffix == ".zip" else _untar)(archive, file, draft, watcher, limit)
                inside = list(draft.iterdir())
                (inside[0] if len(inside) == 1 and inside[0].is_dir() else draft).rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except Timeout:
        raise UserError(
            f"another process is unpacking {archive}; wait for it, or end it and try again."
        ) from None
    except tarfile.FilterError as error:
        raise _refusal(
            archive, error.tarinfo.name, "which leads out of its folder or is no plain file"
        ) from None
    except DAMAGE as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        if error.errno is None:  # gzip's own
            raise _damaged(archive, error) from None
        raise UserError(
            f"cannot unpack {archive} to {folder}: {error.strerror}; make room there, or name another folder "
            f"with --data DIR."
        ) from error


def _untar(archive: Path, file: IO[bytes], draft: Path, watcher: Watcher, limit: int | None) -> None:
    total, size = archive.stat().st_size, 0
    with tarfile.open(fileobj=file, mode="r:" if archive.suffix == ".tar" else "r:gz") as tar:
        for member in tar:
            _check_name(archive, member.name)
            size += tarfile.BLOCKSIZE + member.size  # that of empty files and folders is their number
            _check_size(archive, size, limit)
            # Even links that stay inside: by chains of them the filter below can be led out in Pythons before
            # 3.11.13.
            if member.issym():
                raise _refusal(archive, member.name, "which is a symbolic link")
            tar.extract(member, draft, filter="data")
            watcher.progress(f"unpacking {archive.name}", file.tell(), total)
        _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """`tarfile` takes a broken or missing header for the end: look for the end's own mark, and read on to
    gzip's checksum.
    """
    content = tar.fileobj
    assert content is not None
    content.seek(tar.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off before its end")
    while content.read(1 << 20):
        pass


def _unzip(archive: Path, file: IO[bytes], draft: Path, watcher: Watcher, limit: int | None) -> None:
    with zipfile.ZipFile(file) as zipped:
        _check_size(
            archive, sum(member.file_size for member in zipped.infolist()), limit
        )  # no more of any is read than it says
        done, total = 0, sum(member.compress_size for member in zipped.infolist())
        for member in zipped.infolist():
            _check_name(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(archive, member.filename, "which is a link or a device")
            zipped.extract(member, draft)
            done += member.compress_size
            watcher.progress(f"unpacking {archive.name}", done, total)


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _refusal(archive, name, "which leads out of its folder")


def _check_size(archive: Path, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise UserError(
            f"{archive} unpacks to more than {limit >> 20} MiB; nothing of it was unpacked: use another "
            f"source."
        )


def _refusal(archive: Path, name: str, why: str) -> UserError:
    return UserError(
        f"{archive} holds {name!r}, {why}; nothing of it was unpacked: use another source, or unpack it by "
        f"hand."
    )


def _damaged(archive: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(
        f"{archive} is damaged or not such an archive ({reason}); remove it and run the same command again."
    )
