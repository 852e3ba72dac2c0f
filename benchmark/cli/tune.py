"""`bench tune`: search a method's own keywords on a part of the train images, never on the test set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmark.cli.runs import INTERRUPTED, OK, SOME_FAILED, pick_device, reason
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError, unknown
from benchmark.execute import attempt as execute
from benchmark.execute.progress import Progress, make_console, plain
from benchmark.files import writing
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan, registry, tune, tuned, tuning
from benchmark.spec.plan import Plan
from benchmark.spec.run import RunSpec


def run(
    method: str,
    trials: int,
    space: list[str],
    source: str,
    settings: list[str],
    results: Path,
    data: Path,
    device: str,
    as_json: bool,
) -> int:
    """Run the trials that are missing, print them by score, and write a plan with the best keywords."""
    shown: dict[str, Any] = {"method": method, "trials": [], "best": None, "plan": None}
    with for_scripts(as_json, shown):
        base = _base(method, trials, source, settings, data)
        values, chosen = _chosen(method, base, space, trials)
        table = {"trials": trials} | ({"distinct": len(chosen)} if len(chosen) < trials else {})
        # Before any trial, so that none is wasted on what cannot be written.
        texts = [tuned.text(base, keywords, table, data) for keywords in chosen]
        runs = [tuned.cells(base.cells, keywords, "holdout") for keywords in chosen]
        from benchmark.training.loop import Interrupted, Options

        console = make_console()
        if len(chosen) < trials:
            console.print(
                f"note: {method} has {len(chosen)} settings here, so that many trials are run and not "
                f"{trials}."
            )
        cells = [cell for trial in runs for cell in trial]
        progress = Progress(cells, console)
        options = Options(device=pick_device(device), keep="none", weights=base.weights)
        try:
            with progress:
                loaded = execute.Data(data, progress.note)
                outcomes = execute.run_cells(
                    cells, results, loaded, options, progress, force=False, retry_failed=False
                )
        except (Interrupted, KeyboardInterrupt):
            console.print(
                "interrupted: finished trials are kept; the same command goes on where this one stopped."
            )
            return INTERRUPTED
        found = [_records(trial, results) for trial in runs]
        first = found[0]
        scores = [
            None if first is None or records is None else tune.score(records, first) for records in found
        ]
        shown["trials"] = [
            {"keywords": keywords}
            | ({"score": score} if records is not None else {"failure": failure(trial, results, progress)[0]})
            for keywords, trial, records, score in zip(chosen, runs, found, scores, strict=True)
        ]
        if first is None:
            why, run = failure(runs[0], results, progress)
            again = (
                f"details in {run.file('error.txt')}; to try again, remove {run.path} and repeat"
                if reason(run)
                else "repeat"
            )
            console.print(
                f"nothing to compare with: the first trial of {method}, the plan's own keywords, is not "
                f"done: {why} ({again} the "
                f"command).",
                soft_wrap=True,
            )
            return SOME_FAILED
        console.print(_table(values, chosen, scores))
        best = max((i for i, s in enumerate(scores) if s is not None), key=lambda i: (scores[i], -i))
        file = results / "tuned" / f"{method}-{base.name}-{_key(base, values, trials)}.toml"
        with writing(results):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(texts[best], encoding="utf-8")
        how = tuning.words(table | {"holdout": base.cells[0].protocol.holdout}, base.name)
        console.print(
            f"best of {how}: trial {best}, {scores[best]:+.2f} % against the defaults. `bench run {file}` "
            f"scores it on the test "
            f"set.",
            soft_wrap=True,
        )
        shown |= {"best": best, "plan": str(file)}
        return SOME_FAILED if outcomes["failed"] or outcomes["elsewhere"] else OK


def _base(method: str, trials: int, source: str, settings: list[str], data: Path) -> Plan:
    """The plan that is tuned on, with the runs of the method alone. Raises `UserError` for what cannot be
    tuned.
    """
    if trials < 2:
        raise UserError(
            f"--trials {trials} leaves nothing to compare; give 2 or more, and the same number to every "
            f"method."
        )
    if method not in registry.method_names():
        raise unknown("method", method, registry.method_names())
    if not source.endswith(".toml") and source not in plan.names():
        raise unknown("plan", source, plan.names())
    if any(setting.partition("=")[0].strip() == "judge" for setting in settings):
        raise UserError(
            "--set judge is not for tuning: trials are judged on held-out train images, and the best is then "
            "scored on the test "
            "set; leave it out."
        )
    return plan.make([source, method], settings, data)


def _chosen(
    method: str, base: Plan, given: list[str], trials: int
) -> tuple[tune.Space, list[dict[str, Any]]]:
    """(what is searched, the keywords of each trial). Raises `UserError` where the plan itself searches."""
    own = base.cells[0].hyperparameters
    values = tune.space(method, own, given)
    for name in values:
        if several := {repr(cell.hyperparameters[name]) for cell in base.cells} - {repr(own[name])}:
            raise UserError(
                f"plan {base.name} gives {name} of {method} several values ({own[name]!r}, "
                f"{', '.join(sorted(several))}), which "
                f"are no one trial; give it one with --set hparams.{method}.{name}=..., or tune on another "
                f"plan."
            )
    return values, tune.trials(method, values, own, trials)


def _key(base: Plan, values: tune.Space, trials: int) -> str:
    """What tells this search from others of the method on plans of this name: the runs, the values, the
    number of trials.
    """
    text = json.dumps([sorted(cell.id for cell in base.cells), values, trials], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def failure(cells: Sequence[RunSpec], results: Path, progress: Progress) -> tuple[str, RunDir]:
    """Why a trial has no score: what the first of its runs without a record says; and that run."""
    run, spec = next((run, spec) for spec in cells if not (run := RunDir(results, spec.folder)).record)
    if progress.states[spec.id] == "elsewhere":
        return "another process runs it", run
    return reason(run) or progress.reasons.get(spec.id) or "unknown", run


def _records(cells: Sequence[RunSpec], results: Path) -> list[dict[str, Any]] | None:
    """The records of a trial, or None unless all its runs are done."""
    records = [RunDir(results, cell.folder).record for cell in cells]
    return None if None in records else [r for r in records if r is not None]


def _table(values: tune.Space, chosen: list[dict[str, Any]], scores: list[float | None]) -> Table:
    table = Table(
        title="trials, best first; change of the held-out metrics against the defaults", title_justify="left"
    )
    for column in ("trial", "change %", *sorted(values)):
        table.add_column(column, justify="right")
    order = sorted(range(len(chosen)), key=lambda i: (scores[i] is None, -(scores[i] or 0.0), i))
    for i in order:
        shown = "failed" if scores[i] is None else f"{scores[i]:+.2f}"
        table.add_row(
            str(i),
            shown,
            *(plain(chosen[i][name]) if name in chosen[i] else "default" for name in sorted(values)),
        )
    return table
