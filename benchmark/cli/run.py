"""`bench run`, from a plan to finished runs and their boards, and `ablate`, to the table of an ablation."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import (
    DATA,
    RUNS,
    SLURM_HELP,
    Answer,
    Data,
    Device,
    HangAfter,
    PerGpu,
    Plugin,
    Results,
    Set,
    What,
    Workers,
    say,
)
from benchmark.errors import UserError
from benchmark.execute.options import HANG_SECONDS, Options
from benchmark.execute.progress import Progress, make_console
from benchmark.files import write_text
from benchmark.runs.rundir import RunDir

if TYPE_CHECKING:
    from benchmark.report.ablation import Table
    from benchmark.report.board import Board
    from benchmark.spec.plan import Plan

OK, SOME_FAILED, INTERRUPTED = 0, 1, 130


def run(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    data: Data = DATA,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Run again what is done.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    keep: Annotated[
        str, typer.Option(help="What to keep of a finished run's network: all, weights or none.")
    ] = "weights",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.", max=10**9)] = 500,
    slurm: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help=SLURM_HELP)] = [],  # noqa: B006
    wait: Annotated[
        bool, typer.Option("--wait", help="With --slurm, return when the runs have ended.")
    ] = False,
    workers: Workers = None,
    per_gpu: PerGpu = 1,
    hang_after: HangAfter = HANG_SECONDS,
    worker: Annotated[
        bool,
        typer.Option(
            "--worker",
            help="Share the plan with other hosts on one results folder: stay until nothing is left of it, "
            "and take up the runs of hosts that die. One worker process, unless --workers says more.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --worker, end when others hold the rest.")
    ] = False,
    log: Annotated[
        str,
        typer.Option(
            "--log",
            metavar="tensorboard",
            help="Write every run's curve as event files, too.",
            show_default=False,
        ),
    ] = "",
) -> Answer:
    """Run what is missing of a plan (without arguments: quickstart) and print its leaderboard."""
    arguments = what or []
    cluster = bool(slurm or wait)
    for given, name in ((worker and force, "--force"), (worker and cluster, "--slurm")):
        if given:
            raise UserError(f"{name} does not go with --worker; leave one of them out.")
    if cluster and workers is not None:
        raise UserError("--workers runs on this machine and --slurm on a cluster; give one of them.")
    workers = 1 if worker and workers is None else 0 if cluster else workers
    options = Options(
        results, data, device, keep, checkpoint_every, force, retry_failed, workers, per_gpu, hang_after,
        to_the_end=worker and not no_wait, log=log,
    )  # fmt: skip
    code, shown = _run(arguments, settings, options, slurm, wait)
    return code, shown | {"boards": [str(results / board) for board in shown["boards"]], "exit": code}


def _run(arguments: list[str], settings: list[str], options: Options, slurm: list[str], wait: bool) -> Answer:
    from benchmark.runs import finished
    from benchmark.spec.plan import make

    results = options.results
    command = finished.key(arguments, settings)
    known = finished.recall(command, results, options.data) if command else None
    if known and not (options.force or slurm or wait):
        _nothing_to_do(len(known["states"]), results)
        say(f"tables and figures: {_places(results)}; `bench leaderboard` prints the tables.")
        return OK, known | {"failures": {}}
    plan = make(arguments, settings, options.data)
    for note in plan.notes:
        say(f"note: {note}")
    if slurm or wait:
        from benchmark.cli.cluster import submit

        return submit(plan, options, slurm, wait)
    code, shown, sound = _carry_out(plan, options)
    if command and code == OK and sound and command == finished.key(arguments, settings):
        finished.remember(command, results, options.data, plan, shown["boards"])
    return code, shown


def _carry_out(plan: Plan, options: Options) -> tuple[int, dict[str, Any], bool]:
    """(exit code, what `--json` shows, whether the same command will have nothing to do or to note)."""
    from benchmark.execute.workers import carry_out

    runs = {spec.id: RunDir(options.results, spec.folder) for spec in plan.cells}
    old = not options.force and all(run.state() == "done" for run in runs.values())
    progress = Progress(plan.cells)
    try:
        with progress:
            outcomes = carry_out(plan.cells, replace(options, weights=plan.weights), progress)
    except KeyboardInterrupt as error:
        why = f" ({error})" if str(error) else ""
        say(f"interrupted{why}: finished runs are kept; the same command goes on where this one stopped.")
        states = {name: run.state() for name, run in runs.items()}
        return INTERRUPTED, {"states": states, "failures": progress.reasons, "boards": []}, False
    if old:
        _nothing_to_do(len(runs), options.results)
    sound = not _warn_of_other_code(outcomes["done"], options.results)
    boards = _boards(plan, options.results, anew=not old)
    for spec in outcomes["elsewhere"]:
        say(f"{spec.folder} is being run by another process.")
    failures = {spec.id: runs[spec.id].reason or "unknown" for spec in outcomes["failed"]}
    for spec in outcomes["failed"]:
        more = f"details in {runs[spec.id].file('error.txt')}; --retry-failed runs it again"
        say(f"failed: {spec.folder}: {failures[spec.id]} ({more})")
    ends = {spec.id: outcome for outcome, specs in outcomes.items() for spec in specs}
    files = [f"leaderboards/{board.name}.csv" for board in boards]
    shown = {"states": {name: ends[name] for name in runs}, "failures": failures, "boards": files}
    return SOME_FAILED if failures else OK, shown, sound and not outcomes["elsewhere"]


def _nothing_to_do(count: int, results: Path) -> None:
    say(f"nothing to do: all {count} runs of this plan are done in {results}.")


def _boards(plan: Plan, results: Path, anew: bool) -> list[Board]:
    """Print the boards with the plan's runs, and write all of the results folder if runs were added."""
    from benchmark.cli.results import write_boards
    from benchmark.report import views
    from benchmark.report.leaderboard import boards_of

    ids = {spec.id for spec in plan.cells}
    every = boards_of(results)
    boards = [board for board in every if ids & set(board.group.run_ids)]
    for board in boards:
        make_console().print(views.text(board))
    if boards and (anew or not (results / "leaderboards").exists()):
        write_boards(boards, results, every=every)
    elif boards:
        say(f"tables and figures: {_places(results)}")
    return boards


