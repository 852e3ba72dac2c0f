"""The command `tune`, which searches on a part of the train images."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import DATA, RESULTS, RUNS, Data, Json, Plugin, Published, Results, Set
from benchmark.errors import UserError


def tune(
    methods: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METHOD]...", help="One method, or with --rate any of the plan's."),
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials; the first is the method's defaults.")] = 10,
    rate: Annotated[
        bool,
        typer.Option(
            "--rate",
            help="Search the learning rate of every row of the plan instead, each by the same trials.",
        ),
    ] = False,
    rates: Annotated[
        list[float],
        typer.Option(
            "--rates", metavar="X", help="With --rate: a rate over the protocol's. May be repeated."
        ),
    ] = [0.3, 1.0, 3.0],  # noqa: B006
    seeds: Annotated[
        list[int],
        typer.Option("--seeds", metavar="N", help="With --rate: a seed of the trials, none of the plan's."),
    ] = [100, 101],  # noqa: B006
    once: Annotated[
        list[str],
        typer.Option("--once", metavar="ROW", help="With --rate: a long row, tried on the first seed alone."),
    ] = [],  # noqa: B006
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --rate: as of `bench run`.", show_default="one a core"),
    ] = None,
    space: Annotated[
        list[str],
        typer.Option(
            metavar="KEYWORD=[...]", help="Values to search; by default a grid around the method's own."
        ),
    ] = [],  # noqa: B006
    source: Annotated[
        str | None,
        typer.Option(
            "--plan", help="The plan whose protocol and data it is tuned on.", show_default="quickstart"
        ),
    ] = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    published_in: Published = RESULTS,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Json = False,
) -> None:
    """Search a method's keywords, or all rows' learning rates, on a part of the train images, and write the
    plan of the best.
    """
    from benchmark.cli import rates as search
    from benchmark.cli import tune as command
    from benchmark.spec.plan import DEFAULT

    if rate:
        shared = (results, data, published_in, device, workers, as_json)
        more = (methods or [], source or DEFAULT, settings, rates, seeds, once, *shared)
        raise typer.Exit(search.run(*more))
    if len(methods or []) != 1:
        raise UserError(
            f"{len(methods or [])} methods are named, and keywords are searched of one; name one, or give "
            f"--rate."
        )
    raise typer.Exit(
        command.run(
            (methods or [""])[0], trials, space, source or DEFAULT, settings, results, data, device, as_json
        )
    )
