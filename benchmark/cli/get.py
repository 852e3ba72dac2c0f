"""`bench data get`: fetch what is openly downloadable of a data set, after saying what and asking."""

from __future__ import annotations

import re
import shlex
import sys
import time
from pathlib import Path

import typer
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from benchmark import ROOT
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.fetch import fetch, name_of
from benchmark.execute.progress import PLAIN_SECONDS, make_console
from benchmark.execute.unpack import folder_of, unpack
from benchmark.spec import registry
from datasets.base import Dataset
from datasets.downloads import DOWNLOADS, Download
from datasets.prepared import Prepared

OK, DECLINED, INTERRUPTED = 0, 1, 130


class _Said:
    """How far a download is: a bar in a terminal, a line now and then in a pipe."""

    def __init__(self) -> None:
        self.console = make_console()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.rows: dict[str, TaskID] = {}
        self.said = time.monotonic()

    def progress(self, what: str, done: int, total: int | None) -> None:
        if what not in self.rows:  # what came earlier is no part of the speed
            self.rows[what] = self.bars.add_task(what, total=total, completed=done)
        self.bars.update(self.rows[what], completed=done, total=total)
        if not self.console.is_terminal and time.monotonic() - self.said > PLAIN_SECONDS:
            self.said = time.monotonic()
            self.note(f"{what}: {decimal(done)}" + (f" of {decimal(total)}" if total else ""))

    def note(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def last(self, text: str) -> str:
        self.note(text)
        return text


def get(
    name: str, data: Path, yes: bool, url: str | None = None, sha256: str | None = None, as_json: bool = False
) -> int:
    """Fetch a data set's file into DATA/downloads, unpack it if it is an archive, and say how to prepare it.

    yes: without asking. url, sha256: another place to fetch it from, and what the file must be.
    """
    shown: dict[str, str | None] = {"file": None}
    with for_scripts(as_json, shown):
        kind = registry.dataset(name)
        known = DOWNLOADS.get(kind.name)
        said = _Said()
        if issubclass(kind, Prepared):
            kind.form_of(name.replace("_", "-"))
        elif known is None:
            shown["said"] = said.last(f"{kind.name} is made on the spot; there is nothing to download.")
            return OK
        if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise UserError(f"--sha256 {sha256!r} is not a SHA-256; expected 64 hexadecimal digits.")
        where = url if url is not None else known.url if known else None
        if where is None:
            told = (
                known.elsewhere[0]
                if known
                else f"its source is {kind.source}; --url URL fetches it from a place that you know."
            )
            raise UserError(f"no file of {kind.name} can be fetched by a program: {told}")
        size = known.size if known and url is None else None
        target = data / "downloads" / name_of(where)
        folder = folder_of(target)
        if folder is None or not folder.exists():
            part = target.with_name(f"{target.name}.part")
            if not target.exists() and not _agreed(kind, known, where, size, target, part, yes, said):
                shown["said"] = said.last("nothing was fetched.")
                return DECLINED
            try:
                with said.bars:
                    fetch(where, target, said, sha256, size)
                    if folder:
                        unpack(target, folder, said)
            except KeyboardInterrupt:
                kept = (
                    f"{decimal(part.stat().st_size)} are kept in {part}"
                    if part.exists()
                    else f"{target} is kept"
                )
                shown["said"] = said.last(f"interrupted: {kept}; the same command goes on from there.")
                return INTERRUPTED
        here = folder or target
        with_data = "" if data == ROOT / "data" else f" --data {shlex.quote(str(data))}"
        following = f"bench data prepare {name.replace('_', '-')} {shlex.quote(str(here))}{with_data}"
        shown |= {"file": str(here), "said": said.last(f"{here} is here; next: {following}")}
        return OK


def _agreed(
    kind: type[Dataset],
    known: Download | None,
    url: str,
    size: int | None,
    target: Path,
    part: Path,
    yes: bool,
    said: _Said,
) -> bool:
    """Say what is to be fetched; whether the user wants that. Raises `UserError` where there is nobody to
    ask.
    """
    bytes_ = decimal(size) if size else "size known when it starts"
    came = f"; {decimal(part.stat().st_size)} came earlier" if part.exists() else ""
    said.note(f"{kind.name}: {kind.summary}\n  from     {url}\n  to       {target} ({bytes_}{came})")
    said.note(f"  source   {kind.source}\n  licence  {kind.licence}")
    for sentence in known.elsewhere if known else ():
        said.note(f"note: {sentence}")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"nothing was fetched, as there is no terminal to ask in; add --yes to fetch {url}.")
    return typer.confirm("Fetch it?")
