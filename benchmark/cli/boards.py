"""`bench leaderboard`: from finished runs to boards and their files, and what commands of boards share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.progress import make_console
from benchmark.spec import registry
from benchmark.spec.run import run_id

if TYPE_CHECKING:
    from benchmark.report.leaderboard import Board, Written


def boards_of(folder: Path, again: Path | None = None) -> list[Board]:
    """The boards of all records in a results folder, or in a folder of published records.

    again: results in which some of the same runs were made a second time; published ones are found beside
    their records. Raises `UserError` where there are none of the runs in `again`.
    """
    from benchmark.report import leaderboard, records, reruns

    if not folder.is_dir():
        return []
    collection = records.collect(folder, run_id)
    specs = [r.spec for r in collection.records] + [f.spec for f in collection.failures]
    used = {spec["method"] for spec in specs}
    current = {name: registry.method(name).version for name in used.intersection(registry.method_names())}
    boards = leaderboard.build(collection, current)
    place = again or reruns.published(folder)
    if place and boards:
        boards = reruns.attached(boards, records.collect(place, run_id))
    if again and not any(board.reruns for board in boards):
        raise UserError(
            f"{again} holds no whole seed of a row in {folder}; --rerun names a folder in which the same "
            f"runs were made again."
        )
    return boards


def chosen(folder: Path, use_published: bool, again: Path | None = None) -> list[Board]:
    """The boards of a folder of runs, or of published results; see `boards_of`. Raises `UserError` where
    there is none.
    """
    boards = boards_of(folder / "records" if use_published else folder, again)
    if not boards and use_published:
        raise UserError(
            f"no run is published in {folder}; `bench publish` publishes finished ones, --published-in names "
            f"another folder."
        )
    if not boards:
        raise UserError(
            f"there are no finished runs in {folder}; `bench run` makes some, --results names another folder."
        )
    return boards


def compared(differences: list[str], what: str, command: str, console: Console) -> int:
    """Print what `--check` found. what: was compared with records; command: makes it anew. Returns the exit
    code.
    """
    from benchmark.report.formats import counted

    for difference in differences:
        console.print(difference, soft_wrap=True, markup=False, highlight=False)
    if not differences:
        console.print(f"the {what} are what the records give.", soft_wrap=True)
        return 0
    console.print(f"{counted(len(differences), 'difference')}; regenerate with `{command}`.", soft_wrap=True)
    return 1


def sources(boards: list[Board]) -> dict[str, str]:
    """{method: hash of its source today} of the methods on boards that are here."""
    used = {e.row.method for board in boards for e in board.entries}
    return {name: registry.source_hash(name) for name in used.intersection(registry.method_names())}


def warn(boards: list[Board], console: Console) -> list[str]:
    """Print, and return, what a reader must know of where the records come from."""
    from benchmark.report import origins

    found = origins.warnings(boards, sources(boards))
    for warning in found:
        console.print(f"warning: {warning}", soft_wrap=True, markup=False, highlight=False)
    return found


def write_boards(
    boards: list[Board], folder: Path, console: Console, complete: bool = False, every: Sequence[Board] = ()
) -> Written:
    """Write tables and figures and say where they are. complete: these are all boards; files of others are
    removed. every: all, where these are not."""
    from benchmark.report import leaderboard

    written = leaderboard.write(boards, folder, complete=complete, every=every)
    for path in written.paths:
        if path.suffix in (".csv", ".md", ".tex"):
            console.print(f"wrote {path}", soft_wrap=True)
    for place in sorted({p.parent for p in written.paths if p.suffix == ".png"}):
        count = sum(p.parent == place and p.suffix == ".png" for p in written.paths)
        console.print(f"wrote {count} figures, as SVG and PNG, in {place}", soft_wrap=True)
    for note in written.notes:
        console.print(f"note: {note}", soft_wrap=True)
    return written


def show(
    results: Path,
    published: Path,
    use_published: bool,
    check: bool,
    rerun: Path | None = None,
    as_json: bool = False,
) -> int:
    """Print and write all boards; with `check`, compare with what is on disk instead and write nothing.

    rerun: another folder, in which some of the same runs were made again.
    """
    from benchmark.report import leaderboard, origins
    from benchmark.report.objects import objects

    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        console = make_console()
        folder = published if use_published else results
        if use_published and rerun:
            raise UserError(
                f"--rerun is for runs; those of published records are in {folder}/reruns, by `bench publish "
                f"--rerun`."
            )
        boards = chosen(folder, use_published, rerun)
        today = sources(boards)
        if check:
            flags = f"{' --published' * use_published}{f' --rerun {rerun}' if rerun else ''}"
            shown |= {"differences": leaderboard.check(boards, folder), "warnings": warn(boards, console)}
            return compared(shown["differences"], f"tables in {folder}", f"bench leaderboard{flags}", console)
        for board in boards:
            console.print(leaderboard.text(board))
            if found := origins.other_code(board, today):
                console.print(found, markup=False, highlight=False)
        written = write_boards(boards, folder, console, complete=True)
        shown["boards"] = [
            {"name": board.name, "files": _files_of(board, written.paths), "rows": objects(board)}
            for board in boards
        ]
        shown["notes"] = written.notes
        shown["warnings"] = origins.warnings(boards, today)
        for sentence in origins.apart(boards):
            console.print(f"note: {sentence}", soft_wrap=True, markup=False, highlight=False)
        return 0


def _files_of(board: Board, paths: list[Path]) -> list[str]:
    return [str(path) for path in paths if board.name in (path.stem, path.parent.name)]
