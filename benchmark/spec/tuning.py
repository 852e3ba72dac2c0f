"""Search of a method's hyperparameters, or of every row's learning rate, on held-out train images alone.

Of hyperparameters, the first trial is the defaults, each further one draws all of them anew, by a
counter-based stream, and no two are equal. Of learning rates, rows that differ in hyperparameters of one
method share the rate of the first; rows that differ in what the protocol holds (`budget`) are searched apart.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import UserError
from benchmark.files import parse
from benchmark.spec import plan as plans
from benchmark.spec import registry
from benchmark.spec.grid import searched
from benchmark.spec.plan import Plan
from benchmark.spec.run import RunSpec
from benchmark.typed import check_keys

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of a number's default
Space = dict[str, tuple[Any, ...]]
Record = Mapping[str, Any]


class Trial(NamedTuple):
    """label: what is tried. runs: what scores it. tuned: the plan's runs with it."""

    label: str
    runs: tuple[RunSpec, ...]
    tuned: tuple[RunSpec, ...]


class Search(NamedTuple):
    """One search. reference: the number of the trial that the others are compared with.

    table: what their plan says of the search, beside the share of the train images.
    """

    name: str
    trials: list[Trial]
    table: dict[str, Any]
    reference: int = 0

    @property
    def runs(self) -> list[RunSpec]:
        """Return the runs of all trials."""
        return [spec for trial in self.trials for spec in trial.runs]

    def scores(self, records: Mapping[str, Any]) -> list[float | None]:
        """Return each trial's change against the reference in percent, None without a record of each run."""
        found: list[list[Any]] = [[records.get(spec.id) for spec in trial.runs] for trial in self.trials]
        first = found[self.reference]
        return [None if None in first or None in each else score(each, first) for each in found]


def space(method: str, base: Mapping[str, Any], given: Sequence[str]) -> Space:
    """Return {hyperparameter: values} to search.

    base: the value of every hyperparameter in the plan. given: texts like "weight=[0.1, 1]", which replace
    all else. Without them: what the method's class lists as `search`, else every hyperparameter whose type is
    a number with a fraction, at `FACTORS` of its value. Raises `UserError` for unknown names, for values that
    are not of their type, and where nothing is left to search.
    """
    defaults, hints = registry.hyperparameters(method)
    if given:
        return dict(_given(method, text, defaults) for text in given)
    if listed := registry.method(method).search:
        check_keys(listed, defaults, f"hyperparameter in search of the class of {method}")
        return {name: _values(method, name, values) for name, values in listed.items()}
    numbers = [k for k, hint in hints.items() if float in (typing.get_args(hint) or (hint,)) and base[k]]
    if not numbers:
        raise UserError(
            f"{method} has nothing to search: no hyperparameter of it has a fraction; give --space."
        )
    return {name: tuple(base[name] * factor for factor in FACTORS) for name in numbers}


def _given(method: str, text: str, defaults: Iterable[str]) -> tuple[str, tuple[Any, ...]]:
    name, _, values = text.partition("=")
    check_keys([name], defaults, f"hyperparameter of {method} in --space")
    try:
        listed = parse(f"v = {values}", tomllib.loads)["v"]
    except ValueError:
        listed = None
    found = _values(method, name, listed) if isinstance(listed, list) else ()
    if len(found) < 2:
        raise UserError(
            f"--space {text!r} is not a hyperparameter with two or more values, such as {name}=[0.1, 1]."
        )
    return name, found


def _values(method: str, name: str, listed: Sequence[Any]) -> tuple[Any, ...]:
    """Return each value once, as its hyperparameter's type."""
    return tuple(dict.fromkeys(registry.resolve_hyperparameters(method, {name: v})[0][name] for v in listed))


