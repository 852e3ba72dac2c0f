"""The command line: arguments in, one call out. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from benchmark.cli.cluster import cancel
from benchmark.cli.data import get, import_labels, show_labels
from benchmark.cli.data import show as show_data
from benchmark.cli.listing import list_, list_datasets, show
from benchmark.cli.methods import check, new
from benchmark.cli.options import command
from benchmark.cli.perf import perf
from benchmark.cli.plans import plan
from benchmark.cli.predict import export, predict
from benchmark.cli.prepare import check as check_data
from benchmark.cli.prepare import draft, prepare
from benchmark.cli.publish import publish
from benchmark.cli.results import compare, leaderboard, report
from benchmark.cli.run import ablate, run
from benchmark.cli.tune import tune
from benchmark.cli.watch import status, watch
from benchmark.errors import UserError, printable, shown


def _leave(code: int | None, **_: object) -> None:
    """Exit with the code that a command returned."""
    raise typer.Exit(code or 0)


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
data_app = typer.Typer(no_args_is_help=True, help="Get, prepare, check and look at data sets.")
labels_app = typer.Typer(no_args_is_help=True, help="Import label splits and look at what a setting hides.")
for panel, functions in {
    RUN: (run, ablate, tune, plan, perf, status, watch, cancel),
    LOOK: (leaderboard, report, compare, show, predict, export),
    METHODS: (list_, check, new),
    PUBLISH: (publish,),
}.items():
    for function in functions:
        app.command(function.__name__.rstrip("_"), rich_help_panel=panel)(command(function))
app.add_typer(data_app, name="data", rich_help_panel=DATA_SETS)
app.add_typer(labels_app, name="labels", rich_help_panel=DATA_SETS)
data_app.command("list")(command(list_datasets))
data_app.command("get")(command(get))
data_app.command("draft")(command(draft))
data_app.command("prepare")(command(prepare))
data_app.command("check")(command(check_data))
data_app.command("show")(command(show_data))
labels_app.command("import")(command(import_labels))
labels_app.command("show")(command(show_labels))


def main() -> None:
    """Run the console script: a `UserError` becomes its sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # what a terminal's encoding lacks is shown by its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"bench: {printable(str(error))}\n")
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
    except OSError as error:  # a path of the command line, a file or a disk that cannot be used
        if error.filename is None:
            raise
        file = printable(shown(str(error.filename)))
        sys.stderr.write(
            f"bench: {file} cannot be used: {error.strerror}; name another, or permit its use.\n"
        )
        raise SystemExit(2) from None
