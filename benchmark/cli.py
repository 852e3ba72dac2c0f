"""The command line: arguments in, one call out. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli_data import data_app, labels_app
from benchmark.errors import UserError
from benchmark.options import DATA, RESULTS, RUNS, Data, Json, Plugin, Published, Results, Set, What

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Compare methods that learn several dense prediction tasks from partially labelled images.",
    epilog="Exit codes: 0 all done, 1 some runs failed or a check found differences, 2 bad input, 130 interrupted.",
)
app.add_typer(data_app, name="data")
app.add_typer(labels_app, name="labels")


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
    keep: Annotated[str, typer.Option(help="What to keep of a finished run's network: all, weights or none.")] = "weights",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
) -> None:
    """Run what is missing of a plan (without arguments: quickstart) and print its leaderboard."""
    from benchmark.commands import runs

    code = runs.run(
        what or [], settings, results, data, device=device, dry_run=dry_run, force=force, retry_failed=retry_failed, keep=keep,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def plan(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Show every run of a plan and its state."""
    from benchmark.commands import plans

    raise typer.Exit(plans.show_plan(what or [], settings, results, data, as_json))


@app.command()
def status(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Show the state of every run in the results folder."""
    from benchmark.commands import runs

    raise typer.Exit(runs.status(results, as_json))


@app.command()
def leaderboard(
    results: Results = RUNS,
    published: Annotated[bool, typer.Option("--published", help="Use the published records instead of the runs.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare with the tables on disk, write nothing.")] = False,
    published_in: Published = RESULTS,
    data: Data = DATA,
) -> None:
    """Make tables and figures of all finished runs, or of the published records."""
    from benchmark.commands import boards

    raise typer.Exit(boards.show(results, published_in, published, check))


@app.command()
def publish(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or folder names of finished runs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Publish every finished run.")] = False,
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
) -> None:
    """Copy finished runs into the published records."""
    from benchmark.commands import boards

    raise typer.Exit(boards.publish(names or [], everything, results, published_in))


@app.command()
def clean(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to delete altogether.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
    results: Results = RUNS,
    data: Data = DATA,
) -> None:
    """Show or free the space that networks of finished runs take; records stay."""
    from benchmark.commands import boards

    raise typer.Exit(boards.clean(names or [], results, yes))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="RUN")], results: Results = RUNS, data: Data = DATA, as_json: Json = False
) -> None:
    """Show one run in full."""
    from benchmark.commands import listing

    raise typer.Exit(listing.show_run(name, results, as_json))


@app.command()
def predict(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files (JPEG, PNG, WebP), or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions and pictures.")],
    results: Results = RUNS,
    data: Data = DATA,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Write over predictions that are there.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Predict a user's own images with a finished run's network."""
    from benchmark.commands import predict as command

    raise typer.Exit(command.predict(name, images, out, results, device, force))


@app.command()
def tune(
    method: Annotated[str, typer.Argument(metavar="METHOD")],
    trials: Annotated[int, typer.Option(help="Trials; the first is the method's defaults.")] = 10,
    space: Annotated[
        list[str], typer.Option(metavar="KEYWORD=[...]", help="Values to search; by default a grid around the method's own.")
    ] = [],  # noqa: B006
    source: Annotated[str, typer.Option("--plan", help="The plan whose protocol and data it is tuned on.")] = "quickstart",
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Search a method's keywords on a part of the train images, and write a plan that scores the best on the test set."""
    from benchmark.commands import tune as command

    raise typer.Exit(command.run(method, trials, space, source, settings, results, data, device))


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="METHOD | FILE.py")],
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Check a method against the contract that every method keeps."""
    from benchmark.commands import check as command

    raise typer.Exit(command.check(what, settings, data, as_json))


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out: Annotated[Path, typer.Option(help="Folder to write it in.")] = Path(),
    results: Results = RUNS,
    data: Data = DATA,
) -> None:
    """Write a commented method of one's own that keeps the contract, and its test."""
    from benchmark.commands import check as command

    raise typer.Exit(command.new(name, out))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|datasets|protocols|plans|balances|metrics")],
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List what there is to choose from."""
    from benchmark.commands import listing

    raise typer.Exit(listing.show_list(what, data, as_json))


@app.command()
def doctor(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Say what a run on this machine would use."""
    from benchmark.commands import listing

    raise typer.Exit(listing.doctor(results, data, as_json))


def main() -> None:
    """The console script: a `UserError` becomes its sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"bench: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted; finished runs are kept, and the same command goes on where this one stopped.\n")
        raise SystemExit(130) from None
    except BrokenPipeError:  # `bench status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
