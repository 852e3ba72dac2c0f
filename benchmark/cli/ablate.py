"""`bench ablate`: run what is missing of an ablation and print its table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from benchmark.cli.results import boards_of
from benchmark.cli.runs import INTERRUPTED
from benchmark.cli.scripts import aside
from benchmark.errors import UserError
from benchmark.execute.progress import make_console
from benchmark.files import writing
from benchmark.report import ablation as report
from benchmark.spec.plan import make


def ablate(
    arguments: list[str],
    settings: list[str],
    results: Path,
    data: Path,
    as_json: bool,
    run: Callable[[], int],
    dry_run: bool,
) -> int:
    """Run what is missing of a plan by `run`, as `bench run` does, and print and write the table of its
    [ablate].

    as_json: standard output holds the table alone, after an interruption too. Raises `UserError` for a plan
    that ablates nothing, before any run.
    """
    with aside(as_json):
        plan = make(arguments, settings, data)
    if plan.ablation is None:
        raise UserError(
            f"plan {plan.name} ablates nothing here; add [ablate] with method and components, or name its "
            f"method."
        )
    if dry_run:
        return run()
    with aside(as_json):
        code = run()
    if code == INTERRUPTED and not as_json:
        return code
    from benchmark.report.figures import waterfall

    found = report.tables(plan.ablation, boards_of(results))
    files = {
        f"ablation-{plan.name}.md": report.markdown(found, plan.name),
        f"ablation-{plan.name}.csv": report.csv_text(found),
    }
    tables = [results / "tables" / name for name in files]
    paths = [*tables]
    if found and code != INTERRUPTED:
        with writing(results):
            for path, text in zip(tables, files.values(), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            paths += waterfall.draw_tables(found, plan.name, results / "tables" / f"ablation-{plan.name}")
    if as_json:
        print(
            json.dumps(
                {"plan": plan.name, "form": plan.ablation.form, "rows": report.records(found)}, indent=1
            )
        )
        return code
    console = make_console()
    for table in found:
        console.print(_shown(table))
    for path in paths if found else ():
        console.print(f"wrote {path}", soft_wrap=True)
    if not found:
        console.print("no row of the ablation has a finished seed yet, so there is no table.")
    return code


def _shown(table: report.Table) -> RenderableType:
    shown = RichTable(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for i, name in enumerate(report.header(table)):
        shown.add_column(
            Text(name), justify="right" if i else "left", overflow="fold", min_width=None if i else 12
        )
    for line in report.cells(table):
        shown.add_row(
            *(Text(cell.replace(" ± ", "\n± ")) for cell in line)
        )  # two lines: narrow terminals hold them
    return Group(Text(table.title, style="italic"), shown, *(Text(sentence) for sentence in table.sentences))
