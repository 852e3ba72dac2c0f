"""`bench list`, `show` and `doctor`: what there is to choose from, one run in full, this machine."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmark.cli.options import DATA, RUNS, Data, Json, Plugin, Results
from benchmark.cli.scripts import for_scripts, say
from benchmark.errors import UserError, unknown
from benchmark.execute.progress import make_console, plain
from benchmark.runs.rundir import find_run
from benchmark.runs.schema import read_spec
from benchmark.spec import plan, protocol, registry

if TYPE_CHECKING:
    from benchmark.training.flops import Workload

WHAT = ("methods", "datasets", "protocols", "plans", "balances", "metrics")


def list_(
    what: Annotated[str, typer.Argument(metavar="|".join(WHAT))],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Methods to show in full.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--plan", help="The plan under which named methods' cost is counted [default: field]."),
    ] = None,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> int:
    """List what there is to choose from."""
    rows: list[dict[str, Any]] = []
    with for_scripts(as_json, rows):
        if names and what != "methods":
            raise UserError(f"only methods are shown by name, not {what}; leave {names[0]} out.")
        if what == "methods":
            if source and not names:
                raise UserError(f"--plan {source} is for methods by name, whose cost it gives; name one.")
            rows += method_entries(names, source or "field", data) if names else method_lines()
            _print_methods(rows, source or "field", bool(names))
            return 0
        rows += entries(what, data)
        table = Table(title=what, title_justify="left", show_header=False, show_lines=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")  # so no name is broken, however narrow the terminal
        for (_, name), *more in (row.items() for row in rows):
            lines = (f"{'' if key == 'summary' else f'{key}: '}{_plain(value)}" for key, value in more)
            table.add_row(_plain(name), "\n".join(lines))
        make_console().print(table)
    return 0


def list_datasets(
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> int:
    """List data sets, where they come from and which are here."""
    return list_("datasets", data=data, as_json=as_json)


def entries(what: str, data: Path) -> list[dict[str, Any]]:
    """Return what `bench list WHAT` lists, but for methods."""
    if what == "datasets":
        return [dataset_entry(name, data) for name in registry.dataset_names()]
    if what == "protocols":
        shown = ("name", "version", "summary", "tasks", "size", "encoder", "epochs")
        return [{key: getattr(protocol.load(name), key) for key in shown} for name in protocol.names()]
    if what == "plans":
        return [{"name": name, "summary": plan.read(name).get("summary", "")} for name in plan.names()]
    if what == "balances":
        from benchmark.spec.weighting import BALANCES, defaults

        keys = {"balances": "kind", "summary": "summary", "paper": "paper"}
        found = BALANCES.items()
        told = [{key: getattr(e, of) for key, of in keys.items()} for _, e in found]
        return [{"name": n} | row | {"hparams": defaults(n)} for n, row in zip(BALANCES, told, strict=True)]
    if what == "metrics":
        from benchmark.metrics import pooled

        return pooled.metrics()
    raise unknown("listing", what, WHAT)


def dataset_entry(name: str, data: Path) -> dict[str, Any]:
    """Return a line on a data set, and what of it is found in the data folder."""
    kind, here = registry.dataset(name), "\n".join(registry.open_dataset(name, data).here())
    row = {"name": name, "summary": kind.summary, "here": here or None}
    return row | {"source": kind.source, "licence": kind.licence}


def method_lines() -> list[dict[str, Any]]:
    """Return a line on every method, which those of the tree are not imported for."""
    return [_line(name, registry.describe(name)) for name in registry.method_names()]


def _line(name: str, about: registry.Description) -> dict[str, Any]:
    return {"name": name, **about._asdict(), "year": year(about.paper)}


def method_entries(wanted: list[str], source: str, data: Path) -> list[dict[str, Any]]:
    """Return a full entry for each of some methods.

    Costs are those of a plan: its protocol, data set and hyperparameters, for its other methods their
    defaults; as multiples of the protocol's baseline. Raises `UserError` for a broken plug-in, and for a plan
    of several protocols or data sets.
    """
    from benchmark.training.flops import workload
    from methods.base import view_kinds

    for name in wanted:
        if name not in registry.method_names():
            raise registry.unknown_method("method", name, registry.method_names())
    cells = plan.make([source], [], data).cells
    ground, variant = cells[0].protocol, cells[0].variant
    if any((c.protocol, c.variant) != (ground, variant) for c in cells):
        raise UserError(
            f"--plan {source} has several protocols or data sets, whose costs differ; name a plan of one "
            "protocol and one data set, such as quickstart."
        )
    tasks = {name: registry.open_dataset(variant, data).tasks[name] for name in ground.tasks}
    values = {cell.method: cell.hyperparameters for cell in reversed(cells)}

    @cache
    def cost(name: str) -> Workload:
        return workload(name, ground, tasks, values.get(name, registry.hyperparameters(name)[0]))

    base = cost(ground.baseline) if ground.baseline else None

    rows = []
    for name in wanted:
        method, (defaults, hints) = registry.method(name), registry.hyperparameters(name)
        try:
            own = None if method.skip(tasks) else vars(cost(name))
        except Exception as error:  # a plug-in's own, whatever it is
            if not registry.is_plugin(name) or isinstance(error, UserError):
                raise
            kind = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
            raise UserError(
                f"the cost of {name} cannot be counted ({kind}); `bench check` says what it does wrong."
            ) from error
        if own:
            relative = {key: value / getattr(base, key) for key, value in own.items()} if base else {}
            own = own | {"views": len(view_kinds(method.views)), "relative": relative}
        types = {key: inspect.formatannotation(hint).replace("typing.", "") for key, hint in hints.items()}
        meant, about = (
            registry.meanings(name),
            registry.Description(method.version, method.summary, method.paper),
        )
        rows.append(
            _line(name, about)
            | {"cost": own, "hparams": defaults, "types": types}
            | {"meanings": {key: meant.get(key, "") for key in hints}}
            | {"departures": registry.departures(name)}
        )
    return rows


def year(paper: str) -> int | None:
    """Return the year that a reference ends with; of several works the newest's."""
    return max(map(int, re.findall(r"\b(?:19|20)\d\d\b", paper)), default=None)


