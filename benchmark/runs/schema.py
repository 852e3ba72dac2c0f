"""What a record holds: the types and bounds that every reader may rely on, and the digest that seals it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from benchmark.errors import UserError, shown
from benchmark.files import file_hash, read_json
from benchmark.spec.protocol import TYPES, Count, CountOrZero, NotNegative
from benchmark.spec.run import SCHEMA, RunSpec, run_id
from benchmark.typed import Name, Plain, Prose, Unit, convert

Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
Values = dict[Prose, Number | None]  # JSON has no NaN: undefined is null; names hold those of classes
Line = list[Number | None]
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{12}\Z")]


class OwnMetric(Struct):
    """A metric of a plug-in. code: the hash of the file that computed it."""

    kind: Name
    summary: Prose
    unit: Unit
    higher_is_better: bool
    code: Hash


class Task(Struct):
    """A task of the run's data set."""

    metric: Name
    higher_is_better: bool
    unit: Unit
    kind: Name = ""
    channels: Annotated[int, Meta(ge=1, le=10_000)] = 1
    classes: list[Prose] = []
    span: Annotated[list[Number], Meta(min_length=2, max_length=2)] | None = None
    tolerance: Number = 0.0
    inverse: bool = False
    test_images: CountOrZero | None = None


class Point(Struct):
    """A point of the training curve."""

    epoch: NotNegative
    loss: Values
    step: CountOrZero = 0
    test: Values = {}
    diagnostics: Values = {}


class Cost(Struct):
    """What the run took."""

    device: Annotated[str, Meta(max_length=200, pattern=r"\A(?![=+@-])[\w .+=(),:/@;-]*\Z")]
    params_train: CountOrZero | None = None
    params_infer: CountOrZero | None = None
    seconds: NotNegative | None = None
    cpu_seconds: NotNegative | None = None
    evaluation_seconds: NotNegative | None = None
    gpu_hours: NotNegative | None = None
    peak_gib: NotNegative | None = None
    images_per_second: NotNegative | None = None
    operations: Annotated[int, Meta(ge=0, le=2**62)] | None = None


class Hashes(Struct):
    """Of the label mask, the images and what was drawn."""

    labels: Name
    data: Name
    test_data: Name | None = None
    order: Name | None = None
    crops: Name | None = None
    init: dict[Name, Name] = {}


class Diagnostic(Struct):
    """A named array that a method shows of itself."""

    kind: Name
    array: Number | list[Number | list[Number | Line | None] | None] | None = None
    labels: list[list[Prose]] = []
    axes: Annotated[list[Prose], Meta(min_length=2, max_length=2)] | None = None


class Contrast(Struct):
    """A comparison that the run's plan named."""

    name: Prose
    first: dict[Name, Plain]
    second: dict[Name, Plain]


class RecordShape(Struct):
    """A record, as far as anything reads it."""

    id: Hash
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
    environment: dict[Name, bool | int | float | Prose | None]
    diagnostics: dict[Name, Diagnostic]
    summary: Prose = ""
    source: Name = ""
    oracle: Values = {}
    by_source: dict[Name, dict[Name, Values]] = {}
    own_metrics: dict[Name, OwnMetric] = {}
    fit: Name = "scale"
    files: dict[Name, Name] = {}


def digest_of(record: dict[str, Any]) -> str:
    """Return 16 hex digits of the SHA-256 of a record's canonical JSON, as read, without its digest."""
    content = {key: value for key, value in record.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its digest, which tells that no value was changed after its run wrote it."""
    # As a file gives it back: keys that are numbers become texts, which sort otherwise.
    return record | {"digest": digest_of(json.loads(json.dumps(record)))}


def file_digest(path: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a file, which names it in a published record."""
    return file_hash(path)[:16]


def check_beside(path: Path, record: dict[str, Any], cure: str) -> None:
    """Raise `UserError` unless the files beside a published record have the hashes that it names."""
    named = record.get("files", {})
    if not named.keys() <= {".npz", ".webp"}:
        raise UserError(
            f"{path} is damaged: files is no table of the files .npz and .webp beside it; {cure}."
        )
    for suffix, expected in named.items():
        file = path.with_suffix(suffix)
        try:
            same = file_digest(file) == expected
        except OSError as error:
            raise UserError(
                f"{file}, which {path.name} names, could not be read: {error.strerror}; {cure}."
            ) from None
        if not same:
            raise UserError(
                f"{file} is not what was published with {path.name}: it was changed or exchanged; {cure}."
            )


def _is_matrix(array: Any) -> bool:
    """Tell whether an array is a list of rows of one length, of numbers."""
    rows = array if isinstance(array, list) else []
    sides = {len(row) if isinstance(row, list) else 0 for row in rows}
    return len(sides) == 1 and 0 not in sides and not any(isinstance(x, list) for row in rows for x in row)


def check_spec(spec: dict[str, Any], where: str, cure: str) -> None:
    """Raise `UserError` unless a spec has the types and bounds of one."""
    plain = {key: value for key, value in spec.items() if key not in ("schema", "id")}
    made: RunSpec = convert(plain, RunSpec, f"{where} is damaged", cure)
    _check_open(made, plain, f"{where} is damaged", cure)


def _check_open(made: RunSpec, spec: dict[str, Any], where: str, cure: str) -> None:
    """Raise `UserError` for odd values of what a spec leaves open: contrasts, keys of newer protocols."""
    tasks = made.tasks
    if not tasks or len(set(tasks)) < len(tasks) or not set(tasks) <= set(made.protocol.tasks):
        raise UserError(f"{where}: spec.tasks is {shown(list(tasks))}, no part of its protocol's; {cure}.")
    convert(list(made.contrasts), list[Contrast], where, cure, "spec.contrasts")
    newer = {key: value for key, value in spec["protocol"].items() if key not in TYPES}
    convert(newer, dict[Name, Plain], where, cure, "spec.protocol")


def read_spec(path: Path, cure: str = "restore it or remove its folder") -> dict[str, Any]:
    """Return the spec in a file. Raises `UserError` for one that is damaged."""
    spec = read_json(path, cure)
    check_spec(spec, str(path), cure)
    return spec


def read_record(path: Path, named: str = "", cure: str = "") -> dict[str, Any]:
    """Return the record in a file. Raises `UserError` for one that is damaged or edited.

    named: the run that it must be. The one way for a record into the program.
    """
    cure = cure or f"remove the folder {path.parent} and run the same command again"
    record = read_json(path, cure)
    check_record(record, path, named or str(record.get("id")), cure)
    return record


def check_record(record: dict[str, Any], path: Path | str, named: str, cure: str) -> None:
    """Raise `UserError` unless a record has its shape and is the run that its name says, unedited."""
    if record.get("schema") != SCHEMA:
        raise UserError(
            f"{path} has record schema {shown(record.get('schema'))}, not {SCHEMA}; read it with the version "
            f"of bench that wrote it, or {cure}."
        )
    made: RecordShape = convert(record, RecordShape, f"{path} is damaged", cure)
    _check_open(made.spec, record["spec"], f"{path} is damaged", cure)
    for name, diagnostic in made.diagnostics.items():
        if diagnostic.kind == "matrix" and not _is_matrix(diagnostic.array):
            raise UserError(f"{path} is damaged: diagnostics.{name}.array is no matrix of numbers; {cure}.")
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
    if "digest" in record and (found := digest_of(record)) != record["digest"]:
        raise UserError(
            f"{path} was edited: its content has digest {found}, not {shown(record['digest'])} as it says; "
            f"{cure}."
        )
