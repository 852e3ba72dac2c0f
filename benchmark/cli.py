"""The command line: arguments in, one call out. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark import ROOT
from benchmark.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Compare methods that learn several dense prediction tasks from partially labelled images.",
    epilog="Exit codes: 0 all done, 1 some runs failed or a check found differences, 2 bad input, 130 interrupted.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")
labels_app = typer.Typer(no_args_is_help=True, help="Look at which labels a setting hides.")
app.add_typer(data_app, name="data")
app.add_typer(labels_app, name="labels")

Results = Annotated[
    Path, typer.Option("--results", envvar="BENCH_RESULTS", help="Folder of runs.", show_default="runs/ of the checkout")
]
Data = Annotated[
    Path, typer.Option("--data", envvar="BENCH_DATA", help="Folder of data sets.", show_default="data/ of the checkout")
]
Published = Annotated[
    Path, typer.Option("--published-in", help="Folder of published records.", show_default="results/ of the checkout")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SET_HELP = "A setting on top of the plan: labels, seeds, dataset, hparams.NAME, or any key of the protocol. May be repeated."
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)]
WHAT_HELP = "A plan (a name or a .toml file), methods, or both."
What = Annotated[list[str] | None, typer.Argument(metavar="[PLAN | METHOD]...", help=WHAT_HELP)]

# Every command takes --results and --data, whether it needs them or not, so that scripts can pass the same to all.
RUNS, DATA, RESULTS = ROOT / "runs", ROOT / "data", ROOT / "results"


@app.command()
def run(
    what: What = None,
    settings: Set = [],  # noqa: B006
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
def plan(what: What = None, settings: Set = [], results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:  # noqa: B006
    """Show every run of a plan and its state."""
    from benchmark.commands import runs

    raise typer.Exit(runs.show_plan(what or [], settings, results, data, as_json))


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


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|datasets|protocols|plans|metrics")],
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """List what there is to choose from."""
    from benchmark.commands import listing

    raise typer.Exit(listing.show_list(what, data, as_json))


@app.command()
def doctor(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Say what a run on this machine would use."""
    from benchmark.commands import listing

    raise typer.Exit(listing.doctor(results, data, as_json))


@data_app.command("list")
def data_list(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """List data sets, where they come from and which are here."""
    from benchmark.commands import listing

    raise typer.Exit(listing.show_list("datasets", data, as_json))


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(metavar="DATASET")],
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in pixels.", show_default="the data set's")] = None,
    count: Annotated[int, typer.Option(help="Images.", min=1)] = 8,
    out: Annotated[Path | None, typer.Option(help="Picture to write.", show_default="<results>/<dataset>-<split>.png")] = None,
    results: Results = RUNS,
    data: Data = DATA,
) -> None:
    """Write a contact sheet: images and all their labels."""
    from benchmark.commands import data as command

    raise typer.Exit(command.show(name, data, split, size, count, out or results / f"{name}-{split}.png"))


@labels_app.command("show")
def labels_show(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]")] = None,
    labels: Annotated[str, typer.Option(help="full, given, one, random or fraction:P.")] = "one",
    seed: Annotated[int, typer.Option(help="Label seed.", min=0)] = 0,
    count: Annotated[int | None, typer.Option(help="The first images only.", min=1)] = None,
    task: Annotated[list[str], typer.Option(help="Tasks (default: all). May be repeated.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Picture to write.", show_default="<results>/labels-....png")] = None,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Print how many images carry which label, and draw the mask."""
    from benchmark.commands import data as command

    raise typer.Exit(command.show_labels(dataset, labels, seed, count, task, data, out, results, as_json))


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
