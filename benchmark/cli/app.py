"""The command line: arguments in, one call out. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.app_data import data_app, labels_app
from benchmark.cli.app_perf import perf
from benchmark.cli.app_plans import SUMMARY, ablating
from benchmark.cli.app_report import compare, report
from benchmark.cli.app_tune import tune
from benchmark.cli.app_worker import worker
from benchmark.cli.options import (
    DATA,
    HANG_SECONDS,
    RESULTS,
    RUNS,
    SLURM_HELP,
    Data,
    HangAfter,
    Json,
    PerGpu,
    Plugin,
    Published,
    Rerun,
    Results,
    Set,
    What,
    Workers,
)
from benchmark.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Compare methods that learn several dense prediction tasks from partially labelled images.",
    epilog="Exit codes: 0 all done, 1 some runs failed or a check found differences, 2 bad input, 130 "
    "interrupted.",
)
app.add_typer(data_app, name="data")
app.add_typer(labels_app, name="labels")
app.command()(worker)
app.command()(perf)
app.command()(compare)
app.command()(report)
app.command()(tune)


@app.command()
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


app.command("ablate", help=SUMMARY)(ablating(run))


@app.command()
def plan(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Show every run of a plan and its state, what was left out and why, and the hours that the missing ones
    will take.
    """
    from benchmark.cli import plans

    raise typer.Exit(plans.show_plan(what or [], settings, results, data, as_json, published_in))


@app.command()
def status(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Show the state of every run in the results folder."""
    from benchmark.cli import runs

    raise typer.Exit(runs.status(results, as_json))


@app.command()
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


@app.command()
def leaderboard(
    results: Results = RUNS,
    published: Annotated[
        bool, typer.Option("--published", help="Use the published records instead of the runs.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the tables on disk, write nothing.")
    ] = False,
    rerun: Rerun = None,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Make tables and figures of all finished runs, or of the published records."""
    from benchmark.cli import boards

    raise typer.Exit(boards.show(results, published_in, published, check, rerun, as_json))


@app.command()
def publish(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or folder names of finished runs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Publish every finished run.")] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="As second runs of what is published already.")
    ] = False,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Without test images, for licences that ask it.")
    ] = False,
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Copy finished runs into the published records; --results may be an archive (.tar.gz) of a folder of
    runs, too.
    """
    from benchmark.cli import publish as command

    raise typer.Exit(
        command.publish(names or [], everything, results, published_in, rerun, not no_pictures, as_json)
    )


@app.command()
def clean(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to delete altogether.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Show or free the space that networks of finished runs take; records stay."""
    from benchmark.cli import publish as command

    raise typer.Exit(command.clean(names or [], results, yes, as_json))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Show one run in full."""
    from benchmark.cli import listing

    raise typer.Exit(listing.show_run(name, results, as_json))


@app.command()
def predict(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files (JPEG, PNG, WebP), or folders of them."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for predictions and pictures.")],
    results: Results = RUNS,
    data: Data = DATA,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Write over predictions that are there.")] = False,
    plugin: Plugin = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Predict a user's own images with a finished run's network."""
    from benchmark.cli import predict as command

    raise typer.Exit(command.predict(name, images, out, results, device, force, as_json))


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="METHOD | DATASET | FILE.py")],
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Check a method or a data set against the contract that all of its kind keep."""
    from benchmark.cli import check as command

    raise typer.Exit(command.check(what, settings, data, as_json))


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out: Annotated[Path, typer.Option(help="Folder to write it in.")] = Path(),
    dataset: Annotated[bool, typer.Option("--dataset", help="A data set instead of a method.")] = False,
    example: Annotated[
        str | None, typer.Option(help="A method to start from, instead of the shortest: fixmatch.")
    ] = None,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Write a commented method, or data set, of one's own that keeps the contract, and its test."""
    from benchmark.cli import check as command

    raise typer.Exit(command.new(name, out, dataset, example, as_json))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|datasets|protocols|plans|balances|metrics")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Methods to show in full.")
    ] = None,
    source: Annotated[
        str, typer.Option("--plan", help="The plan under which methods' cost is counted.")
    ] = "field",
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List what there is to choose from."""
    if what == "methods":
        from benchmark.cli import methods

        raise typer.Exit(methods.show(names or [], source, data, as_json))
    from benchmark.cli import listing

    if names:
        raise UserError(f"only methods are shown by name, not {what}; leave {names[0]} out.")
    raise typer.Exit(listing.show_list(what, data, as_json))


@app.command()
def doctor(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Say what a run on this machine would use."""
    from benchmark.cli import listing

    raise typer.Exit(listing.doctor(results, data, as_json))


def main() -> None:
    """The console script: a `UserError` becomes its sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"bench: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write(
            "bench: interrupted; finished runs are kept, and the same command goes on where this one "
            "stopped.\n"
        )
        raise SystemExit(130) from None
    except BrokenPipeError:  # `bench status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
