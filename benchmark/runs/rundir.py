"""Run directories: the state of a run, its holder and its record. States are files; there is no database.

    <results>/<protocol>/<run>/  spec.json env.json claim-<n>.json curve.jsonl checkpoint.pt error.txt
                                 per_image.npz panel.webp weights.pt progress.json record.json

`record.json` is written last, by an exclusive link: its existence means done, and nothing overwrites it.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from benchmark.errors import UserError
from benchmark.files import parse, read_bytes, write_json, writing
from benchmark.runs.claim import Claim, Lost, alive, changed, claims_in, holder_of, names_in, number_of
from benchmark.runs.schema import read_record
from benchmark.spec.run import RunSpec

State = Literal["missing", "running", "stale", "failed", "done"]


class Stamp(NamedTuple):
    """How far a run under way is. at: ns; left: seconds, by the steps since it was taken up."""

    at: int
    step: int
    steps: int
    loss: float
    left: float


class RunDir:
    """The directory of one run."""

    def __init__(self, results: Path, folder: str) -> None:
        self.path = results / folder
        self.name = self.path.name

    def file(self, name: str) -> Path:
        """Return the path of a file of this run."""
        return self.path / name

    @property
    def record(self) -> dict[str, Any] | None:
        """The record; None before the run is done. Raises `UserError` for one that is damaged or edited."""
        return read_record(self.file("record.json")) if self.file("record.json").exists() else None

    @property
    def error(self) -> str:
        """What error.txt says of a run that failed, or nothing."""
        try:
            return read_bytes(self.file("error.txt")).decode(errors="replace")
        except (OSError, ValueError):
            return ""

    @property
    def reason(self) -> str:
        """The first line of error.txt, or nothing."""
        return self.error.split("\n")[0]

    @property
    def progress(self) -> Stamp:
        """The last stamp of a run under way; zeros without one."""
        try:
            found = parse(read_bytes(self.file("progress.json")), json.loads)
            step, steps, loss, left = msgspec.convert(found, tuple[int, int, float, float])
        except (OSError, ValueError):  # none yet, or half-written
            step, steps, loss, left = 0, 0, 0.0, 0.0
        return Stamp(changed(self.file("progress.json")), step, steps, loss, left)

    def written_since(self, name: str, began: float) -> bool:
        """Tell whether a file is there that is newer than a time by the folder's own clock."""
        return changed(self.file(name)) > began * 1e9

    def claims(self) -> list[Path]:
        """Return the claims on this run, newest first."""
        return claims_in(self.path)

    def state(self) -> State:
        """Return the state of the run, by the files that are there."""
        names = names_in(self.path)  # one look at the folder, since `status` asks thousands of runs
        if "record.json" in names:
            return "done"
        claims = claims_in(self.path, names)
        if claims and alive(claims[0]):
            return "running"
        if "error.txt" in names:
            return "failed"
        abandoned = bool(claims) and "token" in holder_of(claims[0])
        return "stale" if abandoned or "checkpoint.pt" in names else "missing"

    def claim(self, spec: RunSpec, again: bool = False) -> Claim | None:
        """Take this run; None if a live process has it or, unless it is to be done `again`, it is done."""
        with writing(self.path):
            try:
                return self._claim(spec, again)
            except FileNotFoundError:  # its last holder removed the folder, untouched, in this very moment
                return self._claim(spec, again)

    def _claim(self, spec: RunSpec, again: bool) -> Claim | None:
        self.path.mkdir(parents=True, exist_ok=True)
        claims = self.claims()
        if claims and alive(claims[0]):
            return None
        number = number_of(claims[0].name) + 1 if claims else 0
        claim = Claim(self.file(f"claim-{number:06d}.json"), holder_of(claims[0]) if claims else None)
        if not claim.create():
            return None
        # Between the look and the claim the run may have been finished, or taken and given back and taken
        # again.
        if (self.file("record.json").exists() and not again) or self.claims()[0] != claim.path:
            claim.release()
            return None
        for old in claims:
            drafts = f".{holder_of(old).get('token')}."
            old.unlink(missing_ok=True)
            # What the dead holder was writing goes too: should it revive, it has nothing left to put in a
            # file's place.
            for name in names_in(self.path):
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
        """Remove the folder, still held by `claim`, if it has no checkpoint, record, error or weights."""
        kept = ("checkpoint.pt", "record.json", "error.txt", "weights.pt")
        if any(self.file(name).exists() for name in kept):
            return
        with suppress(Lost, OSError):
            claim.check()
            aside = self.path.with_name(f".{claim.token}")  # by a rename, so that nobody claims half a folder
            self.path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            self.path.parent.rmdir()  # and the protocol's, if it was the only one


def every_run(results: Path) -> list[RunDir]:
    """Return all run directories below a results folder, known by their spec.json."""
    found = (file.split(os.sep)[:2] for file in glob.glob("*/*/spec.json", root_dir=results))
    return [RunDir(results, os.path.join(*parts)) for parts in sorted(found)]


def means(name: str, folder: str) -> bool:
    """Tell whether a name means a run: what `bench status` prints, its folder, or the start of its id."""
    run = os.path.basename(folder)
    return name in (folder, run) or run.rpartition("-")[2].startswith(name)


def find_run(results: Path, name: str) -> RunDir:
    """Return the run whose folder it is, or that `means` it. Raises `UserError` for none, or several."""
    if (folder := Path(name).absolute()).joinpath("spec.json").is_file():
        return RunDir(folder.parent, folder.name)
    runs = [run for run in every_run(results) if means(name, f"{run.path.parent.name}/{run.name}")]
    if len(runs) != 1:
        found = f"{len(runs)} runs" if runs else "no run"
        raise UserError(
            f"{name!r} names {found} in {results}; give an id, or a run as `bench status` prints it."
        )
    return runs[0]
