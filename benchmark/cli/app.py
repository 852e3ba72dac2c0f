"""The command line: arguments in, one call out. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark.cli.app_data import data_app, labels_app
from benchmark.cli.app_plans import SUMMARY, ablating
from benchmark.cli.app_tune import tune
from benchmark.cli.options import (
    DATA,
    RESULTS,
    RUNS,
    Data,
    Json,
    Plugin,
    Published,
    Results,
    Set,
    What,
)
from benchmark.cli.perf import perf
from benchmark.cli.results import compare, leaderboard, report
from benchmark.cli.run import cancel, run, status, worker
from benchmark.errors import UserError


def _leave(code: int | None, **_: object) -> None:
    """Exit with the code that a command returned."""
    raise typer.Exit(code or 0)


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


def show(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Show one run in full."""
    from benchmark.cli import listing

    raise typer.Exit(listing.show_run(name, results, as_json))


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


def doctor(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> None:
    """Say what a run on this machine would use."""
    from benchmark.cli import listing

    raise typer.Exit(listing.doctor(results, data, as_json))


PANELS = RUN, LOOK, DATA_SETS, METHODS, PUBLISH = "Run", "Look", "Data", "Methods", "Publish"


class _Panels(TyperGroup):
    """Commands in the order of their panels; typer itself puts groups such as `data` last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return sorted(
            self.commands, key=lambda name: PANELS.index(getattr(self.commands[name], "rich_help_panel", RUN))
        )


app = typer.Typer(
    cls=_Panels,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    result_callback=_leave,
    help="Compare methods that learn several dense prediction tasks from partially labelled images.",
    epilog="Exit codes: 0 done, 1 some failed or a check found differences, 2 bad input, 130 interrupted.",
)
# One line a command; a command function returns its exit code.
app.command(rich_help_panel=RUN)(run)
app.command("ablate", rich_help_panel=RUN, help=SUMMARY)(ablating(run))
app.command(rich_help_panel=RUN)(tune)
app.command(rich_help_panel=RUN)(plan)
app.command(rich_help_panel=RUN)(perf)
app.command(rich_help_panel=RUN)(worker)
app.command(rich_help_panel=RUN)(status)
app.command(rich_help_panel=RUN)(cancel)
app.command(rich_help_panel=RUN)(clean)
app.command(rich_help_panel=LOOK)(leaderboard)
app.command(rich_help_panel=LOOK)(report)
app.command(rich_help_panel=LOOK)(compare)
app.command(rich_help_panel=LOOK)(show)
app.command(rich_help_panel=LOOK)(predict)
app.command(rich_help_panel=LOOK)(doctor)
app.add_typer(data_app, name="data", rich_help_panel=DATA_SETS)
app.add_typer(labels_app, name="labels", rich_help_panel=DATA_SETS)
app.command("list", rich_help_panel=METHODS)(list_)
app.command(rich_help_panel=METHODS)(check)
app.command(rich_help_panel=METHODS)(new)
app.command(rich_help_panel=PUBLISH)(publish)


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
