"""`bench leaderboard`, `report` and `compare`: what finished runs, or published records, say together."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import RESULTS, RUNS, Answer, Published, Rerun, Results, say
from benchmark.errors import UserError, unknown
from benchmark.errors import shown as shown_text
from benchmark.execute.progress import make_console
from benchmark.files import write_text
from benchmark.spec import registry
from benchmark.spec.protocol import NotNegative
from benchmark.spec.source import equal_code
from benchmark.typed import Name, check_keys, convert

if TYPE_CHECKING:
    from benchmark.report.board import Board
    from benchmark.report.leaderboard import Written

UsePublished = Annotated[bool, typer.Option("--published", help="Use the published records, not the runs.")]
Check = Annotated[bool, typer.Option("--check", help="Compare with the files on disk, write nothing.")]
Cost = Annotated[
    list[str],
    typer.Option(metavar="TASK=MINUTES", help="What a label takes to make, if runs do not say. Repeatable."),
]


def chosen(
    folder: Path, use_published: bool, again: Path | None = None, cost: Sequence[str] = ()
) -> list[Board]:
    """Return the boards of a folder of runs, or of published results.

    cost: prices of labels, as `Cost`. Raises `UserError` where there is none, and for a price that is none.
    """
    from benchmark.report.leaderboard import boards_of

    boards = boards_of(folder / "records" if use_published else folder, again)
    if not boards:
        if use_published:
            raise UserError(
                f"no run is published in {folder}; `bench publish --published-in {folder} RUN` publishes one."
            )
        raise UserError(
            f"there are no finished runs in {folder} by methods of today's versions; `bench run` makes some."
        )
    prices = {}
    for task, sign, minutes in (text.partition("=") for text in cost):
        try:
            prices[task] = float(minutes)
        except ValueError:
            wrong = shown_text(task + sign + minutes)
            raise UserError(f"--cost {wrong} is not TASK=MINUTES, such as --cost depth=0.5.") from None
    check_keys(prices, {task.name for board in boards for task in board.group.tasks}, "task in --cost")
    convert(prices, dict[Name, NotNegative], "--cost", "give minutes a label")
    for board in boards:
        board.group.protocol["cost"] = board.group.protocol["cost"] | prices
    return boards


def write_boards(
    boards: list[Board], folder: Path, complete: bool = False, every: Sequence[Board] = ()
) -> Written:
    """Write tables and figures and say where they are.

    complete: these are all boards; files of others are removed. every: all, where these are not.
    """
    from benchmark.report import leaderboard

    written = leaderboard.write(boards, folder, complete=complete, every=every)
    for path in written.paths:
        if path.suffix in (".csv", ".md", ".tex"):
            say(f"wrote {path}")
    for place in sorted({p.parent for p in written.paths if p.suffix == ".png"}):
        count = sum(p.parent == place and p.suffix == ".png" for p in written.paths)
        say(f"wrote {count} figures, as SVG and PNG, in {place}")
    if count := len(written.notes):
        say(f"note: {count} figures or rows are left out; left-out.txt beside the figures says why.")
    return written


def leaderboard(
    published: UsePublished = False,
    check: Check = False,
    rerun: Rerun = None,
    cost: Cost = [],  # noqa: B006
    results: Results = RUNS,
    published_in: Published = RESULTS,
) -> Answer:
    """Print the boards of all finished runs, or of the published records; make their tables and figures."""
    return _make("leaderboard", published, check, rerun, cost, published_in if published else results)


@functools.wraps(leaderboard, assigned=("__annotations__", "__module__"))  # the same options
def report(
    published: bool, check: bool, rerun: Path | None, cost: list[str], results: Path, published_in: Path
) -> Answer:
    """Make every table, figure and the page index.html from the records."""
    return _make("report", published, check, rerun, cost, published_in if published else results)


def _make(
    name: str, published: bool, check: bool, rerun: Path | None, cost: list[str], folder: Path
) -> Answer:
    from benchmark.report import captions, page, views
    from benchmark.report import leaderboard as tables
    from benchmark.report.formats import counted
    from benchmark.report.tables import objects

    if published and rerun:
        raise UserError(f"--rerun is for runs; second runs of published ones are in {folder / 'reruns'}.")
    boards, with_page = chosen(folder, published, rerun, cost), name == "report"
    used = {e.row.method for board in boards for e in board.entries}.intersection(registry.method_names())
    today = {method: equal_code(method, registry.source_hash(method)) for method in used}
    warnings = captions.warnings(boards, today)
    for board in boards if not (check or with_page) else ():
        make_console().print(views.text(board))
    for warning in warnings:
        say(f"warning: {warning}")
    shown: dict[str, Any] = {"warnings": warnings}
    if check:
        shown["differences"] = tables.check(boards, folder, with_page=with_page)
        for difference in shown["differences"]:
            say(difference)
        if not shown["differences"]:
            say(f"the tables{' and page' * with_page} in {folder} are what the records give.")
            return 0, shown
        command = f"bench {name}{' --published' * published}{f' --rerun {rerun}' if rerun else ''}"
        say(f"{counted(len(shown['differences']), 'difference')}; regenerate with `{command}`.")
        return 1, shown
    written = write_boards(boards, folder, complete=True)
    shown |= {"files": [str(path) for path in written.paths], "notes": written.notes}
    shown["boards"] = [{"name": board.name, "rows": objects(board)} for board in boards]
    if with_page:
        path, text = folder / page.NAME, page.html(boards, folder)
        write_text(path, text)
        say(f"wrote {path} ({len(text.encode()) / 2**20:.1f} MiB): open it in a browser")
        shown["page"] = str(path)
    return 0, shown


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A row as its board prints it, an encoder or a board.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    board: Annotated[
        str, typer.Option("--board", help="One board by its name; all that hold both, if not given.")
    ] = "",
    published: UsePublished = False,
    rerun: Rerun = None,
    results: Results = RUNS,
    published_in: Published = RESULTS,
) -> Answer:
    """Say whether A is better than B: the difference, its intervals, the exact test, tasks and cost.

    Of two encoders, or two boards that differ in nothing else, the same of each row, paired by seed.
    """
    from benchmark.report import compare as answers

    folder = published_in if published else results
    boards = chosen(folder, published, rerun)
    if board and board not in {each.name for each in boards}:
        raise unknown(f"board in {folder}", board, [each.name for each in boards])
    wanted = [each for each in boards if board in ("", each.name)]
    pairs = [(each, answers.entry(each, a), answers.entry(each, b)) for each in wanted]
    if not any(pair[1] or pair[2] for pair in pairs) and (twins := answers.twins(wanted, a, b)):
        return 0, {"answers": [found for pair in twins for found in _across(*pair)]}
    for name, at in ((a, 1), (b, 2)):
        if not any(pair[at] for pair in pairs):
            raise unknown("row", name, {e.label for each in wanted for e in each.entries})
    both = [(each, mine, other) for each, mine, other in pairs if mine and other]
    same = [each.name for each, mine, other in both if mine is other]
    if same and len(same) == len(both):
        raise UserError(f"{a} and {b} are the same row of board {same[0]}; name two different ones.")
    if not both:
        raise UserError(
            f"no board holds both {a} and {b}; run them under one protocol, data set and label setting."
        )
    found = [answer for pair in both if pair[1] is not pair[2] and (answer := answers.answer(*pair))]
    if not found:
        raise UserError(f"{a} and {b} have no finished seed in common; run both with the same seeds.")
    for answer in found:
        make_console().print(answer["text"])
    return 0, {"answers": found}


def _across(x: Board, y: Board) -> list[dict[str, Any]]:
    from benchmark.report import compare as answers

    found, left = answers.across(x, y)
    say(f"{answers.encoder_name(x)} ({x.name}) against {answers.encoder_name(y)} ({y.name})")
    for answer in found:
        say(answer["text"])
    if left:
        say(f"note: left out, as the two do not share its seeds and values: {', '.join(left)}.")
    return found
