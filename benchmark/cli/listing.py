"""`bench list`, `show`, `doctor`: what there is to choose from, one run in full, and whether this machine is
ready.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmark.cli.publish import find
from benchmark.cli.scripts import aside
from benchmark.errors import unknown
from benchmark.execute.progress import make_console
from benchmark.files import read_json
from benchmark.runs import provenance
from benchmark.spec import plan, protocol, registry
from benchmark.spec import weighting as balance

WHAT = ("methods", "datasets", "protocols", "plans", "balances", "metrics")


def entries(what: str, data: Path) -> list[dict[str, Any]]:
    """What `bench list WHAT` lists, but for methods."""
    if what == "datasets":
        return [dataset_entry(name, data) for name in registry.dataset_names()]
    if what == "protocols":
        shown = ("name", "version", "summary", "tasks", "size", "encoder", "epochs")
        return [{key: getattr(protocol.load(name), key) for key in shown} for name in protocol.names()]
    if what == "plans":
        return [{"name": name, "summary": plan.read(name).get("summary", "")} for name in plan.names()]
    if what == "balances":
        return [
            {"name": name, "balances": e.kind, "summary": e.summary, "paper": e.paper}
            for name, e in balance.BALANCES.items()
        ]
    if what == "metrics":
        from benchmark.metrics import pooled

        return pooled.metrics()
    raise unknown("listing", what, WHAT)


def dataset_entry(name: str, data: Path) -> dict[str, Any]:
    """One line on a data set, and what of it is found in the data folder."""
    kind, dataset = registry.dataset(name), registry.open_dataset(name, data)
    return {
        "name": name,
        "summary": kind.summary,
        "here": "\n".join(dataset.here()) or None,
        "source": kind.source,
        "licence": kind.licence,
    }


def show_list(what: str, data: Path, as_json: bool) -> int:
    with aside(as_json):
        rows = entries(what, data)
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    make_console().print(_rows_table(what, rows))
    return 0


def _rows_table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_plain, row.values()))
    return table


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def show_run(name: str, results: Path, as_json: bool) -> int:
    """One run: its spec, state, metrics, cost and environment."""
    run = find(results, name)
    record = run.record
    if as_json:
        shown = record or {"spec": read_json(run.file("spec.json"))}
        print(json.dumps({"state": run.state(), "folder": str(run.path)} | shown, indent=1))
        return 0
    console = make_console()
    console.print(f"[bold]{run.path.relative_to(results)}[/]: {run.state()}", soft_wrap=True)
    if run.file("error.txt").exists():
        console.print(run.file("error.txt").read_text(encoding="utf-8").strip())
    spec = (record or {"spec": read_json(run.file("spec.json"))})["spec"]
    _table(console, "spec", {k: v for k, v in spec.items() if k not in ("protocol", "hyperparameters")})
    _table(console, "hyper-parameters", spec["hyperparameters"])
    _table(console, f"protocol {spec['protocol']['name']}", spec["protocol"])
    if record:
        for task, values in record["metrics"].items():
            _table(console, f"{task} on {record['tasks'][task]['test_images']} test images", values)
        _table(console, "cost", record["cost"])
        _table(console, "hashes", record["hashes"])
        _table(console, "environment", record["environment"])
    return 0


def _table(console: Console, title: str, values: dict[str, Any]) -> None:
    if not values:
        return
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else _plain(value))
    console.print(table)


def doctor(results: Path, data: Path, as_json: bool) -> int:
    """What a run here would use, and what is missing; exit code 1 if a run cannot start."""
    import torch

    environment = provenance.environment("cuda" if torch.cuda.is_available() else "cpu", threads=0)
    del environment["threads"]  # the protocol's to say
    folder = next(p for p in (results, *results.resolve().parents) if p.exists())
    with aside(as_json):
        found = {name: dataset_entry(name, data)["here"] or "not found" for name in registry.dataset_names()}
    checks = environment | {
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "results": f"{results} ({'writable' if os.access(folder, os.W_OK) else 'NOT WRITABLE'})",
        "free space": f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB",
        "data": found,
        "python executable": sys.executable,
    }
    if as_json:
        print(json.dumps(checks, indent=1))
    else:
        _table(make_console(), "this machine", checks)
    return 0 if os.access(folder, os.W_OK) else 1
