"""Leaderboards from records: build them, write them, and check that those on disk are what the records give."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from benchmark import store
from benchmark.report import published
from benchmark.report.board import Board, build
from benchmark.report.tables import csv_text, markdown
from benchmark.report.terminal import text

__all__ = ["Board", "Written", "build", "check", "text", "write"]


def files(boards: Sequence[Board]) -> dict[str, str]:
    """{path below the results folder: content} of every table."""
    found = {f"leaderboards/{board.name}.csv": csv_text(board) for board in boards}
    return found | {f"tables/{board.name}.md": markdown(board) + published.markdown(board) for board in boards}


@dataclass(frozen=True)
class Written:
    """paths: the files written. notes: a sentence for each figure, or part of one, left out for want of input."""

    paths: list[Path]
    notes: list[str]


def write(boards: Sequence[Board], folder: Path, *, complete: bool = False) -> Written:
    """Write every board's CSV, Markdown and figures below `folder`. Raises `UserError` when writing fails.

    complete: these are all boards of the folder, so tables and figures there of any other board are removed.
    What figures leave out is also listed beside them, in figures/<board>/left-out.txt.
    """
    from benchmark.report import plots  # matplotlib takes seconds to import; tables and checks do without it

    written = Written([], [])
    with store.writing(folder):
        for name, content in files(boards).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            written.paths.append(path)
        for board in boards:
            drawn = plots.draw(board, folder / "figures" / board.name)
            written.paths.extend(drawn.files)
            written.notes.extend(f"{board.name}: {note}" for note in drawn.notes)
        if complete:
            _remove_others(boards, folder)
    return written


def _tables(folder: Path) -> list[Path]:
    """The tables of boards that are there; `bench ablate` keeps its own beside them."""
    found = [path for pattern in ("leaderboards/*.csv", "tables/*.md") for path in sorted(folder.glob(pattern))]
    return [path for path in found if path.parent.name != "tables" or not path.name.startswith("ablation-")]


def _remove_others(boards: Sequence[Board], folder: Path) -> None:
    """Remove tables and figures of boards that are not among these; what `write` would not have made stays."""
    from benchmark.report import plots

    expected, names = files(boards), {board.name for board in boards}
    for path in _tables(folder):
        if path.relative_to(folder).as_posix() not in expected and path.is_file():
            path.unlink()
    for path in sorted(folder.glob("figures/*")):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            inside = list(path.iterdir())
            if all(p.is_file() and (p.suffix in (".svg", ".png") or p.name == plots.LEFT_OUT) for p in inside):
                for found in inside:
                    found.unlink()
                path.rmdir()


def check(boards: Sequence[Board], folder: Path) -> list[str]:
    """What differs between the tables below `folder` and those that the records give, one sentence each; [] if nothing."""
    expected = files(boards)
    found = []
    for name, content in expected.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing.")
        elif path.read_bytes() != content.encode():
            found.append(f"{name} {_difference(path.read_bytes().decode('utf-8', errors='replace'), content, name)}.")
    extra = [str(path.relative_to(folder)) for path in _tables(folder) if path.relative_to(folder).as_posix() not in expected]
    return found + [f"{name} belongs to no board of these records." for name in extra]


def _difference(disk: str, records: str, name: str) -> str:
    """Where two tables first differ, in words."""
    if name.endswith(".csv"):
        lines = [list(csv.reader(io.StringIO(content))) for content in (disk, records)]
        if lines[0] and lines[0][0] == lines[1][0] and len(lines[0]) == len(lines[1]):
            for a, b in zip(*lines, strict=True):
                for column, x, y in zip_longest(lines[1][0], a, b, fillvalue=""):
                    if x != y:
                        method = b[lines[1][0].index("method")]
                        return f"differs: {column} of {method} is {x!r} on disk, {y!r} from the records"
    pairs = zip_longest(disk.splitlines(), records.splitlines())
    line = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), None)
    return "differs in its line ends" if line is None else f"differs from line {line} on"
