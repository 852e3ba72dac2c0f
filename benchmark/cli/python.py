"""Run a plan from Python: `benchmark.run`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.options import DATA, RUNS
from benchmark.execute.options import Options

if TYPE_CHECKING:
    import pandas as pd


def run(
    plan: str | Path = "quickstart",
    methods: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
    *,
    results: str | Path = RUNS,
    data: str | Path = DATA,
    device: str = "auto",
    workers: int = 0,
    log: str = "",
) -> pd.DataFrame:
    """Run what is missing of a plan and return its finished runs, as `load_records` has them.

    plan: the name of a shipped one, or a .toml file. methods: instead of the plan's. settings: on top of it,
    as `--set` takes them. workers: processes, 0 for this one. log: "tensorboard" for event files, too. Warns
    of runs that failed, and of what the plan leaves out. Raises `UserError` for wrong input, and
    `KeyboardInterrupt` when it is stopped: the same call goes on from the last checkpoints.

    >>> table = benchmark.run("quickstart", settings={"seeds": 1, "epochs": 2.0})
    """
    from benchmark.execute.progress import Progress
    from benchmark.execute.workers import carry_out
    from benchmark.report.leaderboard import load_records
    from benchmark.spec.plan import expand, read

    options = Options(Path(results), Path(data), device, workers=workers, log=log)
    made = expand(read(str(plan)), dict(settings or {}), list(methods), options.data)
    with Progress(made.cells) as progress:
        ended = carry_out(made.cells, replace(options, weights=made.weights), progress)
    failed = [f"{spec.folder} failed: {progress.reasons.get(spec.id, 'earlier')}" for spec in ended["failed"]]
    for sentence in (*made.notes, *failed):
        warnings.warn(sentence, stacklevel=2)
    table = load_records(options.results)
    return table[table.run.isin([spec.id for spec in made.cells])].reset_index(drop=True)
