"""`bench run`, `worker` and `status`: from a plan to finished runs, and where they stand."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from benchmark.cli.options import HANG_SECONDS
from benchmark.cli.scripts import aside
from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.execute import slots
from benchmark.execute.progress import STYLES, Progress, make_console
from benchmark.runs import finished
from benchmark.runs.rundir import RunDir, every_run
from benchmark.spec import plugins, registry
from benchmark.spec.plan import Plan, make
from benchmark.spec.run import RunSpec

if TYPE_CHECKING:
    from benchmark.report.leaderboard import Board
    from benchmark.training.loop import Options

OK, SOME_FAILED, INTERRUPTED = 0, 1, 130


def run(
    arguments: list[str],
    settings: list[str],
    results: Path,
    data: Path,
    *,
    device: str,
    dry_run: bool,
    force: bool,
    retry_failed: bool,
    keep: str,
    checkpoint_every: int,
    slurm: list[str],
    wait: bool,
    workers: int | None = None,
    per_gpu: int = 1,
    hang_after: float = HANG_SECONDS,
    as_json: bool = False,
    to_the_end: bool = False,
) -> int:
    """Run what is missing of a plan, print its boards, and return the exit code.

    workers: of a local pool; 0 runs in this process, None leaves it to the environment and the device.
    to_the_end: wait for runs that other processes hold, and take up those whose holder dies. as_json:
    standard output holds one JSON object, and everything else goes to standard error.
    """
    if dry_run:
        from benchmark.cli.plans import plan as show_plan

        return show_plan(arguments, settings, results=results, data=data, as_json=as_json)
    with aside(as_json):  # what a method prints, too
        console = make_console()
        _check_folder(results)
        _check_options(device, keep, checkpoint_every)
        elsewhere = bool(slurm or wait)
        wanted = slots.asked(0 if elsewhere and workers is None else workers, per_gpu, hang_after)
        command = finished.key(arguments, settings)
        known = finished.recall(command, results, data) if command and not (force or elsewhere) else None
        if known:
            console.print(
                f"nothing to do: all {len(known['states'])} runs of this plan are done in {results}.",
                soft_wrap=True,
            )
            console.print(
                f"tables and figures: {_places(results)}; `bench leaderboard` prints the tables.",
                soft_wrap=True,
            )
            code, shown = OK, known | {"failures": {}}
        else:
            plan = make(arguments, settings, data)
            if elsewhere:
                from benchmark.cli import cluster

                if workers is not None:
                    raise UserError(
                        "--workers runs on this machine and --slurm on a cluster; give one of them."
                    )
                how = {"device": device, "checkpoint_every": checkpoint_every, "keep": keep}
                code, shown = cluster.run(
                    plan, results, data, slurm, how, force=force, retry_failed=retry_failed, wait=wait
                )
            else:
                from benchmark.training.loop import Options

                options = Options(pick_device(device), checkpoint_every, keep, plan.weights)
                if wanted is None:
                    wanted = workers_for(
                        plan.cells,
                        results,
                        options.device,
                        hang_after,
                        force=force,
                        retry_failed=retry_failed,
                    )
                start = starter(options, results, data, wanted, per_gpu, hang_after, to_the_end)
                code, shown = _carry_out(
                    plan, results, data, start, console, force=force, retry_failed=retry_failed
                )
                if command and code == OK and shown["sound"] and command == finished.key(arguments, settings):
                    finished.remember(command, results, data, plan, shown["boards"])
                del shown["sound"]
    if as_json:
        boards = [str(results / board) for board in shown["boards"]]
        print(json.dumps(shown | {"boards": boards, "exit": code}, indent=1))
    return code


def workers_for(
    cells: Sequence[RunSpec],
    results: Path,
    device: str,
    hang_after: float,
    *,
    force: bool,
    retry_failed: bool,
) -> int:
    """The workers for what is missing of these runs where nobody says how many; 0 for this process."""
    states = Counter(RunDir(results, spec.folder).state() for spec in cells)
    over = 0 if force else states["done"] + (0 if retry_failed else states["failed"])
    threads = max((spec.protocol.threads for spec in cells), default=1)
    return slots.by_default(device, threads, len(cells) - over - states["running"], hang_after)


Start = Callable[[Sequence[RunSpec], Progress, bool, bool], dict[str, list[RunSpec]]]


def starter(
    options: Options,
    results: Path,
    data: Path,
    workers: int,
    per_gpu: int,
    hang_after: float,
    to_the_end: bool,
) -> Start:
    """What runs cells: this process for 0 workers, or a pool. It takes cells, a watcher, `force` and
    `retry_failed`.
    """
    if workers == 0:
        return lambda cells, progress, force, retry_failed: execute.run_cells(
            cells,
            results,
            execute.Data(data, progress.note),
            options,
            progress,
            force=force,
            retry_failed=retry_failed,
        )
    from benchmark.execute.child import Job
    from benchmark.execute.pool import Pool

    places = slots.slots(options.device, workers, per_gpu)
    # A pinned child sees one GPU alone.
    device = options.device.partition(":")[0]
    files = tuple(file.resolve() for file in plugins.files())
    job = Job(results, data, device, options.checkpoint_every, options.keep, options.weights, files)
    return lambda cells, progress, force, retry_failed: Pool(
        job, execute.Data(data, progress.note), places, progress, hang_after=hang_after, force=force,
        retry_failed=retry_failed,
        to_the_end=to_the_end,
    ).run(cells)  # fmt: skip


def _carry_out(
    plan: Plan, results: Path, data: Path, start: Start, console: Console, *, force: bool, retry_failed: bool
) -> tuple[int, dict[str, Any]]:
    """(exit code, what `--json` shows of it). sound: whether the same command will have nothing to do or to
    say.
    """
    from benchmark.training.loop import Interrupted

    for note in plan.notes:
        console.print(f"note: {note}")
    before = Counter(RunDir(results, c.folder).state() for c in plan.cells)
    progress = Progress(plan.cells, console)
    try:
        with progress:
            # All rows of a seed before the next: wherever it stops, the seeds that are whole compare all
            # methods.
            cells = sorted(plan.cells, key=lambda spec: (spec.label_seed, spec.train_seed))
            outcomes = start(cells, progress, force, retry_failed)
    except (Interrupted, KeyboardInterrupt) as error:
        said = f" ({error})" if isinstance(error, Interrupted) else ""
        console.print(
            f"interrupted{said}: finished runs are kept; the same command goes on where this one stopped."
        )
        return INTERRUPTED, {
            "states": _states(plan, results),
            "failures": progress.reasons,
            "boards": [],
            "sound": False,
        }
    if before["done"] == len(plan.cells) and not force:
        console.print(
            f"nothing to do: all {len(plan.cells)} runs of this plan are done in {results}.", soft_wrap=True
        )
    sound = not _warn_of_other_code(outcomes["done"], results, console)
    boards = _boards(plan, results, console, anew=before["done"] != len(plan.cells) or force)
    for spec in outcomes["elsewhere"]:
        console.print(f"{spec.folder} is being run by another process.")
    failures = {}
    for spec in outcomes["failed"]:
        run = RunDir(results, spec.folder)
        said = reason(run)
        failures[spec.id] = said or progress.reasons.get(spec.id, "unknown")
        cure = (
            f"details in {run.file('error.txt')}; --retry-failed runs it again"
            if said
            else "the same command tries again"
        )
        console.print(f"failed: {spec.folder}: {failures[spec.id]} ({cure})", soft_wrap=True)
    ends = {spec.id: outcome for outcome, specs in outcomes.items() for spec in specs}
    files = [f"leaderboards/{board.name}.csv" for board in boards]
    shown = {"states": {c.id: ends[c.id] for c in plan.cells}, "failures": failures, "boards": files}
    return SOME_FAILED if failures else OK, shown | {"sound": sound and not outcomes["elsewhere"]}


def _states(plan: Plan, results: Path) -> dict[str, str]:
    return {spec.id: RunDir(results, spec.folder).state() for spec in plan.cells}


def _check_options(device: str, keep: str, checkpoint_every: int) -> None:
    """Raise the `UserError` that an option deserves by itself, before anything heavy is imported."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"--device {device!r} is not one of auto, cpu, cuda, cuda:N.")
    if keep not in ("all", "weights", "none"):
        raise UserError(f"--keep {keep!r} is not one of all, weights, none.")
    if checkpoint_every < 1:
        raise UserError(f"--checkpoint-every {checkpoint_every} is not a number of steps of 1 or more.")


