"""`bench ablate`: run what is missing of an ablation, as `bench run` does, and print its table."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.run import INTERRUPTED, run
from benchmark.cli.scripts import aside, for_scripts, say
from benchmark.errors import UserError
from benchmark.execute.progress import make_console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from benchmark.report.ablation import Table


@functools.wraps(run, assigned=("__annotations__", "__module__"))  # the same options
def ablate(**options: Any) -> int:
    """Run what is missing of a plan that ablates a method, and print what each component brings."""
    from benchmark.spec.plan import make

    as_json = options["as_json"]
    with aside(as_json):
        plan = make(options["what"] or [], options["settings"], options["data"])
    if plan.ablation is None:
        raise UserError(
            f"plan {plan.name} ablates nothing here; add [ablate] with method and components, or name "
            f"its method."
        )
    with aside(as_json):
        code = run(**options | {"as_json": False})
    if code != INTERRUPTED or as_json:
        _report(plan.name, plan.ablation, options["results"], as_json, written=code != INTERRUPTED)
    return code


def _report(plan: str, ablation: Any, results: Path, as_json: bool, written: bool) -> None:
    """Print the table, or with `as_json` it alone on standard output, and write it with its figure."""
    from benchmark.files import writing
    from benchmark.report import ablation as report
    from benchmark.report.figures.board import waterfall
    from benchmark.report.leaderboard import boards_of

    tables = report.tables(ablation, boards_of(results))
    records, stem = report.records(tables), results / "tables" / f"ablation-{plan}"
    paths: list[Path] = []
    if tables and written:
        with writing(results):
            stem.parent.mkdir(parents=True, exist_ok=True)
            paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".md", ".csv")]
            paths[0].write_text(report.markdown(tables, plan), encoding="utf-8", newline="\n")
            records.to_csv(paths[1], index=False, lineterminator="\n")
            paths += waterfall(tables, plan, stem)
    shown = {"plan": plan, "form": ablation.form, "rows": records.to_dict("records")}
    with for_scripts(as_json, shown):
        make_console().print(*map(_table, tables), sep="\n")
        for path in paths:
            say(f"wrote {path}")
        if not tables:
            say("no row of the ablation has a finished seed yet, so there is no table.")


def _table(table: Table) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from benchmark.report.ablation import shown
    from benchmark.report.views import Fitted

    narrow = shown(table).replace(" ± ", "\n± ", regex=True)
    return Group(Text(table.title, style="italic"), Fitted(narrow), *map(Text, table.sentences))
