"""`bench list methods`: which methods there are, from which paper, and what they cost beside the baseline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmark import plan, protocol, registry
from benchmark.errors import UserError, unknown
from benchmark.progress import make_console, plain
from benchmark.scripts import aside
from benchmark.workload import Workload, workload


def entries(names: list[str], source: str, data: Path) -> list[dict[str, Any]]:
    """One entry a method. Costs are those of a plan: its protocol, data set and keyword values, for its other methods their
    defaults; as multiples of the protocol's baseline. Raises `UserError` for a plan of several protocols or data sets."""
    cells = plan.make([source], [], data).cells
    ground, variant = cells[0].protocol, cells[0].variant
    if any((c.protocol, c.variant) != (ground, variant) for c in cells):
        raise UserError(f"--plan {source} has several protocols or data sets, and costs differ among them; name a plan of one.")
    tasks = {name: registry.open_dataset(variant, data).tasks[name] for name in ground.tasks}
    values: dict[str, dict[str, Any]] = {}
    for cell in cells:
        values.setdefault(cell.method, cell.hyperparameters)

    def cost(name: str) -> Workload:
        return workload(name, ground, tasks, values.get(name, registry.hyperparameters(name)[0]))

    base = cost(ground.baseline) if ground.baseline else None
    found = []
    for name in names:
        method, (defaults, hints) = registry.method(name), registry.hyperparameters(name)
        found.append(
            {
                "name": name,
                "summary": method.summary,
                "paper": method.paper,
                "year": year(method.paper),
                "version": method.version,
                "cost": None if method.skip(tasks) else _cost(cost(name), base, method.views),
                "hparams": defaults,
                "types": {key: protocol.describe(hint) for key, hint in hints.items()},
            }
        )
    return found


def year(paper: str) -> int | None:
    """The year that a reference ends with; of several works the newest's."""
    years = re.findall(r"\b(?:19|20)\d\d\b", paper)
    return max(map(int, years), default=None)


def _cost(own: Workload, base: Workload | None, views: int) -> dict[str, Any]:
    ratio = {key: value / getattr(base, key) for key, value in vars(own).items()} if base else {}
    return vars(own) | {"views": views, "relative": ratio}


def show(names: list[str], source: str, data: Path, as_json: bool) -> int:
    """All methods in a table, or those named in full."""
    with aside(as_json):
        for name in names:
            if name not in registry.method_names():
                raise unknown("method", name, registry.method_names())
        rows = entries(names or registry.method_names(), source, data)
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    console = make_console()
    table = Table(title="methods", title_justify="left", show_lines=True)
    for column in ("name", "summary", "paper", "year", "version", "extra cost"):
        table.add_column(column, overflow="fold", min_width=38 if column == "extra cost" else None)
    for row in rows:
        shown = (row["name"], row["summary"], row["paper"], row["year"] or "", row["version"], _words(row["cost"]))
        table.add_row(*map(str, shown))
    console.print(table)
    console.print(
        f"extra cost: as multiples of the baseline's under plan {source}: operations of convolutions, matrix products and "
        f"attention for a training image (losses and backward) and a predicted one, and parameters. Time is another matter: "
        f"boards show it. `bench list methods NAME` adds a method's keywords."
    )
    for row in rows if names else ():
        keywords = Table(title=f"keywords of {row['name']}", title_justify="left")
        for column in ("keyword", "default", "takes"):
            keywords.add_column(column, overflow="fold")
        for key, value in row["hparams"].items():
            keywords.add_row(key, plain(value), row["types"][key])
        console.print(keywords if row["hparams"] else f"{row['name']} has no keywords.")
    return 0


def _words(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return "cannot run there"
    relative = cost["relative"]
    lines = []
    if relative:
        lines.append(f"training x{relative['train_flops']:.2f}, prediction x{relative['infer_flops']:.2f}")
        lines.append(f"parameters x{relative['params_train']:.2f}, in use x{relative['params_infer']:.2f}")
    if cost["views"]:
        lines.append(f"{cost['views']} further crop{'s' if cost['views'] > 1 else ''} an image")
    return "\n".join(lines)