def _places(results: Path) -> str:
    return ", ".join(str(results / name) for name in ("leaderboards", "tables", "figures"))


def _warn_of_other_code(done: list[Any], results: Path) -> bool:
    from benchmark.spec import plugged, registry
    from benchmark.spec.source import equal_code

    records = {spec.folder: (RunDir(results, spec.folder).record or {}) for spec in done}
    today = {
        method: equal_code(method, registry.source_hash(method)) for method in {spec.method for spec in done}
    }
    other = [s.folder for s in done if records[s.folder].get("source") not in today[s.method]]
    if other:
        such = f"{len(other)} runs, such as {other[0]}, were computed by other code of their method"
        say(f"note: {such}: --force or bump its version.")
    for name, own in plugged.metric_facts().items():
        lacking = {f: r for f, r in records.items() if r.get("own_metrics", {}).get(name) != own}
        without = [f for f, r in lacking.items() if own["kind"] in {t["kind"] for t in r["tasks"].values()}]
        if without:
            such = f"{len(without)} runs, such as {without[0]}, ended without {name} as {name}.py has it now"
            say(f"note: {such}: --force makes them again.")
    return bool(other)


@functools.wraps(run, assigned=("__annotations__", "__module__"))  # the same options
def ablate(**options: Any) -> Answer:
    """Run what is missing of a plan that ablates a method, and print what each component brings."""
    from benchmark.report import ablation as report
    from benchmark.report.leaderboard import boards_of
    from benchmark.spec.plan import make

    plan = make(options["what"] or [], options["settings"], options["data"])
    if plan.ablation is None:
        raise UserError(
            f"plan {plan.name} ablates nothing here; add [ablate] with method and components, or name "
            f"its method."
        )
    code, _ = run(**options)
    tables = report.tables(plan.ablation, boards_of(options["results"]))
    rows = report.records(tables)
    if code != INTERRUPTED:
        make_console().print(*map(_drawn, tables), sep="\n")
        if not tables:
            say("no row of the ablation has a finished seed yet, so there is no table.")
        else:
            texts = {"md": report.markdown(tables, plan.name)}
            texts["csv"] = rows.to_csv(index=False, lineterminator="\n")
            for suffix, text in texts.items():
                path = options["results"] / "tables" / f"ablation-{plan.name}.{suffix}"
                write_text(path, text)
                say(f"wrote {path}")
    return code, {"plan": plan.name, "form": plan.ablation.form, "rows": rows.to_dict("records")}


def _drawn(table: Table) -> Any:
    from rich.console import Group
    from rich.text import Text

    from benchmark.report.ablation import shown
    from benchmark.report.views import Fitted

    narrow = shown(table).replace(" ± ", "\n± ", regex=True)
    return Group(Text(table.title, style="italic"), Fitted(narrow), *map(Text, table.sentences))
