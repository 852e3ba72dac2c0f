"""`bench tune`: search hyperparameters or learning rates on held-out train images, never on the test set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from benchmark.cli.options import (
    DATA,
    RESULTS,
    RUNS,
    Answer,
    Data,
    Device,
    Plugin,
    Published,
    Results,
    Set,
    Workers,
    say,
    show_table,
)
from benchmark.cli.run import INTERRUPTED
from benchmark.errors import UserError
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress
from benchmark.files import write_text
from benchmark.runs.rundir import RunDir
from benchmark.runs.schema import read_record
from benchmark.typed import check_keys

TRIALS, RATES, SEEDS = 10, [0.3, 1.0, 3.0], [100, 101]  # where the command line names none

if TYPE_CHECKING:
    from benchmark.spec.plan import Plan
    from benchmark.spec.run import RunSpec
    from benchmark.spec.tuning import Search, Trial


def tune(
    methods: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METHOD]...", help="One method, or with --rate any of the plan's."),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Trials; the first is the method's defaults.", max=1000)
    ] = TRIALS,
    rate: Annotated[
        bool,
        typer.Option("--rate", help="Search every row's learning rate instead, each by the same trials."),
    ] = False,
    rates: Annotated[
        list[float],
        typer.Option("--rates", metavar="X", help="With --rate: a rate over the protocol's, repeatable."),
    ] = RATES,
    seeds: Annotated[
        list[int],
        typer.Option(
            "--seeds",
            metavar="N",
            help="With --rate: a seed of the trials, none of the plan's.",
            max=2**62 - 1,
        ),
    ] = SEEDS,
    once: Annotated[
        list[str],
        typer.Option("--once", metavar="ROW", help="With --rate: a long row, tried on the first seed alone."),
    ] = [],  # noqa: B006
    epochs: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="With --rate: epochs of a trial.", show_default="the plan's", min=0.01
        ),
    ] = None,
    workers: Workers = None,
    space: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=[...]", help="Values to search; by default a grid around the method's own."
        ),
    ] = [],  # noqa: B006
    source: Annotated[
        str | None,
        typer.Option("--plan", help="The plan whose protocol and data are used.", show_default="quickstart"),
    ] = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    published_in: Published = RESULTS,
    device: Device = "auto",
) -> Answer:
    """Search hyperparameters, or all rows' learning rates, on held-out images; write the plan of the best."""
    from benchmark.spec import tuning

    own = {"--rates": rates != RATES, "--seeds": seeds != SEEDS, "--once": once, "--epochs": epochs}
    for name, given in ({"--trials": trials != TRIALS, "--space": space} if rate else own).items():
        if given:
            raise UserError(f"{name} {'does not go with' if rate else 'requires'} --rate; leave it out.")
    base = _plan(methods or [], source, settings, data, rate)
    if rate:
        if len(set(rates)) < 2 or not all(0 < rate < math.inf for rate in rates):
            raise UserError(
                f"--rates {rates} are not two or more different numbers above 0, such as 0.3 and 1."
            )
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise UserError(f"--seeds {seeds} are not different whole numbers of 0 or more.")
        searches = tuning.rate_searches(base, rates, seeds, once, epochs)
        summary = f"{base.name}, with a learning rate for each row"
    else:
        searches = [tuning.hyperparameter_search(base, space, trials)]
        summary = f"{base.cells[0].method}, tuned in {trials} trials on a part of the train images"
    # Before any trial, so that none is wasted on what cannot be written.
    tuning.written(base, [(search, search.trials[search.reference]) for search in searches], summary, data)
    runs = list({spec.id: spec for search in searches for spec in search.runs}.values())
    records, reasons = _carry_out(runs, base, (results, data, published_in), device, workers)
    rows, found = _show(searches, records)
    shown: dict[str, Any] = {"rows": rows, "failures": reasons, "plan": None}
    for spec in runs:
        if spec.id in reasons:
            say(f"no score of {spec.folder}: {reasons[spec.id]}")
    if len(found) < len(searches):
        say("a row has no score, so no plan is written; the same command tries again what was not run.")
    else:
        name = "rates" if rate else base.cells[0].method
        file = results / "tuned" / f"{name}-{base.name}-{tuning.key(base, runs)}.toml"
        write_text(file, tuning.written(base, found, summary, data))
        shown["plan"] = str(file)
        ends = {f"{rate:g}" for rate in (min(rates), max(rates))}
        if rate and (edge := [search.name for search, trial in found if trial.label in ends]):
            say(f"note: the best rate of {', '.join(edge)} is the lowest or highest; try more.")
        how = "" if rate else f"best of {found[0][1].tuned[0].tuning}. "
        say(f"{how}`bench run {file}` runs the plan with the best and scores it on the test set.")
    return 1 if reasons else 0, shown


