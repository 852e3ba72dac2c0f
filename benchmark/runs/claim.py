"""Claims: which process works on a run. A claim is a numbered file; its holder touches it as long as it lives."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.files import dumps, replacing, write_json, writing
from benchmark.runs.liveness import filesystem_now, process_start

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class Lost(Exception):
    """Another process holds this run now; whatever this one still does must leave no trace."""


class Claim:
    """The right to write into a run directory, kept alive by a heartbeat thread; a token tells it from any
    later claim.
    """

    def __init__(self, path: Path) -> None:
        self.folder, self.path, self.token = path.parent, path, uuid.uuid4().hex
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def create(self) -> bool:
        holder = {
            "token": self.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
        }
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
        """Raise `Lost` unless this claim still holds the run. Called before every checkpoint and before the
        record.
        """
        claims = claims_in(self.folder)
        if not claims or claims[0] != self.path or holder_of(self.path).get("token") != self.token:
            raise Lost(f"{self.folder.name} was taken over by another process")

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """As `replacing`, but raise `Lost` and leave `path` alone if the run was taken over, in whatever
        moment.

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
        """Write the record. It appears whole or not at all, never over another, and not from a process that
        lost the run.
        """
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
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            if holder_of(self.path).get("token") != self.token:
                return
            if (self.folder / "record.json").exists():
                self.path.unlink(missing_ok=True)
            else:
                write_json(self.path, {})
        except OSError:  # a full disk: the claim dies with this process
            return

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:  # gone or unreachable: `check` will tell
                continue


def alive(claim: Path) -> bool:
    """Whether a claim's holder still lives: by its process on this host, by its heartbeat and the files' own
    clock elsewhere.
    """
    try:
        holder = holder_of(claim)
        if holder["host"] == socket.gethostname():
            return bool(process_start(holder["pid"]) == holder["started"])
        return filesystem_now(claim.parent) - claim.stat().st_mtime < STALE_SECONDS
    except (OSError, ValueError, KeyError):
        return False


def holder_of(claim: Path) -> dict[str, Any]:
    """Who holds a claim; empty when it was given back, has gone or is unreadable."""
    try:
        holder = json.loads(claim.read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def claims_in(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Claims, newest first. A run is taken, or taken over, by creating the next number, which only one process can do.

    A claim that is given back stays as an empty marker until the run is done, so that no number is used twice: a
    slow process cannot mistake a new claim for the old one that it saw.
    """
    found = (
        n
        for n in (names_in(folder) if names is None else names)
        if n.startswith("claim-") and n.endswith(".json")
    )
    return [folder / name for name in sorted(found, reverse=True)]


def names_in(folder: Path) -> list[str]:
    """The names in a folder; none where there is no such folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
