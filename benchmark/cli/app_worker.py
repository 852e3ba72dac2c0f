"""`bench worker`: the same options as `bench run`, but for those that make sense in one process alone."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import (
    DATA,
    HANG_SECONDS,
    RUNS,
    WORKERS_HELP,
    Data,
    HangAfter,
    Json,
    PerGpu,
    Plugin,
    Results,
    Set,
    What,
)  # fmt: skip
from benchmark.errors import UserError


def worker(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[int, typer.Option(metavar="N", help=WORKERS_HELP)] = 1,
    per_gpu: PerGpu = 1,
    hang_after: HangAfter = HANG_SECONDS,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="End when the rest is held by other processes.")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="What to keep of a finished run's network: all, weights or none.")
    ] = "weights",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    as_json: Json = False,
) -> None:
    """Work on a plan together with workers on other hosts that share the results folder, until nothing is
    left of it.
    """
    from benchmark.cli import runs

    if workers < 1:
        raise UserError(f"--workers {workers} is not a number of processes of 1 or more.")
    code = runs.run(
        what or [], settings, results, data, device=device, dry_run=False, force=False,
        retry_failed=retry_failed, keep=keep,
        checkpoint_every=checkpoint_every, slurm=[], wait=False, workers=workers, per_gpu=per_gpu,
        hang_after=hang_after,
        as_json=as_json, to_the_end=not no_wait,
    )  # fmt: skip
    raise typer.Exit(code)
