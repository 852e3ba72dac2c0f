"""What a record holds: the types and bounds that every reader may rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from benchmark.errors import UserError
from benchmark.runs import digest
from benchmark.spec.protocol import Count, CountOrZero, Name, NotNegative
from benchmark.spec.run import SCHEMA, RunSpec, run_id
from benchmark.typed import convert, shown

Values = dict[Name, float | None]  # JSON has no NaN: undefined is null


class Task(Struct):
    """A task of the run's data set."""

    metric: Name
    higher_is_better: bool
    unit: Name
    test_images: CountOrZero | None = None


class Point(Struct):
    """A point of the training curve."""

    epoch: NotNegative
    loss: Values
    test: Values = {}


class Cost(Struct):
    """What the run took."""

    device: Name
    params_train: CountOrZero | None = None
    params_infer: CountOrZero | None = None
    seconds: NotNegative | None = None
    gpu_hours: NotNegative | None = None
    peak_gib: NotNegative | None = None
    images_per_second: NotNegative | None = None


class Hashes(Struct):
    """Of the label mask and the images."""

    labels: Name
    data: Name


class Diagnostic(Struct):
    """A named array that a method shows of itself."""

    kind: Name
    axes: Annotated[list[Name], Meta(min_length=2, max_length=2)] | None = None


class RecordShape(Struct):
    """A record, as far as anything reads it."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]
    spec: RunSpec
    tasks: dict[Name, Task]
    one_task: bool
    metrics: dict[Name, Values]
    constant: dict[Name, Values]
    curve: Annotated[list[Point], Meta(max_length=100_000)]
    cost: Cost
    hashes: Hashes
    label_counts: dict[Name, CountOrZero]
    images: Count
    environment: dict[str, Any]
    diagnostics: dict[Name, Diagnostic]


def check_spec(spec: dict[str, Any], where: str, cure: str) -> None:
    """Raise `UserError` unless a spec has the types and bounds of one."""
    plain = {key: value for key, value in spec.items() if key not in ("schema", "id")}
    convert(plain, RunSpec, f"{where} is damaged", cure)


def check_record(record: dict[str, Any], path: Path, named: str, cure: str) -> None:
    """Raise `UserError` unless a record has its shape and is the run that its name says, unedited."""
    if record.get("schema") != SCHEMA:
        raise UserError(
            f"{path} has record schema {shown(record.get('schema'))}, not {SCHEMA}; read it with the version "
            f"of bench that wrote it, or {cure}."
        )
    made: RecordShape = convert(record, RecordShape, f"{path} is damaged", cure)
    missing = [f"spec.hyperparameters.{n}" for n in made.spec.changed if n not in made.spec.hyperparameters]
    missing += [
        f"{k}.{task}" for task in made.spec.tasks for k in ("tasks", "metrics") if task not in record[k]
    ]
    if missing:
        raise UserError(f"{path} is damaged: {missing[0]} is missing; {cure}.")
    derived = run_id(record["spec"])
    if derived != made.id:
        raise UserError(
            f"{path} says id {made.id}, but its content has id {derived}: it was edited or mixed up; {cure}."
        )
    if named != made.id:
        raise UserError(f"{path} holds the run {made.id}, not {named} as its name says; {cure}.")
    if digest.KEY in record and (found := digest.of(record)) != record[digest.KEY]:
        raise UserError(
            f"{path} was edited: its content has digest {found}, not {shown(record[digest.KEY])} as it says; "
            f"{cure}."
        )
