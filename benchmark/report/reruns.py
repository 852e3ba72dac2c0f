"""The re-run floor: what making the same runs a second time changes, the noise of machine and kernels alone.

Both runs of a seed share every stream of random numbers, so their difference d has twice the variance of
one run about what its seeds fix: sd = sqrt(mean d^2 / 2). In points of delta m, d = 100 / T sum_t s_t (M_t -
M'_t) / mean S_t with the reference S held at its mean.
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
from benchmark.report.statistics import Array
from benchmark.runs import digest

if TYPE_CHECKING:
    from benchmark.report.board import Board

_INPUT = {"labels": "labels", "data": "training data", "test_data": "test data"}  # hashes in a record


@dataclass(frozen=True)
class Rerun:
    """The floor of a row over n seeds that were run twice.

    sd: in points of delta m, of one run about what its seeds fix. tasks: {task: the same of its primary
    metric}. devices: `A, then B` where they changed.
    """

    sd: float
    n: int
    tasks: dict[str, float] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


def published(records: Path) -> Path | None:
    """Return the folder of re-runs beside a folder of published records, where there is one."""
    folder = records.absolute().parent / "reruns"
    return folder if records.name == "records" and folder.is_dir() else None


def attached(boards: Sequence[Board], again: Collection) -> list[Board]:
    """Return the boards with the floors of rows of which `again` has a whole seed.

    Raises `UserError` where a run of `again` is no second run.
    """
    by_id = {record.id: record for record in again.records}
    found = []
    for board in boards:
        reference = board.reference.row if board.reference else None
        floors = {e.label: _floor(board.group, e.row, reference, by_id) for e in board.entries}
        found.append(replace(board, reruns={label: floor for label, floor in floors.items() if floor}))
    return found


def pooled(found: Iterable[Rerun | None]) -> Rerun | None:
    """Return the floor of several rows together; None without any."""
    there = [one for one in found if one]
    n = sum(one.n for one in there)
    return Rerun(float(np.sqrt(sum(one.n * one.sd**2 for one in there) / n)), n) if n else None


def not_another(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return why the second record, of the same id, is no second run; "" where it is one.

    Time and memory are in a record: two runs that agree in them too are one.
    """
    contents = ({k: v for k, v in content.items() if k != digest.FILES} for content in (first, second))
    if len({digest.of(content) for content in contents}) == 1:
        return "is the very same run, its time included"
    given = [word for key, word in _INPUT.items() if first["hashes"].get(key) != second["hashes"].get(key)]
    return f"was given other {' and '.join(given)}" if given else ""


def _floor(g: Group, row: Row, reference: Row | None, again: Mapping[str, Record]) -> Rerun | None:
    twice = [(seed, twin) for seed in row.seeds.values() if (twin := _twin(seed, again))]
    pairs = g.shared(reference) if reference else []
    if reference is None or not twice or not pairs or not (base := g.scores(reference, pairs).mean(0)).all():
        return None

    def scores(seed: Seed) -> Array:
        return np.array([seed.value(t.name, t.metric) for t in g.tasks], dtype=float)

    d: Array = np.array([scores(a) - scores(b) for a, b in twice])
    sd, points = np.sqrt((d**2).mean(0) / 2), (100 * g.signs * d / base).mean(1)
    changed = {f"{a.cost.device}, then {b.cost.device}" for a, b in twice if a.cost.device != b.cost.device}
    tasks = {t.name: float(value) for t, value in zip(g.tasks, sd, strict=True)}
    return Rerun(float(np.sqrt(np.mean(points**2) / 2)), len(twice), tasks, tuple(sorted(changed)))


def _twin(seed: Seed, again: Mapping[str, Record]) -> Seed | None:
    """Return the second run of a seed; None unless each of its runs was made again."""
    twins = tuple(again[first.id] for first in seed.records if first.id in again)
    if len(twins) < len(seed.records):
        return None
    for first, second in zip(seed.records, twins, strict=True):
        if reason := not_another(first.content, second.content):
            raise UserError(
                f"{second.path} is no second run of {first.path}: it {reason}; remove it, or make the run "
                f"again elsewhere."
            )
    return Seed(seed.label_seed, seed.train_seed, twins)
