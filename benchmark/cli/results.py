"""`bench leaderboard`, `report` and `compare`: what finished runs, or published records, say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark import files
from benchmark.cli.options import DATA, RESULTS, RUNS, Data, Json, Published, Rerun, Results
from benchmark.cli.scripts import for_scripts, say
from benchmark.errors import UserError, unknown
from benchmark.errors import shown as shown_text
from benchmark.execute.progress import make_console
from benchmark.spec import registry
from benchmark.spec.protocol import NotNegative
from benchmark.spec.source import equal_code
from benchmark.typed import Name, check_keys, convert

if TYPE_CHECKING:
    from benchmark.report.board import Board
    from benchmark.report.leaderboard import Written

UsePublished = Annotated[bool, typer.Option("--published", help="Use the published records, not the runs.")]


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
        raise UserError(f"there are no finished runs in {folder}; `bench run` makes some.")
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


def sources(boards: list[Board]) -> dict[str, frozenset[str]]:
    """Return {method: hashes of code of today's numbers} of the methods on boards that are here."""
    used = {e.row.method for board in boards for e in board.entries}
    methods = used.intersection(registry.method_names())
    return {name: equal_code(name, registry.source_hash(name)) for name in methods}


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
    results: Results = RUNS,
    published: UsePublished = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the tables on disk, write nothing.")
    ] = False,
    rerun: Rerun = None,
    cost: Cost = [],  # noqa: B006
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> int:
    """Make tables and figures of all finished runs, or of the published records."""
    from benchmark.report import captions, leaderboard, views
    from benchmark.report.tables import objects

    folder = published_in if published else results
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        if published and rerun:
            raise UserError(f"--rerun is for runs; second runs of published ones are in {folder / 'reruns'}.")
        boards = chosen(folder, published, rerun, cost)
        today = sources(boards)
        shown["warnings"] = captions.warnings(boards, today)
        if check:
            shown["differences"] = leaderboard.check(boards, folder)
            command = f"bench leaderboard{' --published' * published}{f' --rerun {rerun}' if rerun else ''}"
            return _compared(shown, f"tables in {folder}", command)
        for board in boards:
            make_console().print(views.text(board))
            if found := captions.other_code(board, today):
                say(found)
        written = write_boards(boards, folder, complete=True)
        shown["boards"] = [
            {
                "name": board.name,
                "files": [str(p) for p in written.paths if board.name in (p.stem, p.parent.name)],
                "rows": objects(board),
            }
            for board in boards
        ]
        shown["notes"] = written.notes
    return 0


def report(
    published: UsePublished = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare tables and page with the records; write nothing.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="With --check, draw every figure again and compare it too.")
    ] = False,
    cost: Cost = [],  # noqa: B006
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> int:
    """Make every table, figure and the page index.html from the records."""
    from benchmark.report import captions, leaderboard, page

    folder = published_in if published else results
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        if figures and not check:
            raise UserError("--figures requires --check; without both, `bench report` draws every figure.")
        boards = chosen(folder, published, cost=cost)
        shown["warnings"] = captions.warnings(boards, sources(boards))
        if check:
            shown["differences"] = leaderboard.check(boards, folder, with_page=True)
            shown["differences"] += leaderboard.check_figures(boards, folder) if figures else []
            what = "tables, figures and page" if figures else "tables and page"
            return _compared(shown, f"{what} in {folder}", f"bench report{' --published' * published}")
        written = write_boards(boards, folder, complete=True)
        path, text = folder / page.NAME, page.html(boards, folder)
        with files.writing(folder), files.replacing(path, "report") as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")
        say(f"wrote {path} ({len(text.encode()) / 2**20:.1f} MiB): open it in a browser")
        shown |= {"page": str(path), "files": [str(p) for p in written.paths], "notes": written.notes}
        for warning in shown["warnings"]:
            say(f"warning: {warning}")
    return 0


