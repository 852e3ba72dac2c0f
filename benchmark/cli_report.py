"""`bench compare`: one question to the boards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.options import DATA, RESULTS, RUNS, Data, Json, Published, Results


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A method, or a row as the board prints it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    board: Annotated[str, typer.Option("--board", help="One board by its name; all that hold both, if not given.")] = "",
    published: Annotated[bool, typer.Option("--published", help="Ask the published records.")] = False,
    rerun: Annotated[
        Path | None, typer.Option("--rerun", metavar="FOLDER", help="Results in which some of the same runs were made again.")
    ] = None,
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Say whether A is better than B: the difference with its intervals, the exact test, the tasks and what it costs."""
    from benchmark.commands import compare as command

    folder = published_in / "records" if published else results
    raise typer.Exit(command.compare(a, b, folder, board, rerun, as_json))
