"""What commands share: options, answers, and how they print."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from benchmark import ROOT
from benchmark.execute.progress import make_console


def home(path: Path | None) -> Path | None:
    """Return a path with `~` as a shell means it: it leaves `--results=~/x` and variables alone."""
    if path is None:
        return None
    path = Path(os.path.expanduser(path))
    return path.resolve() if path.name in ("", "..") else path  # what lies beside a folder goes by its name


def _use(paths: list[Path]) -> list[Path]:
    from benchmark.spec import plugins

    for path in paths:
        plugins.use(Path(os.path.expanduser(path)))
    return paths


def _folder(name: str, help: str, default: str, variable: str | None = None) -> Any:
    return typer.Option(
        name, envvar=variable, help=help, show_default=f"{default}/ of the checkout", callback=home
    )


Results = Annotated[Path, _folder("--results", "Folder of runs.", "runs", "BENCH_RESULTS")]
Data = Annotated[Path, _folder("--data", "Folder of data sets.", "data", "BENCH_DATA")]
Published = Annotated[Path, _folder("--published-in", "Folder of published records.", "results")]
Rerun = Annotated[
    Path | None,
    typer.Option(
        "--rerun",
        metavar="FOLDER",
        help="Results in which some of the same runs were made again.",
        callback=home,
    ),
]


PLUGIN_HELP = (
    "The .py file of a method, data set, metric or kind of task from outside the tree. May be repeated."
)
Plugin = Annotated[
    list[Path],
    typer.Option("--plugin", envvar="BENCH_PLUGINS", metavar="FILE", help=PLUGIN_HELP, callback=_use),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SET_HELP = (
    "A setting on top of the plan: labels, seeds, dataset, hparams.NAME, or any key of the protocol. May be "
    "repeated."
)
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)]
SLURM_HELP = (
    "Submit to a Slurm cluster, with this option of sbatch, such as partition=gpu, gres=gpu:1 or time=240; "
    "max_parallel=N limits how many run at a time. May be repeated."
)
WORKERS_HELP = (
    "Run so many at a time, each in a process of its own, whose crash touches no other run. 0: in this "
    "process. Without it, as BENCH_WORKERS says, or else on the CPU one a core, on CUDA this process."
)
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help=WORKERS_HELP, show_default="one a core", max=4096)
]
PER_GPU_HELP = "Runs that share a GPU: with CUDA, each worker is pinned to one."
PerGpu = Annotated[int, typer.Option("--per-gpu", metavar="M", help=PER_GPU_HELP, max=1024)]
HANG_HELP = (
    "With workers, kill a run that shows no step, evaluation or note for so long; it counts as failed."
)
HangAfter = Annotated[float, typer.Option("--hang-after", metavar="SECONDS", help=HANG_HELP, max=1e9)]
WHAT_HELP = "A plan (a name or a .toml file), methods, or both."
What = Annotated[list[str] | None, typer.Argument(metavar="[PLAN | METHOD]...", help=WHAT_HELP)]

RUNS, DATA, RESULTS = ROOT / "runs", ROOT / "data", ROOT / "results"

Answer = tuple[int, Any]  # what a command returns: its exit code, and what `--json` prints
_SHARED = {"results": (Results, RUNS), "data": (Data, DATA), "as_json": (Json, False)}


def command(function: Callable[..., Answer]) -> Callable[..., int]:
    """Give a function of the command line the options that all commands take, `--json` among them.

    With it, what the function prints, by a user's own code too, goes to standard error, and the JSON of its
    answer alone to standard output, which an exception leaves empty.
    """
    own = inspect.signature(function, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, (hint, default) in _SHARED.items()
        if name not in own.parameters
    ]

    @functools.wraps(function)
    def called(**options: Any) -> int:
        with redirect_stdout(sys.stderr) if options["as_json"] else nullcontext():
            code, shown = function(**{name: options[name] for name in own.parameters})
        if options["as_json"]:
            print(json.dumps(shown, indent=1))
        return code

    parameters = [*own.parameters.values(), *more]
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def say(text: object) -> None:
    """Print a sentence in one line, as it is: paths and names are no markup."""
    make_console().print(text, soft_wrap=True)


def show_table(rows: Sequence[Mapping[str, object]], title: str = "") -> None:
    """Print a table of one line a row, with their keys above; nothing without rows."""
    table = Table(title=title or None, title_justify="left")
    for heading in rows[0] if rows else ():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row.values()))
    if rows:
        make_console().print(table)
