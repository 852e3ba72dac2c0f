"""Search of a method's own keywords: which values are tried, and what a trial scores. It looks at the held-out slice alone.

Every method gets the same: the first trial is its defaults, each further one draws all its keywords anew from a grid around
them, by a counter-based stream, so that N trials of two methods are N draws of the same kind.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark import registry, streams
from benchmark.errors import UserError, unknown

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of a number's default
Space = dict[str, tuple[Any, ...]]


def space(method: str, base: Mapping[str, Any], given: Sequence[str]) -> Space:
    """{keyword: values} to search. base: the value of every keyword in the plan. given: texts like "weight=[0.1, 1]", which
    replace the grid.

    Without them: what the method's class lists as `search`, else every keyword whose type is a number with a fraction, at
    `FACTORS` of its value. Raises `UserError` for unknown keywords, and where nothing is left to search.
    """
    defaults, hints = registry.hyperparameters(method)
    found: Space = {}
    for text in given:
        name, sign, values = text.partition("=")
        if name not in defaults:
            raise unknown(f"keyword of {method} in --space", name, defaults)
        try:
            listed = tomllib.loads(f"v = {values}")["v"] if sign else None
        except tomllib.TOMLDecodeError:
            listed = None
        if not isinstance(listed, list) or len(listed) < 2:
            raise UserError(
                f"--space {text!r} is not a keyword with two or more values; write for example --space {name}=[0.1, 1]."
            )
        found[name] = tuple(listed)
    if found:
        return found
    listed = getattr(registry.method(method), "search", None)
    if listed:
        return {name: tuple(values) for name, values in listed.items()}
    numbers = {name: base[name] for name in defaults if float in _kinds(hints[name]) and base[name]}
    found = {name: tuple(value * factor for factor in FACTORS) for name, value in numbers.items()}
    if not found:
        raise UserError(f"{method} has no keyword that is a number with a fraction; name what to search with --space.")
    return found


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) or (hint,)


def trial(method: str, values: Space, number: int) -> dict[str, Any]:
    """The keywords of a trial, counted from 0, whose keywords are the defaults."""
    if number == 0:
        return {}
    chosen = {}
    for position, (name, choices) in enumerate(sorted(values.items())):
        share = float(streams.uniform(0, f"tune {method}", number, position))
        chosen[name] = choices[int(share * len(choices))]
    return chosen


def score(records: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]]) -> float:
    """Mean over tasks of the relative change of a trial's mean metrics against those of the first trial, in percent."""
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
        raise UserError(f"{metric} of {task} is undefined in a trial; the held-out slice may hold no label of it.")
    return float(sum(values) / len(values))
