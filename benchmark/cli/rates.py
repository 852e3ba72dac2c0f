"""`bench tune --rate`: a learning rate for every row of a plan, each found by the same trials on held-out
train images.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmark.cli.options import HANG_SECONDS
from benchmark.cli.runs import INTERRUPTED, OK, SOME_FAILED, pick_device, starter, workers_for
from benchmark.cli.scripts import for_scripts
from benchmark.cli.tune import failure
from benchmark.errors import UserError, unknown
from benchmark.execute import slots
from benchmark.execute.progress import Progress, make_console
from benchmark.files import read_json, writing
from benchmark.runs import digest
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan, rates, tuned
from benchmark.spec.plan import Plan
from benchmark.spec.rates import Search


def run(
    methods: list[str], source: str, settings: list[str], tried: list[float], seeds: list[int],
    once: list[str],
    results: Path, data: Path, published: Path, device: str, workers: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Run the trials that are missing, print the scores of every row, and write the plan with the best rates.

    published: a folder whose `trials` hold records of trials that ran elsewhere, which are not run again.
    once: the rows whose trials take the first seed alone, as they are long.
    """
    shown: dict[str, Any] = {"rows": [], "plan": None}
    with for_scripts(as_json, shown):
        base, found = _searches(methods, source, settings, tried, seeds, once, data)
        wanted = slots.asked(workers, 1, HANG_SECONDS)
        from benchmark.training.loop import Interrupted, Options

        console = make_console()
        runs = list({spec.id: spec for search in found for spec in search.runs}.values())
        elsewhere = {
            spec.id: read_record(file)
            for spec in runs
            if (file := published / "trials" / f"{spec.id}.json").is_file()
        }
        if elsewhere:
            console.print(
                f"{len(elsewhere)} of {len(runs)} trials are taken from {published / 'trials'}.",
                soft_wrap=True,
            )
        here = [spec for spec in runs if spec.id not in elsewhere]
        progress = Progress(here, console)
        options = Options(device=pick_device(device), keep="none", weights=base.weights)
        try:
            with progress:
                if wanted is None:
                    wanted = workers_for(
                        here, results, options.device, HANG_SECONDS, force=False, retry_failed=False
                    )
                start = starter(options, results, data, wanted, 1, HANG_SECONDS, to_the_end=False)
                start(here, progress, False, False)
        except (Interrupted, KeyboardInterrupt):
            console.print(
                "interrupted: finished trials are kept; the same command goes on where this one stopped."
            )
            return INTERRUPTED
        records = elsewhere | {spec.id: RunDir(results, spec.folder).record for spec in here}
        scored = [rates.scores(search, records) for search in found]
        best = [rates.best(scores) for scores in scored]
        console.print(_table(found, tried, scored, best))
        shown["rows"] = [
            {
                "row": search.name,
                "scores": {f"{rate:g}": score for rate, score in scores.items()},
                "best": rate,
            }
            for search, scores, rate in zip(found, scored, best, strict=True)
        ]
        failed = [spec for spec in runs if records[spec.id] is None]
        for spec in failed:
            console.print(
                f"no score of {spec.folder}: {failure([spec], results, progress)[0]}", soft_wrap=True
            )
        if None in best:
            console.print(
                "a row has no rate, so no plan is written; the same command tries again what was not run."
            )
            return SOME_FAILED
        file = results / "tuned" / f"rates-{base.name}-{_key(base, found)}.toml"
        with writing(results):
            file.parent.mkdir(parents=True, exist_ok=True)
            chosen = [(search, rate) for search, rate in zip(found, best, strict=True) if rate is not None]
            file.write_text(tuned.with_rates(base, chosen, data), encoding="utf-8")
        console.print(f"`bench run {file}` runs the plan with these rates.", soft_wrap=True)
        if edge := [s.name for s, rate in zip(found, best, strict=True) if rate in (min(tried), max(tried))]:
            console.print(
                f"note: the best rate of {', '.join(edge)} is the lowest or highest that was tried; try "
                f"more.",
                soft_wrap=True,
            )
        shown["plan"] = str(file)
        return SOME_FAILED if failed else OK


def read_record(file: Path) -> dict[str, Any]:
    """A published trial. Raises `UserError` where it was edited."""
    record: dict[str, Any] = read_json(file)
    what = "id is not that of its name" if record["id"] != file.stem else digest.edited(record)
    if what:
        raise UserError(f"{file} was edited: its {what}; restore it or remove it.")
    return record


def _searches(
    methods: list[str],
    source: str,
    settings: list[str],
    tried: list[float],
    seeds: list[int],
    once: list[str],
    data: Path,
) -> tuple[Plan, list[Search]]:
    """The plan and its searches. Raises `UserError` for what cannot be searched."""
    if len(set(tried)) < 2 or not all(0 < rate < math.inf for rate in tried):
        raise UserError(
            f"--rates {tried} are not two or more different numbers above 0, such as 0.3, 1 and 3 of the "
            f"protocol's rate."
        )
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds {seeds} are not different whole numbers of 0 or more.")
    if not source.endswith(".toml") and source not in plan.names():
        raise unknown("plan", source, plan.names())
    for setting in settings:
        if setting.partition("=")[0].strip() in ("judge", "lr_scale"):
            raise UserError(
                f"--set {setting} is not for a search of rates, which sets it itself; leave it out."
            )
    base = plan.make([source], settings, data)
    rows = {cell.method for cell in base.cells}
    for method in methods:
        if method not in rows:
            raise unknown(f"method of plan {base.name}", method, sorted(rows))
    base = replace(base, cells=tuple(cell for cell in base.cells if cell.method in (methods or rows)))
    found = rates.searches(base.cells, tried, seeds)
    for name in once:
        if name not in (search.name for search in found):
            raise unknown("row in --once", name, [search.name for search in found])
    return base, [rates.shortened(search, seeds[0]) if search.name in once else search for search in found]


def _key(base: Plan, found: Sequence[Search]) -> str:
    """What tells this search from others on plans of this name."""
    text = json.dumps(
        [sorted(cell.id for cell in base.cells), sorted(spec.id for search in found for spec in search.runs)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _table(
    found: Sequence[Search],
    tried: Sequence[float],
    scored: Sequence[dict[float, float | None]],
    best: Sequence[float | None],
) -> Table:
    table = Table(
        title="change of the held-out metrics against the protocol's rate, in percent", title_justify="left"
    )
    for column in ("row", "seeds", *(f"x {rate:g}" for rate in dict.fromkeys(tried)), "best"):
        table.add_column(column, justify="left" if column == "row" else "right")
    for search, scores, rate in zip(found, scored, best, strict=True):
        cells = ["failed" if score is None else f"{score:+.2f}" for score in scores.values()]
        seeds = len({spec.train_seed for spec in search.runs})
        table.add_row(search.name, str(seeds), *cells, "none" if rate is None else f"{rate:g}")
    return table
