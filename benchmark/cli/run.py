"""`bench run`, `worker`, `status` and `cancel`: from a plan to finished runs, and where they stand."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import (
    DATA,
    HANG_SECONDS,
    RUNS,
    SLURM_HELP,
    WORKERS_HELP,
    Data,
    HangAfter,
    Json,
    PerGpu,
    Plugin,
    Results,
    Set,
    What,
    Workers,
)
from benchmark.errors import UserError


def run(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is done.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    keep: Annotated[
        str, typer.Option(help="What to keep of a finished run's network: all, weights or none.")
    ] = "weights",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    slurm: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help=SLURM_HELP)] = [],  # noqa: B006
    wait: Annotated[
        bool, typer.Option("--wait", help="With --slurm, return when the runs have ended.")
    ] = False,
    workers: Workers = None,
    per_gpu: PerGpu = 1,
    hang_after: HangAfter = HANG_SECONDS,
    as_json: Json = False,
) -> None:
    """Run what is missing of a plan (without arguments: quickstart) and print its leaderboard."""
    from benchmark.cli import runs

    code = runs.run(
        what or [], settings, results, data, device=device, dry_run=dry_run, force=force,
        retry_failed=retry_failed, keep=keep,
        checkpoint_every=checkpoint_every, slurm=slurm, wait=wait, workers=workers, per_gpu=per_gpu,
        hang_after=hang_after,
        as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


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


def status(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Show the state of every run in the results folder."""
    from benchmark.cli import runs

    raise typer.Exit(runs.status(results, as_json))


def cancel(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or folder names of runs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Cancel every run that Slurm holds.")] = False,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Cancel runs of the results folder that wait or run on a Slurm cluster; checkpoints stay."""
    from benchmark.cli import cluster

    raise typer.Exit(cluster.cancel(names or [], everything, results, as_json))