def _print_methods(rows: list[dict[str, Any]], source: str, in_full: bool) -> None:
    console = make_console()
    table = Table(title="methods", title_justify="left", show_lines=True)
    columns = ("name", "what it is, and its paper", "year", "version", *(("extra cost",) if in_full else ()))
    for column in columns:
        table.add_column(column, overflow="fold")  # the widest, text, gives way in a narrow terminal
    for row in rows:
        text = Text(row["summary"]).append("\n" + row["paper"] if row["paper"] else "", "dim")
        cost = (_words(row["cost"]),) if in_full else ()
        table.add_row(row["name"], text, str(row["year"] or ""), str(row["version"]), *cost)
    console.print(table)
    if not in_full:
        console.print("`bench list methods NAME` adds cost, hyperparameters and departures from the paper.")
        return
    console.print(
        f"extra cost: multiples of the baseline's under plan {source}, in operations a training image and "
        "a predicted one, and in parameters."
    )
    for row in rows:
        table = Table(title=f"hyperparameters of {row['name']}", title_justify="left", show_lines=True)
        for column in ("hyperparameter", "default", "takes", "meaning"):
            table.add_column(column, overflow="fold")
        for key, value in row["hparams"].items():
            table.add_row(key, plain(value), Text(row["types"][key]), Text(row["meanings"][key]))
        console.print(table if row["hparams"] else f"{row['name']} has no hyperparameters.")
        if row["departures"]:
            console.print(f"where {row['name']} departs from what is published, and why:")
        for line in row["departures"]:
            console.print(Padding(Text(f"- {line}"), (0, 0, 0, 2)))


def _words(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return "cannot run there"
    names = {"training": "train_flops", "prediction": "infer_flops", "parameters": "params_train",
             "in use": "params_infer"}  # fmt: skip
    lines = [f"{name} x{cost['relative'][key]:.2f}" for name, key in names.items() if cost["relative"]]
    if cost["views"]:
        lines.append(f"{cost['views']} further view{'s' if cost['views'] > 1 else ''}")
    return "\n".join(lines)


def show(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> int:
    """Show one run in full."""
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        run = find_run(results, name)
        record = run.record
        shown |= {"state": run.state(), "folder": str(run.path)}
        shown |= record or {"spec": read_spec(run.file("spec.json"))}
        say(f"{run.path.relative_to(results)}: {shown['state']}")
        if run.error:
            say(run.error.strip())
        spec = shown["spec"]
        _print_values("spec", {k: v for k, v in spec.items() if k not in ("protocol", "hyperparameters")})
        _print_values("hyperparameters", spec["hyperparameters"])
        _print_values(f"protocol {spec['protocol']['name']}", spec["protocol"])
        if record:
            for task, values in record["metrics"].items():
                _print_values(f"{task} on {record['tasks'][task]['test_images']} test images", values)
            for part in ("cost", "hashes", "environment"):
                _print_values(part, record[part])
    return 0


def doctor(results: Results = RUNS, data: Data = DATA, as_json: Json = False) -> int:
    """Say what a run on this machine would use; exit code 1 if a run cannot start."""
    import torch

    from benchmark.runs import provenance

    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        shown |= provenance.environment("cuda" if torch.cuda.is_available() else "cpu", threads=0)
        del shown["threads"]  # the protocol's to say
        folder = next(p for p in (results, *results.resolve().parents) if p.exists())
        writable = os.access(folder, os.W_OK)
        shown |= {
            "cuda": torch.version.cuda if torch.cuda.is_available() else None,
            "results": f"{results} ({'writable' if writable else 'NOT WRITABLE'})",
            "free space": f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB",
            "data": {n: dataset_entry(n, data)["here"] or "not found" for n in registry.dataset_names()},
            "python executable": sys.executable,
        }
        _print_values("this machine", shown)
    return 0 if writable else 1


def _print_values(title: str, values: dict[str, Any]) -> None:
    """Print a table of one line a key; nothing where there is none."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else _plain(value))
    if values:
        make_console().print(table)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
