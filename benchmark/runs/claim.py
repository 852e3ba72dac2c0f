"""Claim runs: a claim is a numbered file, which its holder touches as long as it lives."""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from benchmark import system
from benchmark.files import dumps, parse, read_bytes, replacing, write_json, writing
from benchmark.system import filesystem_now, process_start

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


NAME = re.compile(r"claim-(\d{6,})\.json", re.ASCII)


class Holder(msgspec.Struct):
    """What a claim says. Where a file says something else, its holder cannot be told."""

    token: str = ""
    host: str = ""
    pid: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    started: str | None = None
    deaths: Annotated[int, Meta(ge=0, le=10**6)] = 0
    checkpoint: int = 0
    ended: str = ""
    failure: str = ""


class Lost(Exception):
    """Another process holds this run now; whatever this one still does must leave no trace."""


class Claim:
    """The right to write into a run directory, kept alive by a heartbeat thread.

    A token tells it from any later claim. deaths: how many holders in a row ended without giving the run back
    and without a new checkpoint. last: the claim of the last of them; `ended` there is how its process ended,
    and `failure` why the run counts as failed, where its parent saw that.
    """

    def __init__(self, path: Path, last: dict[str, Any] | None = None) -> None:
        self.folder, self.path, self.token = path.parent, path, uuid.uuid4().hex
        self.last = last or {}
        self.checkpoint = changed(self.folder / "checkpoint.pt")
        died = "token" in self.last and self.last.get("checkpoint", 0) == self.checkpoint
        self.deaths = self.last.get("deaths", 0) + 1 if died else 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def create(self) -> bool:
        """Take the run; False where another process was quicker."""
        pid = os.getpid()
        holder = {
            "token": self.token,
            "host": system.place(),
            "pid": pid,
            "started": process_start(pid),
        }
        holder |= {"deaths": self.deaths, "checkpoint": self.checkpoint}
        draft = self.path.with_name(f".{self.token}.json")
        draft.write_text(json.dumps(holder))
        try:
            os.link(draft, self.path)  # exclusive, and never seen half-written
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        self._thread.start()
        return True

    def check(self) -> None:
        """Raise `Lost` unless this claim still holds the run; before every checkpoint and the record."""
        claims = claims_in(self.folder)
        if not claims or claims[0] != self.path or holder_of(self.path).get("token") != self.token:
            raise Lost(f"{self.folder.name} was taken over by another process")

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """Do as `files.replacing`, but raise `Lost` and leave `path` alone if the run was taken over.

        The draft is whole before the claim is checked, and whoever takes a run over removes the drafts of its
        last holder: a process that sleeps between its check and its rename wakes up with nothing to rename.
        """
        try:
            with replacing(path, self.token) as draft:
                yield draft
                self.check()
        except FileNotFoundError:
            self.check()  # `Lost`, unless the disk has another excuse
            raise

    def publish_record(self, record: dict[str, Any]) -> None:
        """Write the record: whole or not at all, never over another, not from who lost the run."""
        self.check()
        draft = self.folder / f".{self.token}.record"
        with writing(self.folder):
            try:
                draft.write_text(dumps(record), encoding="utf-8")
                self.check()
                os.link(draft, (self.folder / "record.json"))
            except FileExistsError:
                raise Lost(f"{self.folder.name} already has a record") from None
            except FileNotFoundError:  # as in `replacing`
                self.check()
                raise
            finally:
                draft.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the run back; an empty marker stays until the run is done."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        if holder_of(self.path).get("token") != self.token:
            return
        with suppress(OSError):  # a full disk: the claim dies with this process
            if (self.folder / "record.json").exists():
                self.path.unlink(missing_ok=True)
            else:
                write_json(self.path, {})

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # gone or unreachable: `check` will tell
                os.utime(self.path)


def alive(claim: Path) -> bool:
    """Tell whether a claim's holder lives: by its process here, by its heartbeat on other hosts."""
    try:
        holder = holder_of(claim)
        if holder["host"] == system.place():
            return bool(process_start(holder["pid"]) == holder["started"])
        return filesystem_now(claim.parent) - claim.stat().st_mtime < STALE_SECONDS
    except (OSError, ValueError, KeyError):
        return False


def holder_of(claim: Path) -> dict[str, Any]:
    """Read who holds a claim; empty when it was given back, has gone or is unreadable."""
    try:
        holder = parse(read_bytes(claim), json.loads)
        msgspec.convert(holder, Holder)
    except (OSError, ValueError):
        return {}
    return dict(holder)


def claims_in(folder: Path, names: list[str] | None = None) -> list[Path]:
    """List claims, newest first. Creating the next number takes a run, which only one process can do.

    A claim that is given back stays as an empty marker until the run is done, so that no number is used
    twice: a slow process cannot mistake a new claim for the old one that it saw.
    """
    names = names_in(folder) if names is None else names
    found = [name for name in names if NAME.fullmatch(name)]
    return [folder / name for name in sorted(found, key=number_of, reverse=True)]


def number_of(claim: str) -> int:
    """Return the number in the name of a claim."""
    found = NAME.fullmatch(claim)
    return int(found[1]) if found else -1


def names_in(folder: Path) -> list[str]:
    """List the names in a folder; none where there is no such folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def changed(path: Path) -> int:
    """Return when a file was last written, in nanoseconds of its disk's clock; 0 without one."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
