"""`bench plan`: what a plan means, before anything runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmark.cli.options import DATA, RESULTS, RUNS, Data, Json, Plugin, Published, Results, Set, What
from benchmark.cli.scripts import for_scripts, say
from benchmark.execute.progress import STYLES, make_console, row_name
from benchmark.runs.rundir import RunDir
from benchmark.spec.plan import Plan, make


def plan(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    results: Results = RUNS,
    published_in: Published = RESULTS,
    data: Data = DATA,
    as_json: Json = False,
) -> int:
    """Show every run of a plan and its state, what was left out and why, and the hours still missing."""
    from benchmark.cli import expected
    from benchmark.execute import data as execute

    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        made = make(what or [], settings, data)
        execute.check_keywords(made.cells, execute.Data(data))
        states: dict[str, str] = {s.id: RunDir(results, s.folder).state() for s in made.cells}
        missing = [spec for spec in made.cells if states[spec.id] != "done"]
        expected_hours, unknown = expected.expect(missing, results, published_in / "records")
        others = expected.unnamed(made.cells, results)
        cells = [{"state": states[s.id], "folder": s.folder} | s.as_dict() | {"id": s.id} for s in made.cells]
        hours = [asdict(found) | {"unit": found.unit} for found in expected_hours]
        shown |= {"plan": made.name, "notes": made.notes, "cells": cells}
        shown |= {"expected": {"hours": hours, "unknown": unknown}, "others": others}
        make_console().print(_table(made, states))
        for note in made.notes:
            say(f"note: {note}")
        for found in expected_hours:
            rests = f"{found.cells} of {len(missing)} unfinished runs, by {found.records} finished like them"
            say(f"expected: {found.hours:.2g} {found.unit} on {found.device} for {rests}")
        if unknown:
            asked = " ".join(["bench perf", *(what or []), *(f"--set {setting}" for setting in settings)])
            say(f"expected: unknown for {unknown} of {len(missing)} unfinished runs; `{asked}` measures them")
        if others:
            say(f"runs in {results} that this plan does not name: {len(others)}, such as {others[0]}")
        say(", ".join(f"{count} {state}" for state, count in Counter(states.values()).items()))
    return 0


def _table(made: Plan, states: dict[str, str]) -> Table:
    table = Table(title=f"plan {made.name}: {len(made.cells)} runs", title_justify="left")
    for column in ("method", "tasks", "labels", "seed", "protocol", "data set", "id", "state"):
        table.add_column(column, overflow="fold")
    for s in made.cells:
        tasks = ", ".join(s.tasks) if s.tasks != s.protocol.tasks else "all"
        state = Text(states[s.id], STYLES[states[s.id]])
        table.add_row(row_name(s), tasks, s.labels, s.seed, s.protocol.name, s.variant, s.id, state)
    return table
