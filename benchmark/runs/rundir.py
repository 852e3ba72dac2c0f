"""Run directories: which state a run is in, who works on it, and its record. States are files; there is no database.

    <results>/<protocol>/<run>/  spec.json env.json claim-<n>.json curve.jsonl checkpoint.pt error.txt
                                 per_image.npz panel.webp weights.pt record.json

`record.json` is written last, by an exclusive link: its existence means done, and nothing overwrites it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from benchmark.errors import UserError
from benchmark.runs.liveness import filesystem_now, process_start
from benchmark.spec.run import RunSpec

State = Literal["missing", "running", "stale", "failed", "done"]
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class Lost(Exception):
    """Another process holds this run now; whatever this one still does must leave no trace."""


class RunDir:
    """The directory of one run."""

    def __init__(self, results: Path, folder: str) -> None:
        self.path = results / folder
        self.name = self.path.name

    def file(self, name: str) -> Path:
        return self.path / name

    @property
    def record(self) -> dict[str, Any] | None:
        return read_json(self.file("record.json")) if self.file("record.json").exists() else None

    def claims(self) -> list[Path]:
        """Claims, newest first. A run is taken, or taken over, by creating the next number, which only one process can do.

        A claim that is given back stays as an empty marker until the run is done, so that no number is used twice: a slow
        process cannot mistake a new claim for the old one that it saw.
        """
        return self._claims(self._names())

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _claims(self, names: list[str]) -> list[Path]:
        found = (name for name in names if name.startswith("claim-") and name.endswith(".json"))
        return [self.path / name for name in sorted(found, reverse=True)]

    def state(self) -> State:
        names = self._names()  # one look at the folder, since `status` asks thousands of runs
        if "record.json" in names:
            return "done"
        claims = self._claims(names)
        if claims and _alive(claims[0]):
            return "running"
        if "error.txt" in names:
            return "failed"
        abandoned = bool(claims) and "token" in _holder(claims[0])
        return "stale" if abandoned or "checkpoint.pt" in names else "missing"

    def claim(self, spec: RunSpec, again: bool = False) -> Claim | None:
        """Take this run, or None if a live process has it or, unless it is to be done `again`, if it is done."""
        with writing(self.path):
            try:
                return self._claim(spec, again)
            except FileNotFoundError:  # its last holder removed the folder, untouched, in this very moment
                return self._claim(spec, again)

    def _claim(self, spec: RunSpec, again: bool) -> Claim | None:
        self.path.mkdir(parents=True, exist_ok=True)
        claims = self.claims()
        if claims and _alive(claims[0]):
            return None
        number = int(claims[0].stem.split("-")[1]) + 1 if claims else 0
        claim = Claim(self, self.file(f"claim-{number:06d}.json"))
        if not claim.create():
            return None
        # Between the look and the claim the run may have been finished, or taken and given back and taken again.
        if (self.file("record.json").exists() and not again) or self.claims()[0] != claim.path:
            claim.release()
            return None
        for old in claims:
            drafts = f".{_holder(old).get('token')}."
            old.unlink(missing_ok=True)
            # What the dead holder was writing goes too: should it revive, it has nothing left to put in a file's place.
            for name in self._names():
                if name.startswith(drafts):
                    self.file(name).unlink(missing_ok=True)
        write_json(self.file("spec.json"), spec.as_dict() | {"id": spec.id})
        return claim

    def reset(self) -> None:
        """Forget everything but the spec: the next claim starts from step 0."""
        with writing(self.path):
            self.file("record.json").unlink(missing_ok=True)  # first: without the rest it would count as done
            for path in self.path.iterdir():
                if path.name != "spec.json" and not path.name.startswith("claim-"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def discard_if_untouched(self, claim: Claim) -> None:
        """Remove the folder, still held by `claim`, if no run in it has come as far as a checkpoint, a record or an error."""
        kept = ("checkpoint.pt", "record.json", "error.txt", "weights.pt")
        if any(self.file(name).exists() for name in kept):
            return
        with suppress(Lost, OSError):
            claim.check()
            aside = self.path.with_name(f".{claim.token}")  # by a rename, so that nobody claims half a folder
            self.path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            self.path.parent.rmdir()  # and the protocol's, if it was the only one


class Claim:
    """The right to write into a run directory, kept alive by a heartbeat thread; a token tells it from any later claim."""

    def __init__(self, run: RunDir, path: Path) -> None:
        self.run, self.path, self.token = run, path, uuid.uuid4().hex
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def create(self) -> bool:
        holder = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "started": process_start(os.getpid())}
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
        """Raise `Lost` unless this claim still holds the run. Called before every checkpoint and before the record."""
        claims = self.run.claims()
        if not claims or claims[0] != self.path or _holder(self.path).get("token") != self.token:
            raise Lost(f"{self.run.name} was taken over by another process")

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """As `replacing`, but raise `Lost` and leave `path` alone if the run was taken over, in whatever moment.

        The draft is whole before the claim is checked, and whoever takes a run over removes the drafts of its last holder: a
        process that sleeps between its check and its rename wakes up with nothing to rename.
        """
        try:
            with replacing(path, self.token) as draft:
                yield draft
                self.check()
        except FileNotFoundError:
            self.check()  # `Lost`, unless the disk has another excuse
            raise

    def publish_record(self, record: dict[str, Any]) -> None:
        """Write the record. It appears whole or not at all, never over another, and not from a process that lost the run."""
        self.check()
        draft = self.run.file(f".{self.token}.record")
        with writing(self.run.path):
            try:
                draft.write_text(dumps(record), encoding="utf-8")
                self.check()
                os.link(draft, self.run.file("record.json"))
            except FileExistsError:
                raise Lost(f"{self.run.name} already has a record") from None
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
            if _holder(self.path).get("token") != self.token:
                return
            if self.run.file("record.json").exists():
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


def _alive(claim: Path) -> bool:
    """Whether a claim's holder still lives: by its process on this host, by its heartbeat and the files' own clock elsewhere."""
    try:
        holder = _holder(claim)
        if holder["host"] == socket.gethostname():
            return bool(process_start(holder["pid"]) == holder["started"])
        return filesystem_now(claim.parent) - claim.stat().st_mtime < STALE_SECONDS
    except (OSError, ValueError, KeyError):
        return False


def _holder(claim: Path) -> dict[str, Any]:
    """Who holds a claim; empty when it was given back, has gone or is unreadable."""
    try:
        holder = json.loads(claim.read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


class writing:
    """Turn a failing write below `folder` into a `UserError` that says what failed and what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise UserError(
                f"could not write in {self.folder}: {error.strerror or error}; make room, permit writing there, or name another "
                f"folder with --results; finished runs are untouched and the same command goes on from the last checkpoint."
            ) from error