def settings(method: str, values: Space, base: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the hyperparameters of `count` trials, or of all that there are.

    The first has none, which is the plan's own values `base`; then come combinations of `values` other than
    those and than one another. More trials begin with the fewer.
    """
    from benchmark import streams

    names = sorted(values)
    own = tuple(base[name] for name in names)
    inside = all(value in values[name] for name, value in zip(names, own, strict=True))
    there_are = math.prod(map(len, values.values())) + (not inside)
    found: dict[tuple[Any, ...], dict[str, Any]] = {own: {}}
    number = 0
    while len(found) < min(count, there_are):
        number += 1
        chosen = {}
        for position, name in enumerate(names):
            share = float(streams.uniform(0, f"tune {method}", number, position))
            chosen[name] = values[name][int(share * len(values[name]))]
        found.setdefault(tuple(chosen.values()), chosen)
    return list(found.values())


def hyperparameter_search(base: Plan, given: Sequence[str], asked: int) -> Search:
    """Return the search of a plan of one method. given: as of `space`; asked: how many trials.

    Raises `UserError` as `space` does, and where the plan itself gives a hyperparameter several values.
    """
    method, own = base.cells[0].method, base.cells[0].hyperparameters
    if asked < 2:
        raise UserError(f"--trials {asked} leaves nothing to compare; give 2 or more.")
    values = space(method, own, given)
    for name in values:
        if several := {repr(spec.hyperparameters[name]) for spec in base.cells} - {repr(own[name])}:
            raise UserError(
                f"plan {base.name} gives {name} of {method} several values ({own[name]!r}, "
                f"{', '.join(sorted(several))}), which are no one trial; give one with --set."
            )
    chosen = settings(method, values, own, asked)
    table = {"trials": asked} | ({"distinct": len(chosen)} if len(chosen) < asked else {})
    trials = []
    for number, keywords in enumerate(chosen):
        words = " ".join(f"{name}={value}" for name, value in sorted(keywords.items()))
        held_out, judged = (
            [_with(s, keywords, judge=judge) for s in base.cells] for judge in ("holdout", "test")
        )
        tuned = (replace(s, tuning=searched(_whole(table, s), base.name)) for s in judged)
        runs = tuple({spec.id: spec for spec in held_out}.values())
        trials.append(Trial(f"{number}: {words or 'defaults'}", runs, tuple(tuned)))
    return Search(method, trials, table)


def _with(spec: RunSpec, keywords: Mapping[str, Any], judge: Any) -> RunSpec:
    own = {name: spec.hyperparameters[name] for name in spec.changed} | dict(keywords)
    values, changed = registry.resolve_hyperparameters(spec.method, own)
    protocol = replace(spec.protocol, judge=judge)
    return replace(spec, protocol=protocol, hyperparameters=values, changed=changed)


def _whole(table: Mapping[str, Any], spec: RunSpec) -> dict[str, Any]:
    return dict(table) | {"holdout": spec.protocol.holdout}


def rate_searches(
    base: Plan,
    rates: Sequence[float],
    seeds: Sequence[int],
    once: Sequence[str] = (),
    epochs: float | None = None,
) -> list[Search]:
    """Return the searches that the rows of a plan need, in its order.

    once: the rows whose runs are long, tried on the first seed alone. epochs: of trials, for all rows, where
    whole runs are too long. Raises `UserError` for an unknown row, and where a seed of the trials is on the
    board.
    """
    own = {spec.label_seed for spec in base.cells} | {spec.train_seed for spec in base.cells}
    if taken := sorted(own & set(seeds)):
        raise UserError(f"seed {taken[0]} is one of the plan's; give trials others with --seeds.")
    groups: dict[str, list[RunSpec]] = {}
    for spec in base.cells:
        key = repr((spec.protocol, spec.variant, spec.labels, spec.balance, spec.method))
        groups.setdefault(key, []).append(spec)
    found = []
    for specs in groups.values():
        first = specs[0]
        name = first.method + ("" if first.protocol.budget == "epochs" else f" ({first.protocol.budget})")
        here = list(seeds[:1] if name in once else seeds)
        parts = dict.fromkeys(spec.tasks for spec in specs)
        table = {"rates": sorted(set(rates)), "seeds": len(here)} | ({"epochs": epochs} if epochs else {})
        trials = []
        for rate in dict.fromkeys(rates):
            runs = tuple(_trial(first, tasks, rate, seed, epochs) for seed in here for tasks in parts)
            how = (searched(_whole(table, s), base.name) for s in specs)
            tuned = (replace(s, lr_scale=rate, tuning=text) for s, text in zip(specs, how, strict=True))
            trials.append(Trial(f"{rate:g}", runs, tuple(tuned)))
        found.append(Search(name, trials, table, [*dict.fromkeys(rates)].index(1.0) if 1.0 in rates else 0))
    check_keys(once, [search.name for search in found], "row in --once")
    return found


def _trial(spec: RunSpec, tasks: tuple[str, ...], rate: float, seed: int, epochs: float | None) -> RunSpec:
    held_out = replace(spec.protocol, judge="holdout", evaluations=0, epochs=epochs or spec.protocol.epochs)
    label_seed = 0 if spec.labels.startswith("published:") else seed
    own = replace(spec, protocol=held_out, tasks=tasks, label_seed=label_seed, train_seed=seed)
    return replace(own, lr_scale=rate, tuning="", contrasts=())


def score(records: Sequence[Record], first: Sequence[Record]) -> float:
    """Return the mean over tasks of the relative change of mean metrics against the first's, in percent.

    Raises `UserError` where a metric is undefined.
    """
    changes = []
    for task, info in {name: info for record in first for name, info in record["tasks"].items()}.items():
        here, there = (_mean(found, task, info["metric"]) for found in (records, first))
        sign = 1 if info["higher_is_better"] else -1
        changes.append(100 * sign * (here - there) / there if there else 0.0)
    return sum(changes) / len(changes)


def _mean(records: Sequence[Record], task: str, metric: str) -> float:
    values = [record["metrics"][task][metric] for record in records if task in record["metrics"]]
    if any(value is None for value in values):
        raise UserError(f"{metric} of {task} is undefined in a trial; the slice may hold no label of it.")
    return float(sum(values) / len(values))


def written(base: Plan, chosen: Sequence[tuple[Search, Trial]], summary: str, data: Path) -> str:
    """Return a plan, in TOML, of the runs of `base` with what each search chose."""
    runs = [(spec, search.table) for search, trial in chosen for spec in trial.tuned]
    tables = {spec.id: _whole(table, spec) for spec, table in runs}
    return plans.text(base, [spec for spec, _ in runs], tables, summary, data)


def key(base: Plan, runs: Iterable[RunSpec]) -> str:
    """Return what tells a search from others on plans of this name."""
    text = json.dumps([sorted(spec.id for spec in base.cells), sorted(spec.id for spec in runs)])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def of_rates(text: str) -> bool:
    """Return whether a run's `tuning` says that its learning rate was searched."""
    return text.startswith("learning rates")


def alike(first: str, second: str) -> bool:
    """Return whether two searches were the same: as many trials asked for, or the same rates, on one slice.

    A small space may hold fewer settings, and a long row fewer seeds.
    """
    short = [re.sub(r" on \d+ seeds?,", "", text) for text in (first, second)]
    short = [re.sub(r"^\d+ of (\d+ trials), all there are,", r"\1", text) for text in short]
    return short[0] == short[1]
