"""`bench plan`: what a plan means, before anything runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rich.table import Table

from benchmark import execute
from benchmark.plan import make
from benchmark.progress import STYLES, make_console, row_name
from benchmark.store import RunDir


def show_plan(arguments: list[str], settings: list[str], results: Path, data: Path, as_json: bool) -> int:
    """Every cell of a plan with its state."""
    plan = make(arguments, settings, data)
    execute.check_keywords(plan.cells, execute.Data(data))
    states = {spec.id: RunDir(results, spec.folder).state() for spec in plan.cells}
    if as_json:
        cells = [{"state": states[s.id], "folder": s.folder} | s.as_dict() | {"id": s.id} for s in plan.cells]
        print(json.dumps({"plan": plan.name, "notes": plan.notes, "cells": cells}, indent=1))
        return 0
    console = make_console()
    table = Table(title=f"plan {plan.name}: {len(plan.cells)} runs", title_justify="left")
    for column in ("method", "tasks", "labels", "seed", "protocol", "data set", "id", "state"):
        table.add_column(column, overflow="fold")
    for s in plan.cells:
        tasks = ", ".join(s.tasks) if s.tasks != s.protocol.tasks else "all"
        state = states[s.id]
        table.add_row(row_name(s), tasks, s.labels, s.seed, s.protocol.name, s.variant, s.id, f"[{STYLES[state]}]{state}[/]")
    console.print(table)
    for note in plan.notes:
        console.print(f"note: {note}")
    console.print(", ".join(f"{count} {state}" for state, count in Counter(states.values()).items()))
    return 0