def _plan(methods: list[str], source: str | None, settings: list[str], data: Path, rate: bool) -> Plan:
    """Return the plan with the runs that are tuned. Raises `UserError` for what cannot be."""
    from benchmark.spec import plan, registry

    if not rate and len(methods) != 1:
        many = f"{len(methods)} methods are named"
        raise UserError(f"{many}, and hyperparameters are searched of one; name one, or give --rate.")
    source = source or plan.DEFAULT
    if not source.endswith(".toml"):
        check_keys([source], plan.names(), "plan")
    for setting in settings:
        if setting.partition("=")[0].strip() in (("judge", "lr_scale") if rate else ("judge",)):
            raise UserError(f"--set {setting} is not for tuning, which sets it itself; leave it out.")
    if not rate:
        check_keys(methods, registry.method_names(), "method")
        return plan.make([source, *methods], settings, data)
    base = plan.make([source], settings, data)
    rows = sorted({spec.method for spec in base.cells})
    check_keys(methods, rows, f"method of plan {base.name}")
    return replace(base, cells=tuple(spec for spec in base.cells if spec.method in (methods or rows)))


def _carry_out(
    runs: Sequence[RunSpec], base: Plan, folders: tuple[Path, Path, Path], device: str, workers: int | None
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Run the trials that are missing and return ({id: record}, {id: why there is none}).

    folders: results, data, and the published results, whose `trials` hold records of trials that ran
    elsewhere and are not run again. Raises `typer.Exit` where it is interrupted.
    """
    from benchmark.execute.workers import carry_out

    results, data, published = folders
    options = Options(results, data, device, keep="none", workers=workers, weights=base.weights)
    files = {spec.id: published / "trials" / f"{spec.id}.json" for spec in runs}
    there = {name: file for name, file in files.items() if file.is_file()}
    records = {name: read_record(file, name, "restore it or remove it") for name, file in there.items()}
    if records:
        say(f"{len(records)} of {len(runs)} trials are taken from {published / 'trials'}.")
    here = [spec for spec in runs if spec.id not in records]
    progress = Progress(here)
    try:
        with progress:
            carry_out(here, options, progress)
    except KeyboardInterrupt:
        say("interrupted: finished trials are kept; the same command goes on where this one stopped.")
        raise typer.Exit(INTERRUPTED) from None
    reasons = {}
    for spec in here:
        run = RunDir(results, spec.folder)
        if record := run.record:
            records[spec.id] = record
        elif why := run.reason:
            reasons[spec.id] = f"{why} (details in {run.file('error.txt')}; to try again, remove {run.path})"
        else:
            running = progress.states[spec.id] in ("running", "elsewhere")
            other = "another process runs it" if running else "unknown"
            reasons[spec.id] = progress.reasons.get(spec.id, other)
    return records, reasons


def _show(
    searches: Sequence[Search], records: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[tuple[Search, Trial]]]:
    """Print each search's trials, the best first; what `--json` shows, and the best."""
    rows, found, lines = [], [], []
    for search in searches:
        scored = list(zip(search.trials, search.scores(records), strict=True))
        ranked = sorted(scored, key=lambda one: (one[1] is None, -(one[1] or 0)))
        best = None if ranked[0][1] is None else ranked[0][0]
        found += [(search, best)] if best else []
        named = {trial.label: score for trial, score in scored}
        rows.append({"row": search.name, "scores": named, "best": best and best.label})
        for trial, score in ranked:
            change, style = "failed" if score is None else f"{score:+.2f}", "bold" if trial is best else ""
            cells = {"row": search.name, "trial": trial.label, "runs": len(trial.runs), "change %": change}
            lines.append({heading: Text(str(cell), style) for heading, cell in cells.items()})
    show_table(lines, "trials; change of the held-out metrics against the defaults, in percent")
    return rows, found
