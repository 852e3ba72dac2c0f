"""The re-run floor: what making the same runs a second time changes, which is the noise of machine and
kernels alone.

Both runs of a seed share every stream of random numbers, so their difference d has twice the variance of one
run about what
its seeds fix: sd = sqrt(mean d^2 / 2). In points of delta m, d = 100 / T sum_t s_t (M_t - M'_t) / mean S_t
with the reference S held at its mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError
from benchmark.report.records import Collection, Record
from benchmark.report.rows import Group, Row, Seed
from benchmark.runs import digest

if TYPE_CHECKING:
    from benchmark.report.board import Board

_INPUT = {
    "labels": "labels",
    "data": "training data",
    "test_data": "test data",
}  # hashes of what a run was given


@dataclass(frozen=True)
class Rerun:
    """sd: in points of delta m, of one run about what its seeds fix; 0 where both runs of each seed agree to
    the last digit.
    n: seeds that were run twice. tasks: {task: the same of its primary metric}. devices: `A, then B` where
    they changed."""

    sd: float
    n: int
    tasks: dict[str, float] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


def published(records: Path) -> Path | None:
    """The folder of re-runs beside a folder of published records, where there is one."""
    folder = records.with_name("reruns")
    return folder if records.name == "records" and folder.is_dir() else None


def attached(boards: Sequence[Board], again: Collection) -> list[Board]:
    """The boards, with the floor of rows of which `again` has a whole seed. Raises `UserError` where one is
    no other run.
    """
    by_id = {record.id: record for record in again.records}
    found = []
    for board in boards:
        floors = {
            e.label: _floor(board.group, e.row, board.reference.row, by_id)
            for e in board.entries
            if board.reference
        }
        found.append(replace(board, reruns={label: floor for label, floor in floors.items() if floor}))
    return found


def pooled(found: Iterable[Rerun | None]) -> Rerun | None:
    """The floor of several rows together; None without any."""
    there = [one for one in found if one]
    n = sum(one.n for one in there)
    return Rerun(float(np.sqrt(sum(one.n * one.sd**2 for one in there) / n)), n) if n else None


def not_another(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Why the second record, of the same id, is no second run of the first; "" where it is one."""
    # Time and memory are in a record: two runs that agree in them too are one.
    one, other = (
        {key: value for key, value in content.items() if key != digest.FILES} for content in (first, second)
    )
    if digest.of(one) == digest.of(other):
        return "is the very same run, its time included"
    given = [word for key, word in _INPUT.items() if first["hashes"].get(key) != second["hashes"].get(key)]
    return f"was given other {' and '.join(given)}" if given else ""


def _floor(g: Group, row: Row, reference: Row, again: Mapping[str, Record]) -> Rerun | None:
    twice = [(seed, twin) for seed in row.seeds.values() if (twin := _twin(seed, again))]
    if not twice or not reference.seeds:
        return None
    base = g.scores(reference, reference.seeds).mean(0)
    if (base == 0).any():
        return None
    d = np.array(
        [[_score(a, t.name, t.metric) - _score(b, t.name, t.metric) for t in g.tasks] for a, b in twice]
    )
    points = (100 * np.array([t.sign for t in g.tasks]) * d / base).mean(1)
    sd = np.sqrt((d**2).mean(0) / 2)
    devices = sorted(
        {f"{a.cost.device}, then {b.cost.device}" for a, b in twice if a.cost.device != b.cost.device}
    )
    tasks = {t.name: float(value) for t, value in zip(g.tasks, sd, strict=True)}
    return Rerun(float(np.sqrt(np.mean(points**2) / 2)), len(twice), tasks, tuple(devices))


def _twin(seed: Seed, again: Mapping[str, Record]) -> Seed | None:
    """The second run of a seed; None unless each of its runs was made again."""
    twins = []
    for first in seed.records:
        second = again.get(first.id)
        if second is None:
            return None
        if reason := not_another(first.content, second.content):
            raise UserError(
                f"{second.path} is no second run of {first.path}: it {reason}; remove it, or make the run "
                f"again elsewhere."
            )
        twins.append(second)
    return Seed(seed.label_seed, seed.train_seed, tuple(twins))


def _score(seed: Seed, task: str, metric: str) -> float:
    value = seed.value(task, metric)
    assert value is not None  # records without a primary metric are failures
    return value
