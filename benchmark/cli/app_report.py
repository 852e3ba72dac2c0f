"""`bench compare`, one question to the boards, and `bench report`, all that they say."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import DATA, RESULTS, RUNS, Data, Json, Published, Rerun, Results


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A method, or a row as the board prints it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    board: Annotated[
        str, typer.Option("--board", help="One board by its name; all that hold both, if not given.")
    ] = "",
    published: Annotated[bool, typer.Option("--published", help="Ask the published records.")] = False,
    rerun: Rerun = None,
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Say whether A is better than B: the difference with its intervals, the exact test, the tasks and what
    it costs.
    """
    from benchmark.cli import compare as command

    folder = published_in / "records" if published else results
    raise typer.Exit(command.compare(a, b, folder, board, rerun, as_json))


def report(
    published: Annotated[
        bool, typer.Option("--published", help="Read and write the published results.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare tables and page with the records; write nothing.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="With --check, draw every figure again and compare it too.")
    ] = False,
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Make every table, figure and the page index.html from the records."""
    from benchmark.cli import report as command

    raise typer.Exit(command.report(results, published_in, published, check, figures, as_json))