def _compared(shown: dict[str, Any], what: str, command: str) -> int:
    """Print what `--check` found; `command` makes `what` anew. Return the exit code."""
    from benchmark.report.formats import counted

    for warning in shown["warnings"]:
        say(f"warning: {warning}")
    for difference in shown["differences"]:
        say(difference)
    if not shown["differences"]:
        say(f"the {what} are what the records give.")
        return 0
    say(f"{counted(len(shown['differences']), 'difference')}; regenerate with `{command}`.")
    return 1


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
    data: Data = DATA,
    as_json: Json = False,
) -> int:
    """Say whether A is better than B: the difference, its intervals, the exact test, tasks and cost.

    Of two encoders, or two boards that differ in nothing else, the same of each row, paired by seed.
    """
    from benchmark.report import compare as answers

    folder = published_in if published else results
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        boards = chosen(folder, published, rerun)
        if board and board not in {each.name for each in boards}:
            raise unknown(f"board in {folder}", board, [each.name for each in boards])
        wanted = [each for each in boards if board in ("", each.name)]
        pairs = [(each, answers.entry(each, a), answers.entry(each, b)) for each in wanted]
        if not any(pair[1] or pair[2] for pair in pairs) and (twins := _by_encoder(wanted, a, b)):
            shown |= _across(twins)
            return 0
        for name, at in ((a, 1), (b, 2)):
            if not any(pair[at] for pair in pairs):
                raise unknown("row", name, {e.label for each in wanted for e in each.entries})
        if same := [each.name for each, mine, other in pairs if mine and mine is other]:
            raise UserError(f"{a} and {b} are the same row of board {same[0]}; name two different ones.")
        both = [(each, mine, other) for each, mine, other in pairs if mine and other]
        if not both:
            raise UserError(
                f"no board holds both {a} and {b}; run them under one protocol, data set and label setting."
            )
        found = [answer for pair in both if (answer := answers.answer(*pair))]
        if not found:
            raise UserError(f"{a} and {b} have no finished seed in common; run both with the same seeds.")
        console = make_console()
        for answer in found:
            console.print(answer["text"])
        if mean := answers.overall(found):
            console.print(answers.summary(found, mean))
        shown["answers"] = found
        shown["overall"] = asdict(mean) if mean else None
    return 0


def _by_encoder(boards: list[Board], a: str, b: str) -> list[tuple[Board, Board]]:
    """Return the pairs of boards that two encoders or names of boards mean; none where neither means any."""
    sides = [[x for x in boards if name in (x.name, x.group.protocol["encoder"])] for name in (a, b)]
    for name, side in zip((a, b), sides, strict=True):
        if any(sides) and not side:
            known = {x for board in boards for x in (board.name, board.group.protocol["encoder"])}
            raise unknown("board or encoder", name, known)
    pairs = [(x, y) for x in sides[0] for y in sides[1] if x is not y]
    if any(sides) and not pairs:
        raise UserError(f"{a} and {b} mean one board; name two encoders, or two boards by their names.")
    return pairs


def _across(pairs: list[tuple[Board, Board]]) -> dict[str, Any]:
    """Print and return the answers across encoders."""
    from benchmark.report import compare as answers

    differing = [(answers.other_values(*pair), pair) for pair in pairs]
    values, (x, y) = min(differing, key=lambda each: len(each[0]))
    if values:
        raise UserError(
            f"{x.name} and {y.name} differ in more than encoder and weights: {', '.join(values)}; run both "
            "with the same values."
        )
    shown: dict[str, Any] = {"answers": [], "overall": None}
    for x, y in [pair for values, pair in differing if not values]:
        found, left = answers.across(x, y)
        say(f"{answers.encoder_name(x)} ({x.name}) against {answers.encoder_name(y)} ({y.name})")
        for answer in found:
            say(answer["text"])
        if left:
            say(f"note: left out, as the two do not share its seeds and values: {', '.join(left)}.")
        shown["answers"] += found
    return shown
