"""The re-run floor: what making the same runs a second time changes, the noise of machine and kernels alone.

Both runs of a seed share every stream of random numbers, so their difference d has twice the variance of
one run about what its seeds fix: sd = sqrt(mean d^2 / 2). In points of delta m, d = 100 / T sum_t s_t (M_t -
M'_t) / mean S_t with the reference S held at its mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.report.records import Record
from benchmark.report.rows import Group, Row
from benchmark.runs.schema import digest_of

_INPUT = {"labels": "labels", "data": "training data", "test_data": "test data"}  # hashes in a record


@dataclass(frozen=True)
class Rerun:
    """The floor of a row over n seeds that were run twice.

    sd: in points of delta m, of one run about what its seeds fix. devices: `A, then B` where they changed.
    """

    sd: float
    n: int
    devices: tuple[str, ...] = ()


def pooled(found: Iterable[Rerun | None]) -> Rerun | None:
    """Return the floor of several rows together; None without any."""
    there = [one for one in found if one]
    n = sum(one.n for one in there)
    return Rerun(float(np.sqrt(sum(one.n * one.sd**2 for one in there) / n)), n) if n else None


def not_another(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return why the second record, of the same id, is no second run; "" where it is one.

    Time and memory are in a record: two runs that agree in them too are one.
    """
    contents = ({k: v for k, v in content.items() if k != "files"} for content in (first, second))
    if len({digest_of(content) for content in contents}) == 1:
        return "is the very same run, its time included"
    given = [word for key, word in _INPUT.items() if first["hashes"].get(key) != second["hashes"].get(key)]
    return f"was given other {' and '.join(given)}" if given else ""


def floor(g: Group, row: Row, reference: Row | None, again: Mapping[str, Record]) -> Rerun | None:
    """Return the floor of a row over the seeds of which each run was made again, None without any.

    again: {id: record}. Raises `UserError` where one of these is no second run.
    """
    twice = []
    for seed in row.seeds.values():
        if not all(first.id in again for first in seed.records):
            continue
        for first in seed.records:
            second = again[first.id]
            if reason := not_another(first.content, second.content):
                both = f"{second.path} is no second run of {first.path}"
                raise UserError(f"{both}: it {reason}; remove it, or make the run again elsewhere.")
        twice.append((seed, replace(seed, records=tuple(again[first.id] for first in seed.records))))
    pairs = g.shared(reference) if reference else []
    if reference is None or not twice or not pairs or not (base := g.scores(reference, pairs).mean(0)).all():
        return None
    first_runs, second_runs = (
        np.array([[seed.metrics[t.name][t.metric] for t in g.tasks] for seed in seeds])
        for seeds in zip(*twice, strict=True)
    )
    points = (100 * g.signs * (first_runs - second_runs) / base).mean(1)
    places = {(a.cost["device"], b.cost["device"]) for a, b in twice}
    changed = tuple(sorted(f"{a}, then {b}" for a, b in places if a != b))
    return Rerun(float(np.sqrt(np.mean(points**2) / 2)), len(twice), changed)
