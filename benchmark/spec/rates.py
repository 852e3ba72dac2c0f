"""Search of learning rates: every row of a plan is tried at the same rates, on held-out train images and on
seeds of its own.

Rows that differ in keywords of one method share the rate of the first, as an ablation must not differ from
what it ablates in anything else; rows that differ in what the protocol holds (`budget`) are searched apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.errors import UserError
from benchmark.spec import tune
from benchmark.spec.run import RunSpec


@dataclass(frozen=True)
class Search:
    """One row's search. cells: the plan's runs that its rate is for; trials: {rate: the runs that score
    it}.
    """

    name: str
    cells: tuple[RunSpec, ...]
    trials: dict[float, tuple[RunSpec, ...]]

    @property
    def runs(self) -> list[RunSpec]:
        return [spec for specs in self.trials.values() for spec in specs]


def searches(cells: Sequence[RunSpec], rates: Sequence[float], seeds: Sequence[int]) -> list[Search]:
    """The searches that the rows of a plan need, in its order. Raises `UserError` where a seed of the trials
    is on the board.
    """
    if taken := sorted(
        {spec.label_seed for spec in cells} & set(seeds) | {spec.train_seed for spec in cells} & set(seeds)
    ):
        raise UserError(
            f"seed {taken[0]} is one of the plan's, and trials need seeds of their own; give others with "
            f"--seeds."
        )
    groups: dict[str, list[RunSpec]] = {}
    for spec in cells:
        groups.setdefault(
            repr((spec.protocol, spec.variant, spec.labels, spec.balance, spec.method)), []
        ).append(spec)
    found: list[Search] = []
    for specs in groups.values():
        first = specs[0]
        tasks = dict.fromkeys(spec.tasks for spec in specs)
        trials = {
            rate: tuple(_trial(first, parts, rate, seed) for seed in seeds for parts in tasks)
            for rate in dict.fromkeys(rates)
        }
        budget = "" if first.protocol.budget == "epochs" else f" ({first.protocol.budget})"
        found.append(Search(f"{first.method}{budget}", tuple(specs), trials))
    return found


def _trial(spec: RunSpec, tasks: tuple[str, ...], rate: float, seed: int) -> RunSpec:
    label_seed = 0 if spec.labels.startswith("published:") else seed
    held_out = replace(spec.protocol, judge="holdout", evaluations=0)
    return replace(
        spec,
        protocol=held_out,
        tasks=tasks,
        label_seed=label_seed,
        train_seed=seed,
        lr_scale=rate,
        tuning="",
        contrasts=(),
    )


def shortened(search: Search, seed: int) -> Search:
    """The same search on one of its seeds, for a row whose runs are long."""
    return replace(
        search,
        trials={
            rate: tuple(s for s in specs if s.train_seed == seed) for rate, specs in search.trials.items()
        },
    )


def scores(search: Search, records: Mapping[str, dict[str, Any] | None]) -> dict[float, float | None]:
    """{rate: mean over tasks of the change of its mean metric against rate 1 (else the first), in percent},
    None for a rate of which a run failed; all None where that of comparison failed."""
    found = {rate: [records.get(spec.id) for spec in specs] for rate, specs in search.trials.items()}
    first = found.get(1.0, next(iter(found.values())))
    if None in first:
        return dict.fromkeys(found)
    basis = [record for record in first if record is not None]
    return {
        rate: None if None in each else tune.score([record for record in each if record is not None], basis)
        for rate, each in found.items()
    }


def best(scored: Mapping[float, float | None]) -> float | None:
    """The rate of the highest score; of equal ones the lowest."""
    known = {rate: score for rate, score in scored.items() if score is not None}
    return min(known, key=lambda rate: (-known[rate], rate)) if known else None
