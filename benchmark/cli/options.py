"""Options that several commands of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark import ROOT

Results = Annotated[
    Path,
    typer.Option(
        "--results", envvar="BENCH_RESULTS", help="Folder of runs.", show_default="runs/ of the checkout"
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data", envvar="BENCH_DATA", help="Folder of data sets.", show_default="data/ of the checkout"
    ),
]
Published = Annotated[
    Path,
    typer.Option(
        "--published-in", help="Folder of published records.", show_default="results/ of the checkout"
    ),
]
Rerun = Annotated[
    Path | None,
    typer.Option("--rerun", metavar="FOLDER", help="Results in which some of the same runs were made again."),
]


def _use(paths: list[Path]) -> list[Path]:
    from benchmark.spec import plugins

    for path in paths:
        plugins.use(path)
    return paths


PLUGIN_HELP = "The .py file of a method or data set from outside the tree. May be repeated."
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
    int | None, typer.Option("--workers", metavar="N", help=WORKERS_HELP, show_default="one a core")
]
PER_GPU_HELP = "Runs that share a GPU: with CUDA, each worker is pinned to one."
PerGpu = Annotated[int, typer.Option("--per-gpu", metavar="M", help=PER_GPU_HELP)]
HANG_HELP = (
    "With workers, kill a run that shows no step, evaluation or note for so long; it counts as failed."
)
HangAfter = Annotated[float, typer.Option("--hang-after", metavar="SECONDS", help=HANG_HELP)]
WHAT_HELP = "A plan (a name or a .toml file), methods, or both."
What = Annotated[list[str] | None, typer.Argument(metavar="[PLAN | METHOD]...", help=WHAT_HELP)]

# Every command takes --results and --data, whether it needs them or not, so that scripts can pass the same to
# all.
RUNS, DATA, RESULTS = ROOT / "runs", ROOT / "data", ROOT / "results"
