"""Expand [ablate]: a method with its components removed one at a time, or added one by one."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmark.errors import UserError
from benchmark.spec.grid import Expansion, renamed
from benchmark.spec.protocol import SETTABLE
from benchmark.spec.run import RunSpec
from benchmark.spec.select import AXES, TABLES
from benchmark.typed import check_keys, convert

Form = Literal["leave-one-out", "cumulative"]
OWN: dict[str, Any] = {"components": dict[str, Any], "form": Form, "names": dict[str, str]}


@dataclass(frozen=True)
class Row:
    """One line of an ablation's table and its runs, over all settings and seeds."""

    name: str
    cells: tuple[RunSpec, ...]


@dataclass(frozen=True)
class Ablation:
    """An ablated method with its rows.

    rows: "full" and then one "without" each component; or, cumulative, "base" and then one more component
    each, up to the full method.
    """

    method: str
    form: Form
    rows: tuple[Row, ...]

    def only(self, ids: Collection[str]) -> Ablation:
        """Return the same with the runs of these ids alone."""
        rows = (replace(row, cells=tuple(c for c in row.cells if c.id in ids)) for row in self.rows)
        return replace(self, rows=tuple(rows))


def expand(table: dict[str, Any], plan: str, expansion: Expansion) -> Ablation | None:
    """Return the ablation of a plan, None where the command line names other methods.

    table: `method`, `components` = {name: the value that removes it, of the hyperparameter of that name, or a
    table of hyperparameters}, `form`, `names` = {component: its name in the table}, and the keys of a grid.
    Raises `UserError` for what does not fit.
    """
    where = f"[ablate] of plan {plan}"
    own = {key: convert(value, OWN[key], where, name=key) for key, value in table.items() if key in OWN}
    grid = renamed({key: value for key, value in table.items() if key not in OWN})
    check_keys(grid, [*AXES, *SETTABLE, *TABLES, *OWN], f"key in {where}")
    method = convert(grid.get("method"), str, where, "name one method", "method")
    components, names = own.get("components"), own.get("names", {})
    if not components:
        raise UserError(f"{where} has no components; add components = {{ name = value that removes it }}.")
    check_keys(names, components, f"component in names of {where}")
    wanted = expansion.methods or expansion.settings.get("method", method)
    if method not in (wanted if isinstance(wanted, list) else [wanted]):
        expansion.notes[f"the ablation of {method} is left out, as other methods were named"] = None
        return None
    alone = copy.copy(expansion)
    alone.settings = {key: value for key, value in expansion.settings.items() if key != "method"}
    alone.methods = [method]
    form: Form = own.get("form", "leave-one-out")
    rows: list[Row] = []
    for name, lacking in _steps(list(components), form, names):
        removed: dict[str, Any] = {}
        for component in lacking:
            value = components[component]
            removed |= value if isinstance(value, dict) else {component: value}
        rows.append(Row(name, tuple(alone.specs(grid, plan, removed))))
    _check(rows, where)
    return Ablation(method, form, tuple(rows))


def _steps(components: list[str], form: Form, names: dict[str, str]) -> list[tuple[str, list[str]]]:
    """(row's name, components that it lacks), from the table's first row on."""
    if form == "cumulative":
        added = [(f"+ {names.get(c, c)}", components[i:]) for i, c in enumerate(components, 1)]
        return [("base", components), *added]
    return [("full", []), *((f"without {names.get(c, c)}", [c]) for c in components)]


def _check(rows: list[Row], where: str) -> None:
    """Raise `UserError` where a row has several sets of hyperparameters, or the runs of another."""
    known: dict[frozenset[str], str] = {}
    for row in rows:
        sets = {repr(sorted(spec.hyperparameters.items())) for spec in row.cells}
        if len(sets) > 1:
            raise UserError(
                f"{where} gives its method {len(sets)} sets of hyperparameters in the row '{row.name}'."
            )
        same = known.setdefault(frozenset(spec.id for spec in row.cells), row.name)
        if row.cells and same != row.name:
            raise UserError(
                f"the rows '{same}' and '{row.name}' in {where} are the same runs: a component must set "
                f"what the full method does not have."
            )
