"""`bench compare`: whether one method is better than another, in words, on every board that holds both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.cli.boards import boards_of
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError, unknown
from benchmark.execute.progress import make_console
from benchmark.report.answers import as_object, estimate_object, overall, paragraph, summary
from benchmark.report.board import Board
from benchmark.report.compare import Answer, answer, entry


def compare(a: str, b: str, folder: Path, name: str, rerun: Path | None, as_json: bool) -> int:
    """Print a paragraph a board. folder: of runs, or of published records. name: the one board to look at,
    all if empty.

    rerun: another folder, in which some of the same runs were made again.
    """
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        boards = boards_of(folder, rerun)
        if not boards:
            raise UserError(
                f"there are no finished runs in {folder}; `bench run` makes some, --results names another "
                f"folder."
            )
        if name and name not in {board.name for board in boards}:
            raise unknown(f"board in {folder}", name, [board.name for board in boards])
        wanted = [board for board in boards if not name or board.name == name]
        answers = [found for board in wanted if (found := _answer(board, a, b))]
        if not answers:
            raise _no_answer(wanted, a, b)
        console = make_console()
        for found in answers:
            console.print(paragraph(found), markup=False, highlight=False)
        if len(answers) > 1:
            console.print(summary(answers), markup=False, highlight=False)
        shown |= {
            "answers": [as_object(found) for found in answers],
            "overall": estimate_object(overall(answers)),
        }
    return 0


def _answer(board: Board, a: str, b: str) -> Answer | None:
    mine, other = entry(board, a), entry(board, b)
    if mine is None or other is None:
        return None
    if mine is other:
        raise UserError(f"{a} and {b} are the same row of board {board.name}; name two different ones.")
    return answer(board, mine, other)


def _no_answer(boards: list[Board], a: str, b: str) -> UserError:
    """Why no board answers."""
    labels = sorted({e.label for board in boards for e in board.entries})
    for name in (a, b):
        if not any(entry(board, name) for board in boards):
            return unknown("row", name, labels)
    if not any(entry(board, a) and entry(board, b) for board in boards):
        return UserError(
            f"no board holds both {a} and {b}; run them under one protocol, data set and label setting."
        )
    return UserError(f"{a} and {b} have no finished seed in common; run both with the same seeds.")
