"""`bench list methods`: which methods there are, from which paper, and what they cost beside the baseline."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmark.cli.scripts import aside
from benchmark.errors import UserError
from benchmark.execute.progress import make_console, plain
from benchmark.spec import plan, registry
from benchmark.training.flops import Workload, workload
from methods.base import view_kinds


def entries(wanted: list[str], source: str, data: Path) -> list[dict[str, Any]]:
    """One entry a method, of all where none is named. Costs are those of a plan: its protocol, data set and
    keyword values, for its other methods their defaults; as multiples of the protocol's baseline. Raises
    `UserError` for a broken plug-in, and for a plan of several protocols or data sets."""
    cells = plan.make([source], [], data).cells
    ground, variant = cells[0].protocol, cells[0].variant
    if any((c.protocol, c.variant) != (ground, variant) for c in cells):
        raise UserError(
            f"--plan {source} has several protocols or data sets, and costs differ among them; name a plan "
            f"of one."
        )
    tasks = {name: registry.open_dataset(variant, data).tasks[name] for name in ground.tasks}
    values: dict[str, dict[str, Any]] = {}
    for cell in cells:
        values.setdefault(cell.method, cell.hyperparameters)

    def cost(name: str) -> Workload:
        return workload(name, ground, tasks, values.get(name, registry.hyperparameters(name)[0]))

    base = cost(ground.baseline) if ground.baseline else None

    def entry(name: str) -> dict[str, Any]:
        method, (defaults, hints) = registry.method(name), registry.hyperparameters(name)
        return {
            "name": name,
            "summary": method.summary,
            "paper": method.paper,
            "year": year(method.paper),
            "version": method.version,
            "cost": None if method.skip(tasks) else _cost(cost(name), base, len(view_kinds(method.views))),
            "hparams": defaults,
            "types": {
                key: inspect.formatannotation(hint).replace("typing.", "") for key, hint in hints.items()
            },
        }

    found = []
    for name in wanted or registry.method_names():
        try:
            found.append(entry(name))
        except Exception as error:  # a plug-in's own, whatever it is
            if not registry.is_plugin(name):
                raise
            raise UserError(str(error) if isinstance(error, UserError) else _failed(name, error)) from error
    return found


def _failed(name: str, error: Exception) -> str:
    said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return f"the cost of {name} cannot be counted ({said}); `bench check` says what it does wrong."


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
                raise registry.unknown_method("method", name, registry.method_names())
        rows = entries(names, source, data)
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    console = make_console()
    table = Table(title="methods", title_justify="left", show_lines=True)
    for column in ("name", "what it is, and its paper", "year", "version", "extra cost"):
        table.add_column(column, overflow="fold")  # the widest, text, gives way in a narrow terminal
    for row in rows:
        text = Text(row["summary"]).append("\n" + row["paper"] if row["paper"] else "", "dim")
        table.add_row(row["name"], text, str(row["year"] or ""), str(row["version"]), _words(row["cost"]))
    console.print(table)
    console.print(
        f"extra cost: as multiples of the baseline's under plan {source}: operations of convolutions, matrix "
        f"products and "
        f"attention for a training image (losses and backward) and a predicted one, and parameters. Time is "
        f"another matter: "
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
        lines += [f"training x{relative['train_flops']:.2f}", f"prediction x{relative['infer_flops']:.2f}"]
        lines += [f"parameters x{relative['params_train']:.2f}", f"in use x{relative['params_infer']:.2f}"]
    if cost["views"]:
        lines.append(f"{cost['views']} further view{'s' if cost['views'] > 1 else ''}")
    return "\n".join(lines)
