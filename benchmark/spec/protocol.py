"""What is held fixed in a comparison: a protocol file, read into a `Protocol`."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from benchmark.errors import UserError, unknown
from benchmark.files import read_toml
from benchmark.typed import Name, Prose, check_keys, convert

FOLDER = Path(__file__).parents[1] / "protocols"

Count = Annotated[int, Meta(ge=1, le=10**9)]
CountOrZero = Annotated[int, Meta(ge=0, le=10**9)]
Few = Annotated[int, Meta(ge=1, le=2**14)]
Side = Annotated[int, Meta(ge=32, le=2**13, multiple_of=8)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Percent = Annotated[float, Meta(ge=-1e6, le=1e6)]


@dataclass(frozen=True)
class Protocol:
    """Everything that every method of a board shares; benchmark/README.md describes each key.

    Values equal to these defaults enter no run id. tasks are in the order of the label mask's columns; size
    is (H, W) in pixels; where one of the two is empty, a plan puts in what the data set has. weights, init: a
    file enters ids by its content. holdout: the share of the train images that `judge = "holdout"` sets aside
    and evaluates on, which no board calls a score. sampling: of joined data sets; see datasets/README.md.
    doubled: {"METHOD BUDGET TASK": percent by which twice the epochs improve its primary metric}, as a trial
    on held-out train images found it. controls: methods whose rows stand with the ablations, as they are
    there to explain another method. cost: {task: minutes that a label takes whoever makes it}.
    """

    name: Name
    version: CountOrZero = 1
    summary: Prose = ""
    tasks: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    size: tuple[Side, Side] = (96, 128)
    train_images: Count | None = None
    test_images: Count | None = None
    encoder: Name = "resnet18"
    weights: Prose = "none"
    init: Prose = "none"
    width: Few = 256
    decoder_blocks: Annotated[int, Meta(ge=0, le=100)] = 2
    batch: Few = 8
    epochs: Positive = 100.0
    budget: Literal["epochs", "steps"] = "epochs"
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Positive = 2e-5
    weight_decay: NotNegative = 1e-6
    schedule: Literal["poly", "step", "constant"] = "poly"
    poly_power: NotNegative = 0.9
    step_every: Positive = 100.0
    step_factor: Positive = 0.5
    clip: NotNegative = 10.0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    threads: Few = 1
    loss_weights: dict[Name, NotNegative] = field(default_factory=dict)
    scales: Annotated[tuple[Positive, ...], Meta(min_length=1, max_length=100)] = (1.0, 1.2, 1.5)
    flip: bool = True
    colour: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    scale_draw: Literal["choice", "uniform"] = "choice"
    judge: Literal["test", "holdout"] = "test"
    holdout: Share = 0.1
    edge_metric: Literal["boundaryF", "odsF"] = "boundaryF"
    evaluations: Annotated[int, Meta(ge=0, le=10_000)] = 0
    reference: Name = ""
    baseline: Name = ""
    freeze: bool = False
    encoder_lr_scale: Positive = 1.0
    sampling: Literal["proportional", "equal"] = "proportional"
    doubled: dict[Name, Percent] = field(default_factory=dict)
    demonstration: bool = False
    controls: tuple[Name, ...] = ()
    cost: dict[Name, NotNegative] = field(default_factory=dict)


TYPES = typing.get_type_hints(Protocol, include_extras=True)
# What says something about a protocol and is no part of what a run of it does: it enters no id.
ABOUT = ("summary", "doubled", "demonstration", "controls", "cost")
# That (but for prices), and what a protocol is called, no plan and no command line can override.
_OWN = {"name", "version", *ABOUT} - {"cost"}
SETTABLE = tuple(f.name for f in dataclasses.fields(Protocol) if f.name not in _OWN)
# Protocol keys that take a list: there a list is one value, and a list of lists several.
LISTS = tuple(k for k, kind in typing.get_type_hints(Protocol).items() if typing.get_origin(kind) is tuple)


def names() -> list[str]:
    """Return the names of the shipped protocols."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, overrides: dict[str, Any] | None = None) -> Protocol:
    """Return the protocol of that name, or of that .toml file, with `overrides` of its values.

    A file may name another as its `base` and then holds what it changes of that. Raises `UserError`.
    """
    path, values = _read(name)
    if "base" in values:
        where, basis = _read(str(values.pop("base")))
        if "base" in basis:
            raise UserError(f"{where} is the base of {path} and has one itself; name one that stands alone.")
        values = basis | values
    convert(path.stem, Name, f"protocol file {path}", "rename the file", "its name")
    return build(values | {"name": path.stem}, str(path), overrides)


def files(name: str) -> list[Path]:
    """Return the files that a protocol is read from. Raises `UserError` as `load` does."""
    path, values = _read(name)
    return [path, _read(str(values["base"]))[0]] if "base" in values else [path]


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if path.is_file():
        return path, read_toml(path)
    if path.parent == FOLDER:
        raise unknown("protocol", name, names())
    raise UserError(f"there is no protocol file {path}.")


def build(values: dict[str, Any], where: str, overrides: dict[str, Any] | None = None) -> Protocol:
    """Return a `Protocol` from the plain values of the file `where`, checked one by one."""
    merged = without_none(values | (overrides or {}), TYPES)
    check_keys(merged, TYPES, f"protocol key in {where}")
    no_size = "size" in merged and merged["size"] in ([], ())  # a plan puts in the data set's
    given = {key: value for key, value in merged.items() if not (no_size and key == "size")}
    made: Protocol = convert(given, Protocol, f"protocol {values.get('name')} in {where}")
    if no_size:
        made = dataclasses.replace(made, size=typing.cast(Any, ()))

    def require(holds: bool, key: str, what: str) -> None:
        if not holds:
            value = typing.cast(Any, getattr(made, key))
            raise UserError(f"{key} = {value} in protocol {made.name} {what}.")

    require(len(set(made.tasks)) == len(made.tasks), "tasks", "must name each task once")
    frozen = made.freeze and made.weights == "none" and bool(made.name)
    require(not frozen, "freeze", "would keep an encoder at random weights; set weights, or freeze = false")
    bounds = len(made.scales) == 2 and made.scales[0] <= made.scales[1]
    fits = made.scale_draw == "choice" or bounds
    require(fits, "scales", 'with scale_draw = "uniform" must be two bounds, such as [0.5, 2.0]')
    for key in ("loss_weights", "cost") if made.tasks else ():
        check_keys(getattr(made, key), made.tasks, f"task in {key} of protocol {made.name}")
    return made


def without_none(values: dict[str, Any], hints: dict[str, Any]) -> dict[str, Any]:
    """Return values with None for the text "none", which TOML needs, where a type allows None."""
    optional = {key for key, hint in hints.items() if type(None) in typing.get_args(hint)}
    return {k: None if v == "none" and k in optional else v for k, v in values.items()}