def dumps(value: dict[str, Any]) -> str:
    """JSON with one line for each key of the object: small, and still a readable difference under version control."""
    lines = (f"{json.dumps(k)}:{json.dumps(value[k], sort_keys=True, separators=(',', ':'))}" for k in sorted(value))
    return "{\n" + ",\n".join(lines) + "\n}\n"


@contextmanager
def replacing(path: Path, token: str) -> Iterator[Path]:
    """A draft beside `path` that takes its place when the block ends well. The token keeps two processes' drafts apart."""
    draft = path.with_name(f".{token}.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write by a rename, so that a reader sees the old or the new content."""
    with replacing(path, uuid.uuid4().hex) as draft:
        draft.write_text(dumps(value), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; a `UserError` names a file that is unreadable or truncated."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}; check its permissions.") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); remove the folder {path.parent} and run the same command again.") from None
    return value


def every_run(results: Path) -> list[RunDir]:
    """All run directories below a results folder, known by their spec.json."""
    found = []
    for protocol in _folders(results):
        for name in _folders(os.path.join(results, protocol)):
            if not name.startswith(".") and os.path.exists(os.path.join(results, protocol, name, "spec.json")):
                found.append(RunDir(results, os.path.join(protocol, name)))
    return found


def _folders(path: str | Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
