"""What is measured: the methods of a plan, each under the plan's protocol or under one that a study makes of
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.execute.attempt import Data
from benchmark.execute.progress import row_name
from benchmark.spec import plan, registry
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import EQUAL
from datasets.tasks import Task

EPOCHS_STEPS = 200  # of the runs that are measured; their batches come again after so many
SAMPLES = 64  # made up for training; every setting of labels finds some for each task in so many
NO_RATE = (
    1e-9  # learning rate: noise teaches nothing, and weights that grow would end in numbers of other speed
)


@dataclass(frozen=True)
class Subject:
    """A method with its keywords. specs: of its networks, one for each task for a one-task method, else
    one.
    """

    name: str
    specs: tuple[RunSpec, ...]

    @property
    def protocol(self) -> Protocol:
        return self.specs[0].protocol

    @property
    def method(self) -> str:
        return self.specs[0].method

    def under(self, **changes: Any) -> Subject:
        """The same under other values of the protocol."""
        protocol, first = replace(self.protocol, **changes), self.specs[0]
        parts = (
            [(task,) for task in protocol.tasks]
            if registry.method(first.method).one_task
            else [protocol.tasks]
        )
        balanced = first.balance if len(protocol.tasks) > 1 else EQUAL
        return Subject(
            self.name, tuple(replace(first, protocol=protocol, tasks=p, balance=balanced) for p in parts)
        )


def _measurable(spec: RunSpec) -> RunSpec:
    """A run of the same cost on made-up samples: no weights to load, no frozen labels, no learning."""
    p = spec.protocol
    made = replace(
        p, weights="none", budget="steps", epochs=EPOCHS_STEPS * p.batch / samples(p), train_images=None,
        lr=NO_RATE,
        loss_weights=dict(p.loss_weights), evaluations=0, judge="test",
    )  # fmt: skip
    return replace(spec, protocol=made, labels=spec.labels.removeprefix("published:"))


def samples(protocol: Protocol) -> int:
    """How many training samples are made up for a protocol."""
    return max(SAMPLES, 2 * protocol.batch)


@dataclass
class Ground:
    """What a measurement stands on. subjects: in the plan's order. baseline: the one that others are compared
    with, or None.
    tasks: all of the data set. steps: calls that are timed. data, published: folders. arguments: of the plan,
    for other processes. notes: sentences about what could not be measured, which studies add to."""

    subjects: tuple[Subject, ...]
    baseline: Subject | None
    tasks: dict[str, Task]
    device: str
    steps: int
    data: Path
    published: Path
    arguments: tuple[str, ...] = ()

    @property
    def protocol(self) -> Protocol:
        return self.subjects[0].protocol


def ground(
    methods: Sequence[str],
    source: str,
    settings: Sequence[str],
    data: Path,
    published: Path,
    device: str,
    steps: int,
) -> Ground:
    """The ground that a command line means. Raises `UserError` for a plan of several protocols or data sets,
    and for what plans raise it for. data are looked at for the tasks alone; they need not be there."""
    for name in methods:
        registry.method(name)
    cells = plan.make([source, *methods], list(settings), data).cells
    protocol, variant = cells[0].protocol, cells[0].variant
    if any((c.protocol, c.variant) != (protocol, variant) for c in cells):
        raise UserError(
            f"plan {source} has several protocols or data sets here, and speeds differ among them; name a "
            f"plan of one, or "
            f"choose with --set."
        )
    rows: dict[str, RunSpec] = {}
    for cell in cells:
        rows.setdefault(row_name(cell), cell)
    tasks = registry.open_dataset(variant, data).tasks | Data(data).tasks(cells[0])
    alone = [spec.method for spec in rows.values()]
    subjects = tuple(
        _subject(s.method if alone.count(s.method) == 1 else name, s) for name, s in rows.items()
    )
    found = [s for s in subjects if s.method == protocol.baseline]
    if not found and protocol.baseline:
        others = list(dict.fromkeys(c.method for c in cells))
        more = plan.make([source, *others, protocol.baseline], list(settings), data).cells
        found = [_subject(c.method, c) for c in more if c.method == protocol.baseline]
    arguments = [part for setting in settings for part in ("--set", setting)]
    return Ground(
        subjects,
        found[0] if found else None,
        tasks,
        device,
        steps,
        data,
        published,
        (source, subjects[0].method, *arguments),
    )


def _subject(name: str, spec: RunSpec) -> Subject:
    return Subject(name, (_measurable(spec),)).under()
