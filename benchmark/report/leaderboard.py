"""Leaderboards from records: build them, write them, and check that those on disk are what the records
give.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.files import writing
from benchmark.report import differences, latex, long, published
from benchmark.report.board import Board, build
from benchmark.report.tables import csv_text, markdown
from benchmark.report.terminal import text

__all__ = ["Board", "Written", "build", "check", "text", "write"]


def files(boards: Sequence[Board]) -> dict[str, str]:
    """{path below the results folder: content} of every table."""
    found = {}
    for board in boards:
        found[f"leaderboards/{board.name}.csv"] = csv_text(board)
        found[f"leaderboards/long/{board.name}.csv"] = long.csv_text(board)
        found[f"tables/{board.name}.md"] = markdown(board) + published.markdown(board)
        found[f"tables/{board.name}.tex"] = latex.table(board)
    return found


@dataclass(frozen=True)
class Written:
    """paths: the files written. notes: a sentence for each figure, or part of one, left out for want of
    input.
    """

    paths: list[Path]
    notes: list[str]


def write(
    boards: Sequence[Board], folder: Path, *, complete: bool = False, every: Sequence[Board] = ()
) -> Written:
    """Write every board's tables and figures below `folder`. Raises `UserError` when writing fails.

    every: all boards of the folder, where these are a part of them: figures across boards show the others
    too.
    complete: these are all boards of the folder, so tables and figures there of any other board are removed.
    What figures leave out is also listed beside them, in figures/<board>/left-out.txt.
    """
    from benchmark.report.figures import board as plots
    from benchmark.report.figures import budget

    written, tables = Written([], []), files(boards)
    with writing(folder):
        for name, content in tables.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            written.paths.append(path)
        for board in boards:
            drawn = plots.draw(board, folder / "figures" / board.name)
            written.paths.extend(drawn.files)
            written.notes.extend(f"{board.name}: {note}" for note in drawn.notes)
        paths, notes = budget.draw(every or boards, folder / "figures")
        written.paths.extend(paths)
        written.notes.extend(notes)
        if complete:
            _remove_others(boards, tables, folder)
    return written


def _tables(folder: Path) -> list[Path]:
    """The tables of boards that are there; `bench ablate` keeps its own beside them."""
    patterns = ("leaderboards/*.csv", "leaderboards/long/*.csv", "tables/*.md", "tables/*.tex")
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [path for path in found if path.parent.name != "tables" or not path.name.startswith("ablation-")]


def _remove_others(boards: Sequence[Board], tables: Collection[str], folder: Path) -> None:
    """Remove tables and figures of boards that are not among these; what `write` would not have made
    stays.
    """
    from benchmark.report.figures import board as plots
    from benchmark.report.figures import budget

    names = {b.name for b in boards} | {family.name for family in budget.families(boards)}
    for path in _tables(folder):
        if path.relative_to(folder).as_posix() not in tables and path.is_file():
            path.unlink()
    for path in sorted(folder.glob("figures/*")):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            inside = list(path.iterdir())
            if all(
                p.is_file() and (p.suffix in (".svg", ".png") or p.name == plots.LEFT_OUT) for p in inside
            ):
                for found in inside:
                    found.unlink()
                path.rmdir()


def check(boards: Sequence[Board], folder: Path) -> list[str]:
    """What differs between the tables below `folder` and those that the records give, one sentence each; []
    if nothing.
    """
    expected = files(boards)
    here = {path.relative_to(folder).as_posix(): _content(path) for path in _tables(folder) if path.is_file()}
    found = _runs(boards, expected, here)
    for name, content in expected.items():
        if name not in here:
            found.append(f"{name} is missing.")
        elif here[name] != content:
            found += differences.describe(name, here[name], content)
    return found + [f"{name} belongs to no board of these records." for name in here if name not in expected]


def _content(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def _runs(boards: Sequence[Board], expected: dict[str, str], here: dict[str, str]) -> list[str]:
    """The runs that tables on disk name and that have no record any more, and those that they should name."""
    known = {run for board in boards for run in board.run_ids}
    named, given = differences.runs(here), differences.runs(expected)
    lost = [
        f"{name} names the run {run} of {method}, which has no record any more."
        for run, (name, method) in named.items()
        if run not in known
    ]
    new = [
        f"{name} does not name the run {run} of {method}, which has a record."
        for run, (name, method) in given.items()
        if name in here and run not in named
    ]
    return lost + new
