"""Unpack other people's archives: nothing outside the folder they go to, all of it or nothing."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmark.errors import UserError
from benchmark.execute.fetch import Progress, alone, reason

RATIO, LEAST = 64, 256 << 20  # images and arrays of floats shrink to a tenth at best
ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")
# What damaged content makes of the readers; RuntimeError: it is encrypted, or packed in an unknown way.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)


def folder_of(archive: Path) -> Path | None:
    """Return the folder beside an archive that it is unpacked to; None where the name is no archive's."""
    ending = next((ending for ending in ENDINGS if archive.name.endswith(ending)), None)
    return archive.with_name(archive.name.removesuffix(ending)) if ending else None


def unpack(archive: Path, folder: Path, progress: Progress | None = None, limit: int = 0) -> None:
    """Unpack to `folder`, which is there only when all is in it.

    A single folder at the top of an archive becomes that folder. limit: how many bytes its files may have
    together; unless it is said, `RATIO` times the archive's own, but at least `LEAST`. Raises `UserError`
    when the archive is damaged, when a tar holds symbolic links, devices, or names that lead out, when it
    holds more than `limit`, and when writing fails; nothing is left then.
    """
    draft = folder.with_name(f".{folder.name}.part")
    try:
        with alone(folder, f"unpacking {archive}"):
            if folder.exists():
                return
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            limit = limit or max(LEAST, RATIO * archive.stat().st_size)
            try:
                size = 0
                with archive.open("rb") as file:
                    members = (_unzip if archive.suffix == ".zip" else _untar)(archive, file, draft)
                    for unpacked, done in members:
                        size += unpacked
                        if size > limit:
                            raise UserError(
                                f"{archive} unpacks to more than {limit >> 20} MiB; nothing of it was "
                                "unpacked: use another source."
                            )
                        if progress:
                            progress(f"unpacking {archive.name}", done, archive.stat().st_size)
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
