"""The plan of a tuned method: the runs of the plan it was tuned on, judged on the test set, with the keywords
that were found.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from benchmark.errors import UserError
from benchmark.spec import plan as plans
from benchmark.spec import protocol as protocols
from benchmark.spec import registry, select
from benchmark.spec.plan import Plan
from benchmark.spec.rates import Search
from benchmark.spec.run import RunSpec
from benchmark.spec.tuning import words
from benchmark.spec.weighting import EQUAL

Pair = tuple[int, int]


def cells(
    base: Iterable[RunSpec],
    keywords: Mapping[str, Any],
    judge: Literal["test", "holdout"],
    table: Mapping[str, Any] | None = None,
) -> list[RunSpec]:
    """The runs of a plan with some of its method's keywords replaced, judged on "test" or "holdout". table:
    of the search.
    """
    found = []
    for spec in base:
        own = {name: spec.hyperparameters[name] for name in spec.changed} | dict(keywords)
        values, changed = registry.resolve_hyperparameters(spec.method, own)
        tuning = spec.tuning if table is None else words(_with_share(table, spec), spec.method)
        found.append(
            replace(
                spec,
                protocol=replace(spec.protocol, judge=judge),
                hyperparameters=values,
                changed=changed,
                tuning=tuning,
            )
        )
    return list({spec.id: spec for spec in found}.values())


def text(base: Plan, keywords: Mapping[str, Any], table: Mapping[str, Any], data: Path) -> str:
    """A plan, in TOML, of the runs of `base`, which has one method, with `keywords` of it.

    table: {"trials": asked for, "distinct": those there were, if fewer}. The text is read as `bench run`
    will. Raises `UserError` where it does not give just those runs.
    """
    wanted = cells(base.cells, keywords, "test", table)
    summary = f"{wanted[0].method}, tuned in {table['trials']} trials on a part of the train images"
    return _written(base, wanted, {spec.id: _with_share(table, spec) for spec in wanted}, summary, data)


def with_rates(base: Plan, chosen: Sequence[tuple[Search, float]], data: Path) -> str:
    """A plan, in TOML, of the runs of `base` with the rates that were found for its rows. Raises `UserError`
    as `text` does.
    """
    wanted, tables = [], {}
    for search, rate in chosen:
        for spec in search.cells:
            seeds = len({trial.train_seed for trial in search.runs})
            table = {"rates": sorted(search.trials), "seeds": seeds, "holdout": spec.protocol.holdout}
            made = replace(spec, lr_scale=rate, tuning=words(table, base.name))
            wanted.append(made)
            tables[made.id] = table
    return _written(base, wanted, tables, f"{base.name}, with a learning rate for each row", data)


def _written(
    base: Plan, wanted: Sequence[RunSpec], tables: Mapping[str, Mapping[str, Any]], summary: str, data: Path
) -> str:
    """A plan of the runs `wanted`; tables: {id of a run: how it was searched}."""
    lines = [f"summary = {_toml(summary)}"]
    for grid, spec in _grids(wanted, base):
        lines += ["", "[[grid]]", *_lines(grid), "", f"[grid.tuning.{spec.method}]", *_lines(tables[spec.id])]
        if spec.changed:
            own = {name: spec.hyperparameters[name] for name in spec.changed}
            lines += ["", f"[grid.hparams.{spec.method}]", *_lines(own)]
    for contrast in wanted[0].contrasts:
        if all(any(select.matches(spec, contrast[side]) for spec in wanted) for side in select.SIDES):
            lines += ["", "[[contrast]]", *_lines(contrast)]
    written = "\n".join(lines) + "\n"
    values = {"name": base.name, "include": [], "exclude": []} | tomllib.loads(written)
    if {spec.id for spec in plans.expand(values, {}, [], data).cells} != {spec.id for spec in wanted}:
        raise UserError(
            f"the runs of plan {base.name} cannot be written as a plan of their own; tune on another plan."
        )
    return written


def _with_share(table: Mapping[str, Any], spec: RunSpec) -> dict[str, Any]:
    return dict(table) | {"holdout": spec.protocol.holdout}


def _grids(wanted: Sequence[RunSpec], base: Plan) -> Iterable[tuple[dict[str, Any], RunSpec]]:
    """(the keys of a grid, one of its runs) for each kind of run, which may need several for its seeds."""
    kinds: dict[tuple[str, ...], list[RunSpec]] = {}
    for spec in wanted:
        kind = (
            repr(spec.protocol),
            spec.method,
            spec.variant,
            spec.labels,
            spec.balance,
            str(spec.lr_scale),
            repr(spec.hyperparameters),
        )
        kinds.setdefault(kind, []).append(spec)
    for specs in kinds.values():
        spec = specs[0]
        named = base.protocols[spec.protocol.name]
        grid: dict[str, Any] = {
            "protocol": named,
            "dataset": spec.variant,
            "labels": spec.labels,
            "method": spec.method,
        }
        if spec.balance != EQUAL:
            grid["balance"] = spec.balance
        if spec.lr_scale != 1:
            grid["lr_scale"] = spec.lr_scale
        own = {"weights": str(base.weights.get(spec.protocol.weights, spec.protocol.weights))}
        plain = protocols.load(named)
        for key in protocols.SETTABLE:
            value = own.get(key, getattr(spec.protocol, key))
            if value != getattr(plain, key):
                grid[key] = value
        for seeds in _seeds(list(dict.fromkeys((s.label_seed, s.train_seed) for s in specs)), spec.labels):
            yield grid | seeds, spec


def _seeds(pairs: Sequence[Pair], labels: str) -> list[dict[str, list[int]]]:
    """The seeds of one grid, or of several, that make these pairs of label and train seed."""
    if labels.startswith("published:") or all(label == train for label, train in pairs):
        return [{"seeds": [train for _, train in pairs]}]
    trains: dict[int, list[int]] = {}
    for label, train in pairs:
        trains.setdefault(label, []).append(train)
    return [{"label_seeds": [label], "train_seeds": seeds} for label, seeds in trains.items()]


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in values.items()]


def _toml(value: Any) -> str:
    """A plain value as TOML has it; none as plans write it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps("none" if value is None else value, ensure_ascii=False)
