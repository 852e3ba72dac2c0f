"""`bench list` and `show`: what there is to choose from, and one run in full."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmark.cli.options import DATA, RUNS, Answer, Data, Plugin, Results, say
from benchmark.errors import UserError, reason, unknown
from benchmark.execute.progress import make_console, plain
from benchmark.runs.rundir import find_run
from benchmark.runs.schema import read_spec
from benchmark.spec import plan, plugged, protocol, registry

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
    data: Data = DATA,
    plugin: Plugin = [],  # noqa: B006
) -> Answer:
    """List what there is to choose from."""
    if names and what != "methods":
        raise UserError(f"only methods are shown by name, not {what}; leave {names[0]} out.")
    if source and not names:
        raise UserError(f"--plan {source} is for methods by name, whose cost it gives; name one.")
    rows = method_entries(names, source or "field", data) if names else entries(what, data)
    table = Table(title=what, title_justify="left", show_header=False, show_lines=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # so no name is broken, however narrow the terminal
    for row in rows:
        name, *more = row.items()
        lines = _in_full(row) if names else [f"{key}: {_plain(v)}" for key, v in more if key != "summary"]
        table.add_row(_plain(name[1]), "\n".join([*filter(None, [row["summary"]]), *lines]))
    make_console().print(table)
    if what == "methods" and not names:
        say("`bench list methods NAME` adds cost, hyperparameters and departures from the paper.")
    return 0, rows


def list_datasets(data: Data = DATA, plugin: Plugin = []) -> Answer:  # noqa: B006
    """List data sets, where they come from and which are here."""
    return list_("datasets", data=data)


def entries(what: str, data: Path) -> list[dict[str, Any]]:
    """Return what `bench list WHAT` lists. Methods of the tree are not imported for that."""
    if what == "methods":
        return [{"name": n, **registry.describe(n)._asdict()} for n in registry.method_names()]
    if what == "datasets":
        return [dataset_entry(name, data) for name in registry.dataset_names()]
    if what == "protocols":
        shown = ("name", "version", "summary", "tasks", "size", "encoder", "epochs")
        return [{key: getattr(protocol.load(name), key) for key in shown} for name in protocol.names()]
    if what == "plans":
        return [{"name": name, "summary": plan.read(name).get("summary", "")} for name in plan.names()]
    if what == "balances":
        from benchmark.spec.weighting import BALANCES, defaults

        told = ({"name": n, "balances": e.kind, "summary": e.summary} for n, e in BALANCES.items())
        return [row | {"hparams": defaults(row["name"])} for row in told]
    if what == "metrics":
        from benchmark.metrics import pooled

        own = [
            {"task": task, "metric": name, "primary": False, "summary": f"{of['summary']}; {word} is better"}
            for name, of in plugged.metric_facts().items()
            for word in ("higher" if of["higher_is_better"] else "lower",)
            for task, kind in pooled.TASKS.items()
            if kind == of["kind"]
        ]
        return pooled.metrics() + own
    raise unknown("listing", what, WHAT)


def dataset_entry(name: str, data: Path) -> dict[str, Any]:
    """Return a line on a data set, and what of it is found in the data folder."""
    kind, here = registry.dataset(name), "\n".join(registry.open_dataset(name, data).here())
    row = {"name": name, "summary": kind.summary, "here": here or None}
    return row | {"source": kind.source, "licence": kind.licence}


def method_entries(wanted: list[str], source: str, data: Path) -> list[dict[str, Any]]:
    """Return a full entry for each of some methods.

    Costs are those of a plan: its protocol, data set and hyperparameters, for its other methods their
    defaults; as multiples of the protocol's baseline. Raises `UserError` for a broken plug-in, and for a plan
    of several protocols or data sets.
    """
    from benchmark.training.flops import workload
    from methods.base import view_kinds

    methods = {name: registry.method(name) for name in wanted}
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
    def cost(name: str) -> dict[str, Any]:
        return workload(name, ground, tasks, values.get(name, registry.hyperparameters(name)[0]))

    base = cost(ground.baseline) if ground.baseline else None
    rows = []
    for name, method in methods.items():
        defaults, hints = registry.hyperparameters(name)
        try:
            own = None if method.skip(tasks) else cost(name)
        except UserError:
            raise
        except Exception as error:  # a plug-in's own, whatever it is
            why = reason(error, named=True)
            raise UserError(f"the cost of {name} cannot be counted ({why}); see `bench check`.") from error
        if own:
            relative = {key: value / base[key] for key, value in own.items()} if base else {}
            own = own | {"views": len(view_kinds(method.views)), "relative": relative}
        types = {key: inspect.formatannotation(hint).replace("typing.", "") for key, hint in hints.items()}
        meant = registry.meanings(name)
        rows.append(
            {"name": name, "version": method.version, "summary": method.summary, "paper": method.paper}
            | {"cost": own, "hparams": defaults, "types": types}
            | {"meanings": {key: meant.get(key, "") for key in hints}}
            | {"departures": registry.departures(name)}
        )
    return rows


def _in_full(row: dict[str, Any]) -> list[str]:
    """Return the lines on a method that is listed by name."""
    cost = "it cannot run there"
    if row["cost"]:
        names = {"training": "train_flops", "prediction": "infer_flops", "parameters": "params_train",
                 "in use": "params_infer"}  # fmt: skip
        relative = row["cost"]["relative"]
        times = [f"{name} x{relative[key]:.2f}" for name, key in names.items() if relative]
        cost = f"{', '.join(times)} of the baseline's; further views: {row['cost']['views']}"
    parameters = [
        f"  {key} = {plain(value)} ({row['types'][key]}): {row['meanings'][key]}"
        for key, value in row["hparams"].items()
    ]
    departures = [f"- {line}" for line in row["departures"]]
    lines = [f"version {row['version']}; {row['paper']}", f"cost: {cost}"]
    lines += ["hyperparameters:" if parameters else "no hyperparameters", *parameters]
    return lines + (["departures from what is published:", *departures] if departures else [])


def show(name: Annotated[str, typer.Argument(metavar="RUN")], results: Results = RUNS) -> Answer:
    """Show one run in full."""
    run = find_run(results, name)
    record = run.record
    shown: dict[str, Any] = {"state": run.state(), "folder": str(run.path)}
    shown |= record or {"spec": read_spec(run.file("spec.json"))}
    say(f"{run.path.parent.name}/{run.name}: {shown['state']}")
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
    return 0, shown


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
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
