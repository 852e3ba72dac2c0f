"""`bench tune`: search a method's own keywords on a part of the train images, never on the test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmark import execute, plan, tune
from benchmark.commands.runs import INTERRUPTED, OK, SOME_FAILED, pick_device, reason
from benchmark.errors import UserError
from benchmark.progress import Progress, make_console, plain
from benchmark.scripts import for_scripts
from benchmark.spec import RunSpec
from benchmark.store import RunDir, writing


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
        if trials < 2:
            raise UserError(f"--trials {trials} leaves nothing to compare; give 2 or more, and the same number to every method.")
        held_out = [*settings, "judge=holdout"]
        base = plan.make([source, method], held_out, data)
        values = tune.space(method, base.cells[0].hyperparameters, space)
        chosen = [tune.trial(method, values, number) for number in range(trials)]
        plans = [plan.make([source, method], [*held_out, *_settings(method, c)], data) for c in chosen]
        from benchmark.train import Interrupted, Options

        console = make_console()
        cells = list({cell.id: cell for p in plans for cell in p.cells}.values())
        progress = Progress(cells, console)
        options = Options(device=pick_device(device), keep="none", weights=base.weights)
        try:
            with progress:
                loaded = execute.Data(data, progress.note)
                outcomes = execute.run_cells(cells, results, loaded, options, progress, force=False, retry_failed=False)
        except (Interrupted, KeyboardInterrupt):
            console.print("interrupted: finished trials are kept; the same command goes on where this one stopped.")
            return INTERRUPTED
        found = [_records(p.cells, results) for p in plans]
        if found[0] is None:
            raise UserError(
                f"the first trial of {method}, its defaults, has not finished; see `bench status` and run the command again."
            )
        scores = [None if records is None else tune.score(records, found[0]) for records in found]
        console.print(_table(values, chosen, scores))
        shown["trials"] = [
            {"keywords": keywords} | ({"failure": _why(p.cells, results, progress)} if s is None else {"score": s})
            for keywords, p, s in zip(chosen, plans, scores, strict=True)
        ]
        best = max((i for i, s in enumerate(scores) if s is not None), key=lambda i: (scores[i], -i))
        file = results / "tuned" / f"{method}-{base.name}.toml"
        with writing(results):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_plan(base.cells[0], base.cells[0].hyperparameters, chosen[best], trials, settings), encoding="utf-8")
        console.print(
            f"best of {trials} trials on the last {base.cells[0].protocol.holdout:.0%} of the train images: trial {best}, "
            f"{scores[best]:+.2f} % against the defaults. `bench run {file}` scores it on the test set.",
            soft_wrap=True,
        )
        shown |= {"best": best, "plan": str(file)}
        return SOME_FAILED if outcomes["failed"] or outcomes["elsewhere"] else OK


def _why(cells: tuple[RunSpec, ...], results: Path, progress: Progress) -> str:
    """Why a trial has no score: what the first of its runs without a record says."""
    run, spec = next((run, spec) for spec in cells if not (run := RunDir(results, spec.folder)).record)
    if progress.states[spec.id] == "elsewhere":
        return "another process runs it"
    return reason(run) or progress.reasons.get(spec.id) or "unknown"


def _settings(method: str, chosen: dict[str, Any]) -> list[str]:
    return [f"hparams.{method}.{name}={json.dumps(value)}" for name, value in chosen.items()]


def _records(cells: tuple[RunSpec, ...], results: Path) -> list[dict[str, Any]] | None:
    """The records of a trial, or None unless all its runs are done."""
    records = [RunDir(results, cell.folder).record for cell in cells]
    return None if None in records else [r for r in records if r is not None]


def _table(values: tune.Space, chosen: list[dict[str, Any]], scores: list[float | None]) -> Table:
    table = Table(title="trials, best first; change of the held-out metrics against the defaults", title_justify="left")
    for column in ("trial", "change %", *sorted(values)):
        table.add_column(column, justify="right")
    order = sorted(range(len(chosen)), key=lambda i: (scores[i] is None, -(scores[i] or 0.0), i))
    for i in order:
        shown = "failed" if scores[i] is None else f"{scores[i]:+.2f}"
        table.add_row(str(i), shown, *(plain(chosen[i][name]) if name in chosen[i] else "default" for name in sorted(values)))
    return table


def _plan(spec: RunSpec, base: dict[str, Any], chosen: dict[str, Any], trials: int, settings: list[str]) -> str:
    """A plan of the tuned method, judged on the test set, that says how it was tuned."""
    keys = {text.partition("=")[0].strip(): text.partition("=")[2] for text in settings}
    lines = [f'summary = "{spec.method}, tuned in {trials} trials on a part of the train images"', "", "[[grid]]"]
    lines += [
        f'protocol = "{spec.protocol.name}"',
        f'dataset = "{spec.variant}"',
        f'labels = "{spec.labels}"',
        f'method = "{spec.method}"',
    ]
    for key, text in keys.items():
        if not key.startswith("hparams.") and key not in ("protocol", "dataset", "labels", "seeds", "method"):
            lines.append(f"{key} = {text}")
    own = {name: base[name] for name in spec.changed} | chosen
    lines += ["", f"[grid.tuning.{spec.method}]", f"trials = {trials}", f"holdout = {spec.protocol.holdout}"]
    if own:
        lines += ["", f"[grid.hparams.{spec.method}]", *(f"{name} = {json.dumps(value)}" for name, value in own.items())]
    return "\n".join(lines) + "\n"
