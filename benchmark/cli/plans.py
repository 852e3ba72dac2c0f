"""`bench plan`: what a plan means, before anything runs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from benchmark import ROOT
from benchmark.cli import expected
from benchmark.cli.scripts import aside
from benchmark.execute import attempt as execute
from benchmark.execute.progress import STYLES, make_console, row_name
from benchmark.runs.rundir import RunDir
from benchmark.spec.plan import make

SHOWN = 3  # runs that the plan does not name
PUBLISHED = ROOT / "results"


def show_plan(
    arguments: list[str],
    settings: list[str],
    results: Path,
    data: Path,
    as_json: bool,
    published: Path = PUBLISHED,
) -> int:
    """Every cell of a plan with its state, what was left out and why, what the missing ones will take by the
    records of
    `results` and of the results folder `published`, and runs on disk that the plan does not name."""
    with aside(as_json):
        plan = make(arguments, settings, data)
        execute.check_keywords(plan.cells, execute.Data(data))
    states = {spec.id: RunDir(results, spec.folder).state() for spec in plan.cells}
    missing = [spec for spec in plan.cells if states[spec.id] != "done"]
    hours, unknown = expected.expect(missing, results, published / "records")
    others = expected.unnamed(plan.cells, results)
    if as_json:
        cells = [{"state": states[s.id], "folder": s.folder} | s.as_dict() | {"id": s.id} for s in plan.cells]
        costs = {"hours": [asdict(found) | {"unit": found.unit} for found in hours], "unknown": unknown}
        shown = {"plan": plan.name, "notes": plan.notes, "cells": cells, "expected": costs, "others": others}
        print(json.dumps(shown, indent=1))
        return 0
    console = make_console()
    table = Table(title=f"plan {plan.name}: {len(plan.cells)} runs", title_justify="left")
    for column in ("method", "tasks", "labels", "seed", "protocol", "data set", "id", "state"):
        table.add_column(column, overflow="fold")
    for s in plan.cells:
        tasks = ", ".join(s.tasks) if s.tasks != s.protocol.tasks else "all"
        state = states[s.id]
        table.add_row(
            row_name(s),
            tasks,
            s.labels,
            s.seed,
            s.protocol.name,
            s.variant,
            s.id,
            f"[{STYLES[state]}]{state}[/]",
        )
    console.print(table)
    for note in plan.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for found in hours:
        rests = f"{found.cells} of {len(missing)} unfinished runs, by {found.records} finished like them"
        text = f"expected: {found.hours:.2g} {found.unit} on {found.device} for {rests}"
        console.print(text, markup=False, soft_wrap=True)
    if unknown:
        asked = " ".join(["bench perf", *arguments, *(f"--set {setting}" for setting in settings)])
        text = f"expected: unknown for {unknown} of {len(missing)} unfinished runs; `{asked}` measures them"
        console.print(text, markup=False, soft_wrap=True)
    if others:
        listed = ", ".join(others[:SHOWN]) + (
            f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        )
        console.print(
            f"runs in {results} that this plan does not name: {len(others)}: {listed}",
            markup=False,
            soft_wrap=True,
        )
    console.print(", ".join(f"{count} {state}" for state, count in Counter(states.values()).items()))
    return 0