def _check_folder(results: Path) -> None:
    if results.exists() and not results.is_dir():
        raise UserError(f"--results {results} is a file, not a folder of runs; name a folder.")


def pick_device(name: str) -> str:
    """The device that "auto", "cpu", "cuda" or "cuda:N" means here."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise UserError(f"--device {name!r} is not one of auto, cpu, cuda, cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name} needs a CUDA GPU and torch sees none here; use --device cpu.")
    return name


def _boards(plan: Plan, results: Path, console: Console, anew: bool) -> list[Board]:
    """Print the boards that the plan's runs are on, and write all files of the results folder's boards if
    runs were added.
    """
    from benchmark.cli.results import boards_of, write_boards
    from benchmark.report import leaderboard

    ids = {spec.id for spec in plan.cells}
    every = boards_of(results)
    boards = [b for b in every if ids & set(b.run_ids)]
    for board in boards:
        console.print(leaderboard.text(board))
    if boards and (anew or not (results / "leaderboards").exists()):
        write_boards(boards, results, console, every=every)
    elif boards:
        console.print(f"tables and figures: {_places(results)}", soft_wrap=True)
    return boards


def _places(results: Path) -> str:
    return ", ".join(str(results / name) for name in ("leaderboards", "tables", "figures"))


def _warn_of_other_code(done: list[RunSpec], results: Path, console: Console) -> bool:
    stale = []
    for spec in done:
        record = RunDir(results, spec.folder).record
        if record and record.get("source") != registry.source_hash(spec.method):
            stale.append(spec.folder)
    if stale:
        many = f"{len(stale)} runs, such as {stale[0]}, were computed"
        console.print(
            f"note: {many} by other code of their method: --force or bump its version.", soft_wrap=True
        )
    return bool(stale)


def status(results: Path, as_json: bool) -> int:
    """Every run below the results folder and its state; needs no plan and no data."""
    from benchmark.cli.cluster import mark

    _check_folder(results)
    rows = [_row(run) for run in every_run(results)]
    unseen = mark(rows, results)
    if as_json:
        print(json.dumps(rows, indent=1))
        if unseen:
            print(f"bench: note: {unseen}", file=sys.stderr)
        return OK
    console = make_console()
    if not rows:
        console.print(
            f"no runs in {results}{'' if results.exists() else ', which does not exist'}; `bench run` makes "
            f"some."
        )
        return OK
    lines = Text()
    for row in rows:
        lines.append(f"{row['state']:8}", STYLES[row["state"]])
        lines.append(f" {row['run']}" + (f" ({row['reason']})" if "reason" in row else "") + "\n")
    console.print(lines, soft_wrap=True, end="")
    console.print(", ".join(f"{count} {state}" for state, count in Counter(r["state"] for r in rows).items()))
    if unseen:
        console.print(f"note: {unseen}", soft_wrap=True)
    return OK


def _row(run: RunDir) -> dict[str, Any]:
    row = {
        "run": f"{run.path.parent.name}/{run.name}",
        "id": run.name.rpartition("-")[2],
        "state": run.state(),
    }
    return row | {"reason": reason(run) or "unknown"} if row["state"] == "failed" else row


def reason(run: RunDir) -> str:
    """The first line of error.txt, or nothing."""
    try:
        return run.file("error.txt").read_text(encoding="utf-8", errors="replace").split("\n")[0]
    except OSError:
        return ""
