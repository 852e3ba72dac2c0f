"""The command `perf`, which measures the benchmark itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import DATA, RESULTS, RUNS, Data, Json, Plugin, Published, Results, Set

STUDIES_HELP = (
    "methods, batch, tasks, size, threads, layout, where (operators), evaluation, start (of a process) or "
    "leaderboard. May be "
    "repeated."
)
STEPS_HELP = "Timed calls of each variant; by default 15 on a CPU and 100 on a GPU."
PEERS_HELP = "Set what was measured on a GPU beside the figures of the published codes."


def perf(
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Methods of the plan; all by default.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--plan", help="The plan whose protocol and keywords are measured.", show_default="quickstart"
        ),
    ] = None,
    studies: Annotated[list[str], typer.Option("--study", metavar="NAME", help=STUDIES_HELP)] = ["methods"],  # noqa: B006
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    steps: Annotated[int | None, typer.Option(metavar="N", help=STEPS_HELP)] = None,
    results: Results = RUNS,
    data: Data = DATA,
    published_in: Published = RESULTS,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for perf.json and the figure.", show_default="perf/ of the results"),
    ] = None,
    against_peers: Annotated[bool, typer.Option("--against-peers", help=PEERS_HELP)] = False,
    as_json: Json = False,
) -> None:
    """Measure what steps, evaluation, starts and boards cost on this machine, on samples made up for it."""
    from benchmark.cli import perf as command
    from benchmark.spec.plan import DEFAULT

    code = command.perf(
        methods or [],
        source or DEFAULT,
        studies,
        settings,
        steps,
        results,
        data,
        published_in,
        device,
        out,
        against_peers,
        as_json,
    )
    raise typer.Exit(code)
