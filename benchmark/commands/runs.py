"""`bench run` and `status`: from a plan to finished runs, and where they stand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark import execute, registry
from benchmark.errors import UserError
from benchmark.plan import Plan, make
from benchmark.progress import STYLES, Progress, make_console
from benchmark.spec import RunSpec
from benchmark.store import RunDir, every_run

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
) -> int:
    """Run what is missing of a plan, print its boards, and return the exit code."""
    console = make_console()
    if dry_run:
        from benchmark.commands.plans import show_plan

        return show_plan(arguments, settings, results, data, as_json=False)
    _check_folder(results)
    plan = make(arguments, settings, data)
    from benchmark.train import Interrupted, Options

    if keep not in ("all", "weights", "none"):
        raise UserError(f"--keep {keep!r} is not one of all, weights, none.")
    if checkpoint_every < 1:
        raise UserError(f"--checkpoint-every {checkpoint_every} is not a number of steps of 1 or more.")
    options = Options(device=pick_device(device), checkpoint_every=checkpoint_every, keep=keep, weights=plan.weights)
    for note in plan.notes:
        console.print(f"note: {note}")
    before = Counter(RunDir(results, c.folder).state() for c in plan.cells)
    progress = Progress(plan.cells, console)
    try:
        with progress:
            loaded = execute.Data(data, progress.note)
            outcomes = execute.run_cells(plan.cells, results, loaded, options, progress, force=force, retry_failed=retry_failed)
    except (Interrupted, KeyboardInterrupt) as error:
        said = f" ({error})" if isinstance(error, Interrupted) else ""
        console.print(f"interrupted{said}: finished runs are kept; the same command goes on where this one stopped.")
        return INTERRUPTED
    if before["done"] == len(plan.cells) and not force:
        console.print(f"nothing to do: all {len(plan.cells)} runs of this plan are done in {results}.")
    _warn_of_other_code(outcomes["done"], results, console)
    _boards(plan, results, console, anew=before["done"] != len(plan.cells) or force)
    for spec in outcomes["elsewhere"]:
        console.print(f"{spec.folder} is being run by another process.")
    for spec in outcomes["failed"]:
        file = RunDir(results, spec.folder).file("error.txt")
        reason = file.read_text(encoding="utf-8").splitlines()[0] if file.exists() else "unknown"
        console.print(f"failed: {spec.folder}: {reason} (details in {file}; --retry-failed runs it again)", soft_wrap=True)
    return SOME_FAILED if outcomes["failed"] else OK


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


def _boards(plan: Plan, results: Path, console: Console, anew: bool) -> None:
    """Print the boards that the plan's runs are on, and write all files of the results folder's boards if runs were added."""
    from benchmark.commands.boards import boards_of, write_boards
    from benchmark.report import leaderboard

    ids = {spec.id for spec in plan.cells}
    boards = [b for b in boards_of(results) if ids & set(b.run_ids)]
    for board in boards:
        console.print(leaderboard.text(board))
    if boards and (anew or not (results / "leaderboards").exists()):
        write_boards(boards, results, console)
    elif boards:
        console.print(f"tables and figures: {results / 'leaderboards'}, {results / 'tables'}, {results / 'figures'}")


def _warn_of_other_code(done: list[RunSpec], results: Path, console: Console) -> None:
    stale = []
    for spec in done:
        record = RunDir(results, spec.folder).record
        if record and record.get("source") != registry.source_hash(spec.method):
            stale.append(spec.folder)
    if stale:
        many = f"{len(stale)} runs, such as {stale[0]}, were computed"
        console.print(f"note: {many} by other code of their method: --force or bump its version.", soft_wrap=True)


def status(results: Path, as_json: bool) -> int:
    """Every run below the results folder and its state; needs no plan and no data."""
    _check_folder(results)
    rows: list[dict[str, Any]] = [{"run": str(r.path.relative_to(results)), "state": r.state()} for r in every_run(results)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return OK
    console = make_console()
    if not rows:
        console.print(f"no runs in {results}{'' if results.exists() else ', which does not exist'}; `bench run` makes some.")
        return OK
    for row in rows:
        console.print(f"[{STYLES[row['state']]}]{row['state']:8}[/] {row['run']}", soft_wrap=True)
    console.print(", ".join(f"{count} {state}" for state, count in Counter(r["state"] for r in rows).items()))
    return OK
