"""[ablate]: a method with its components removed one at a time, or added one after the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmark.errors import UserError, unknown
from benchmark.spec.grid import ALIASES, Expansion
from benchmark.spec.protocol import SETTABLE
from benchmark.spec.run import RunSpec
from benchmark.spec.select import AXES

Form = Literal["leave-one-out", "cumulative"]
FORMS: tuple[Form, ...] = ("leave-one-out", "cumulative")
OWN = ("components", "form", "names")


@dataclass(frozen=True)
class Row:
    """One line of an ablation's table and its runs, over all settings and seeds."""

    name: str
    cells: tuple[RunSpec, ...]


@dataclass(frozen=True)
class Ablation:
    """rows: "full" and then one "without" each component; or, cumulative, "base" and then one more component
    each, up to the full method."""

    method: str
    form: Form
    rows: tuple[Row, ...]

    def only(self, ids: Collection[str]) -> Ablation:
        """The same with the runs of these ids alone."""
        return replace(
            self, rows=tuple(Row(r.name, tuple(c for c in r.cells if c.id in ids)) for r in self.rows)
        )


def expand(table: dict[str, Any], where: str, expansion: Expansion) -> Ablation | None:
    """The ablation of the plan `where`, or None where the command line names methods and not the one ablated.

    table: `method`, `components` = {name: the value that removes it, of the keyword of that name, or a table
    of keywords},
    `form`, `names` = {component: what the table calls it}, and the keys of a grid. Raises `UserError` for
    what does not fit.
    """
    grid = {ALIASES.get(key, key): value for key, value in table.items() if key not in OWN}
    for key in grid:
        if key not in (*AXES, *SETTABLE, "hparams", "tuning"):
            raise unknown(f"key in [ablate] of plan {where}", key, [*AXES, *SETTABLE, *OWN, "hparams"])
    method = grid.get("method")
    if not isinstance(method, str):
        raise UserError(f"[ablate] of plan {where} must name one method, not {method!r}; add method = ... .")
    components, form, names = table.get("components"), table.get("form", FORMS[0]), table.get("names", {})
    if not isinstance(components, dict) or not components:
        raise UserError(
            f"[ablate] of plan {where} has no components; add components = "
            f"{{ keyword = value that removes it }}."
        )
    if form not in FORMS:
        raise unknown(f"form in [ablate] of plan {where}", str(form), FORMS)
    if not isinstance(names, dict) or not all(isinstance(text, str) for text in names.values()):
        raise UserError(
            f"names = {names!r} in [ablate] of plan {where} must be a table of texts, one a component."
        )
    for name in names:
        if name not in components:
            raise unknown(f"component in names of [ablate] of plan {where}", name, components)
    removal = {
        name: value if isinstance(value, dict) else {name: value} for name, value in components.items()
    }
    wanted = expansion.methods or expansion.settings.get("method", method)
    if method not in (wanted if isinstance(wanted, list) else [wanted]):
        expansion.notes[f"the ablation of {method} is left out, as other methods were named"] = None
        return None
    own = Expansion({k: v for k, v in expansion.settings.items() if k != "method"}, [method], expansion.data)
    own.notes, own.used, own.weights, own.protocols = (
        expansion.notes,
        expansion.used,
        expansion.weights,
        expansion.protocols,
    )
    own.contrasts = expansion.contrasts
    rows: list[Row] = []
    for name, out in _steps(list(components), form, {c: str(names.get(c, c)) for c in components}):
        removed = {keyword: value for component in out for keyword, value in removal[component].items()}
        row = Row(name, tuple(own.specs(grid, where, removed)))
        _check(row, rows, where)
        rows.append(row)
    return Ablation(method, form, tuple(rows))


def _steps(components: list[str], form: Form, names: dict[str, str]) -> list[tuple[str, list[str]]]:
    """(row's name, components that it lacks), from the table's first row on."""
    if form == "cumulative":
        return [("base", components)] + [
            (f"+ {names[c]}", components[i + 1 :]) for i, c in enumerate(components)
        ]
    return [("full", [])] + [(f"without {names[c]}", [c]) for c in components]


def _check(row: Row, others: list[Row], where: str) -> None:
    """Raise `UserError` where a row's method has several sets of keywords, or where it is another row's."""
    sets = {repr(sorted(spec.hyperparameters.items())) for spec in row.cells}
    if len(sets) > 1:
        raise UserError(
            f"[ablate] of plan {where} gives its method {len(sets)} sets of keywords in the row "
            f"'{row.name}'; give each keyword "
            f"one value."
        )
    same = next(
        (other for other in others if row.cells and {c.id for c in other.cells} == {c.id for c in row.cells}),
        None,
    )
    if same:
        raise UserError(
            f"the rows '{same.name}' and '{row.name}' in [ablate] of plan {where} are the same runs: a "
            f"component must set a "
            f"keyword to a value that the full method does not have; correct components."
        )
