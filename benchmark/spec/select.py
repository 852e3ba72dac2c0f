"""Which runs of a plan a table of keys means: what an [[exclude]] leaves out, what a [[contrast]] compares.

Every run keeps the contrasts of its plan in its spec, so a comparison that was thought of after the runs can
be told apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.spec import registry
from benchmark.spec import weighting as balance
from benchmark.spec.protocol import LISTS, SETTABLE
from benchmark.spec.run import RunSpec
from benchmark.typed import check_keys, convert

SIDES = ("first", "second")
SEEDS = ("seeds", "label_seeds", "train_seeds")
AXES = ("protocol", "dataset", "labels", "method", "balance", "lr_scale", *SEEDS)
TABLES = ("hparams", "weighting", "tuning")  # of a grid, by the name of a method or a weighting


def choices(value: Any, takes_list: bool) -> list[Any]:
    """Return the values that a plan's value stands for: a list's, unless the key itself takes a list."""
    several = isinstance(value, list) and (not takes_list or (value and isinstance(value[0], list)))
    return value if several else [value]


def matches(spec: RunSpec, table: Mapping[str, Any], weights: Mapping[str, Path] = {}) -> bool:
    """Return whether a run has each key of a table at its value, or at one of its list of values."""
    return all(
        any(_has(spec, key, choice, weights) for choice in choices(value, key in LISTS))
        for key, value in table.items()
    )


def _has(spec: RunSpec, key: str, value: Any, weights: Mapping[str, Path]) -> bool:
    """Return whether a run resolves to this value; weights: files by the content that runs know."""
    if key == "dataset":  # a data set without a form means all its forms
        return f"{spec.variant}-".startswith(f"{value}-".replace("_", "-"))
    if key == "protocol":
        return spec.protocol.name == (Path(value).stem if str(value).endswith(".toml") else value)
    if key in ("weights", "init"):
        content = getattr(spec.protocol, key)
        return value in (content, str(weights.get(content)))
    if key == "seeds":
        return value == spec.train_seed and (value == spec.label_seed or spec.labels.startswith("published:"))
    if key in AXES:
        return bool(value == getattr(spec, key.removesuffix("s") if key.endswith("_seeds") else key))
    if key == "weighting":
        return balance.matches(spec.balance, spec.weighting, value)
    if key.startswith("hparams."):
        _, method, name = key.split(".", 2)
        return spec.method == method and _same(spec.hyperparameters.get(name), value)
    if key in spec.hyperparameters:
        return _same(spec.hyperparameters[key], value)
    return _same(getattr(spec.protocol, key, None), value)


def _same(value: Any, wanted: Any) -> bool:
    wanted = tuple(wanted) if isinstance(wanted, list) else wanted
    return bool(value == wanted) or (value is None and wanted == "none")


def left_out(
    cells: Sequence[RunSpec],
    tables: Iterable[dict[str, Any]],
    where: str,
    weights: Mapping[str, Path],
    whole: bool,
) -> tuple[list[RunSpec], list[str]]:
    """Return (the runs that no [[exclude]] of the plan `where` matches, a note on each table).

    whole: nothing on the command line changes the plan, so a table that matches no run is a mistake. Raises
    `UserError` for that, for an unknown key and for a table without a key.
    """
    notes, kept = [], list(cells)
    for table in tables:
        where_hparams = (f"[[exclude]] of plan {where}", "write hparams.METHOD.NAME = value", "hparams")
        hparams = convert(table.get("hparams", {}), dict[str, dict[str, Any]], *where_hparams)
        flat = {key: value for key, value in table.items() if key != "hparams"}
        check_keys(flat, [*AXES, *SETTABLE, "weighting"], f"key in [[exclude]] of plan {where}")
        balance.check_tables(flat.get("weighting", {}), f"[[exclude]] of plan {where}")
        for method, keywords in hparams.items():
            check_keys([method], registry.method_names(), f"method in [[exclude]] of plan {where}")
            known = registry.hyperparameters(method)[0]
            check_keys(keywords, known, f"hyperparameter of {method} in [[exclude]] of plan {where}")
            flat |= {f"hparams.{method}.{name}": value for name, value in keywords.items()}
        if not flat:
            raise UserError(f"an [[exclude]] of plan {where} has no key, which would leave out every run.")
        text = "exclude " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in flat.items())
        count = sum(matches(spec, flat, weights) for spec in cells)
        if count == 0 and whole:
            raise UserError(f"{text} matches no run of plan {where}; correct it or remove it.")
        notes.append(f"{count or 'no'} {'run is' if count == 1 else 'runs are'} left out by {text}")
        kept = [spec for spec in kept if not matches(spec, flat, weights)]
    return kept, notes


def read_contrasts(tables: Iterable[dict[str, Any]], where: str) -> tuple[dict[str, Any], ...]:
    """Return a plan's contrasts, each {"name", "first", "second"}; `UserError` for another form."""
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        check_keys(table, ("name", *SIDES), f"key in [[contrast]] of {where}")
        for side in SIDES:
            values = table.get(side)
            if not isinstance(values, dict) or not isinstance(values.get("method"), str):
                raise UserError(f'[[contrast]] of {where} has no {side} = {{ method = "..." }}; add it.')
            own = registry.hyperparameters(values["method"])[0]
            known = ("method", "balance", "weighting", "labels", "lr_scale", *SETTABLE, *own)
            check_keys(values, known, f"key in {side} of [[contrast]] of {where}")
            balance.check_tables(values.get("weighting", {}), f"{side} of [[contrast]] of {where}")
        name = table.get("name", f"{_words(table['first'])} - {_words(table['second'])}")
        if not isinstance(name, str) or not name or name in found:
            raise UserError(
                f"name = {name!r} in [[contrast]] of {where} is not a text of its own; change it."
            )
        found[name] = {"name": name, "first": dict(table["first"]), "second": dict(table["second"])}
    return tuple(found.values())


def _words(side: dict[str, Any]) -> str:
    """Return `method(key=value)`."""
    more = ", ".join(f"{key}={value}" for key, value in side.items() if key != "method")
    return f"{side['method']}({more})" if more else str(side["method"])


def check_contrasts(contrasts: Iterable[dict[str, Any]], cells: Sequence[RunSpec], where: str) -> None:
    """Raise `UserError` for a side that names no row of a plan's runs, or several."""
    for contrast in contrasts:
        for side in SIDES:
            rows = {row(spec) for spec in cells if matches(spec, contrast[side])}
            if len(rows) != 1:
                said = f"{side} = {_words(contrast[side])} in [[contrast]] of plan {where}"
                raise UserError(f"{said} is {len(rows)} rows of it, not one; name another, or add a key.")


def row(spec: RunSpec) -> str:
    """Return what the runs of one row share: everything but seeds, and the task of a one-task method."""
    own = (spec.method, sorted(spec.hyperparameters.items()), spec.balance, spec.weighting, spec.lr_scale)
    return repr((spec.protocol, spec.variant, spec.labels, own))
