"""Search of a method's own keywords: which values are tried, and what a trial scores. It looks at the
held-out slice alone.

Every method gets the same: the first trial is its defaults, each further one draws all its keywords anew, by
a counter-based stream, and no two are equal, so that N trials of two methods are N settings of each. A space
with fewer is tried whole.
"""

from __future__ import annotations

import math
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark import streams
from benchmark.errors import UserError, unknown
from benchmark.spec import registry

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of a number's default
Space = dict[str, tuple[Any, ...]]


def space(method: str, base: Mapping[str, Any], given: Sequence[str]) -> Space:
    """{keyword: values} to search. base: the value of every keyword in the plan. given: texts like
    "weight=[0.1, 1]", which replace all else.

    Without them: what the method's class lists as `search`, else every keyword whose type is a number with a
    fraction, at
    `FACTORS` of its value. Raises `UserError` for unknown keywords, for values that are not of their type,
    and where nothing is left to search.
    """
    defaults, hints = registry.hyperparameters(method)
    if given:
        return dict(_given(method, text, defaults) for text in given)
    listed = registry.method(method).search
    if listed:
        for name in listed:
            if name not in defaults:
                raise unknown(f"keyword in search of the class of {method}", name, defaults)
        return {name: _values(method, name, values) for name, values in listed.items()}
    numbers = {name: base[name] for name in defaults if float in _kinds(hints[name]) and base[name]}
    if not numbers:
        raise UserError(
            f"{method} has nothing to search: no keyword of it is a number with a fraction; name what to "
            f"search with --space."
        )
    return {name: tuple(value * factor for factor in FACTORS) for name, value in numbers.items()}


def _given(method: str, text: str, defaults: Iterable[str]) -> tuple[str, tuple[Any, ...]]:
    name, sign, values = text.partition("=")
    if name not in defaults:
        raise unknown(f"keyword of {method} in --space", name, defaults)
    try:
        listed = tomllib.loads(f"v = {values}")["v"] if sign else None
    except tomllib.TOMLDecodeError:
        listed = None
    found = _values(method, name, listed) if isinstance(listed, list) else ()
    if len(found) < 2:
        raise UserError(
            f"--space {text!r} is not a keyword with two or more values; write for example --space "
            f"{name}=[0.1, 1]."
        )
    return name, found


def _values(method: str, name: str, listed: Sequence[Any]) -> tuple[Any, ...]:
    """Each value once, as its keyword's type."""
    return tuple(
        dict.fromkeys(registry.resolve_hyperparameters(method, {name: value})[0][name] for value in listed)
    )


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) or (hint,)


def trials(method: str, values: Space, base: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The keywords of `count` trials, or of all that there are: first none, which is the plan's own values
    `base`, then combinations of `values` other than those and than one another. More trials begin with the
    fewer."""
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


def score(records: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]]) -> float:
    """Mean over tasks of the relative change of a trial's mean metrics against those of the first trial, in
    percent.
    """
    changes = []
    for task, info in _tasks(first).items():
        here, there = (_mean(found, task, info["metric"]) for found in (records, first))
        sign = 1 if info["higher_is_better"] else -1
        changes.append(100 * sign * (here - there) / there if there else 0.0)
    return sum(changes) / len(changes)


def _tasks(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: info for record in records for name, info in record["tasks"].items()}


def _mean(records: Sequence[Mapping[str, Any]], task: str, metric: str) -> float:
    values = [record["metrics"][task][metric] for record in records if task in record["metrics"]]
    if any(value is None for value in values):
        raise UserError(
            f"{metric} of {task} is undefined in a trial; the held-out slice may hold no label of it."
        )
    return float(sum(values) / len(values))
