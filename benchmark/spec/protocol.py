"""What is held fixed in a comparison: a protocol file, read into a `Protocol`."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmark.errors import UserError, unknown

FOLDER = Path(__file__).parents[1] / "protocols"


@dataclass(frozen=True)
class Protocol:
    """Everything that is the same for every method of a board. Values equal to these defaults enter no run
    id.

    tasks: names, in the order of the label mask's columns. size: (H, W) in pixels. Where one of the two is
    empty, a plan puts in what the data set has. train_images, test_images: the first N
    of each split, all if None. encoder: "small", "segnet", "resnet18", "resnet50" or "timm:NAME". weights:
    "none", "imagenet", "package" (those that an installed package carries for the encoder, known by their
    hash) or a file, which enters ids by its content. width: channels of shared and task features.
    decoder_blocks: residual blocks a task; 0 for a single 3x3 convolution, after an encoder that decodes
    itself ("segnet"). budget: "epochs" gives a run `epochs` passes over the images it may use, "steps" gives
    every run the steps of a run on all images. lr: peak learning rate. schedule: "poly" ((1 - t)^poly_power),
    "step" (times step_factor every step_every epochs) or "constant". clip: largest gradient norm, 0 for none.
    loss_weights: {task: weight}, 1 where absent. scales, flip, colour: augmentation;
    scale_draw: one of the scales ("choice") or any between two bounds ("uniform"). judge: "test", or
    "holdout" for tuning: then the last share `holdout` of the train images is set aside and judged on, and no
    board calls that a score. edge_metric: the primary metric of edges. evaluations: looks at the test set
    during training, for curves and the oracle diagnostic only.
    reference: the method that delta m is relative to; baseline: the method that the others are tested
    against. freeze: the encoder's trunk keeps its pretrained weights and statistics. encoder_lr_scale:
    learning rate of the trunk over that of the rest. doubled: {"METHOD BUDGET TASK": percent by which twice
    the epochs improve its primary metric}, as a trial on held-out train images found it; it says whether the
    protocol trains networks that have learnt, and is no part of what a run is.
    demonstration: boards of it say that they show the tool, and rank nothing; no part of what a run is,
    either.
    """

    name: str
    version: int = 1
    summary: str = ""
    tasks: tuple[str, ...] = ()
    size: tuple[int, int] = (96, 128)
    train_images: int | None = None
    test_images: int | None = None
    encoder: str = "resnet18"
    weights: str = "none"
    width: int = 256
    decoder_blocks: int = 2
    batch: int = 8
    epochs: float = 100.0
    budget: Literal["epochs", "steps"] = "epochs"
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 2e-5
    weight_decay: float = 1e-6
    schedule: Literal["poly", "step", "constant"] = "poly"
    poly_power: float = 0.9
    step_every: float = 100.0
    step_factor: float = 0.5
    clip: float = 10.0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    threads: int = 1
    loss_weights: dict[str, float] = field(default_factory=dict)
    scales: tuple[float, ...] = (1.0, 1.2, 1.5)
    flip: bool = True
    colour: float = 0.2
    scale_draw: Literal["choice", "uniform"] = "choice"
    judge: Literal["test", "holdout"] = "test"
    holdout: float = 0.1
    edge_metric: Literal["boundaryF", "odsF"] = "boundaryF"
    evaluations: int = 0
    reference: str = ""
    baseline: str = ""
    freeze: bool = False
    encoder_lr_scale: float = 1.0
    doubled: dict[str, float] = field(default_factory=dict)
    demonstration: bool = False


TYPES = typing.get_type_hints(Protocol)
# The least value of a number, and whether that value itself is allowed.
_LEAST: dict[str, tuple[int, bool]] = {
    **dict.fromkeys(("epochs", "lr", "step_every", "step_factor", "holdout", "encoder_lr_scale"), (0, False)),
    **dict.fromkeys(
        ("weight_decay", "poly_power", "clip", "colour", "evaluations", "decoder_blocks"), (0, True)
    ),
    **dict.fromkeys(("batch", "width", "threads", "train_images", "test_images"), (1, True)),
}
# What says something about a protocol and is no part of what a run of it does: it enters no id.
ABOUT = ("summary", "doubled", "demonstration")
# That, and what a protocol is called, cannot be overridden from a plan or the command line.
SETTABLE = tuple(f.name for f in dataclasses.fields(Protocol) if f.name not in ("name", "version", *ABOUT))


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, overrides: dict[str, Any] | None = None) -> Protocol:
    """The protocol called `name`, or in the file `name` if it ends in .toml, with `overrides` of its values.

    A file may name another as its `base` and then holds what it changes of that.
    """
    path, values = _read(name)
    if "base" in values:
        where, basis = _read(str(values.pop("base")))
        if "base" in basis:
            raise UserError(
                f"{where} is the base of {path} and has one itself; name a protocol that stands alone."
            )
        values = basis | values
    return build(values | {"name": path.stem}, str(path), overrides)


def files(name: str) -> list[Path]:
    """The files that a protocol is read from: its own, and that of its base. Raises `UserError` as `load`
    does.
    """
    path, values = _read(name)
    return [path, _read(str(values["base"]))[0]] if "base" in values else [path]


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise (
            unknown("protocol", name, names())
            if path.parent == FOLDER
            else UserError(f"there is no protocol file {path}.")
        )
    return path, read_toml(path)


def build(values: dict[str, Any], where: str, overrides: dict[str, Any] | None = None) -> Protocol:
    """A `Protocol` from plain values, checked one by one."""
    merged = (
        values | {key: dict(values.get(key, {})) for key in ("loss_weights", "doubled")} | (overrides or {})
    )
    checked = {key: convert(TYPES, key, value, f"protocol key in {where}") for key, value in merged.items()}
    protocol = Protocol(**checked)
    for key, (least, bounded) in _LEAST.items():
        value = getattr(protocol, key)
        if value is not None and not (
            math.isfinite(value) and (value >= least if bounded else value > least)
        ):
            expected = f"{least} or more" if bounded else f"above {least}"
            raise UserError(
                f"{key} = {value} in protocol {protocol.name} is not a finite number {expected}; change its "
                f"value."
            )
    if protocol.colour >= 1:
        raise UserError(
            f"colour = {protocol.colour} in protocol {protocol.name} is not below 1; 0.2 changes colours by "
            f"up to 20 %."
        )
    if protocol.freeze and protocol.weights == "none" and protocol.name:
        raise UserError(
            f"freeze = true in protocol {protocol.name} would keep an encoder at random weights; set "
            f"weights, or freeze = false."
        )
    if protocol.holdout >= 1:
        raise UserError(
            f"holdout = {protocol.holdout} in protocol {protocol.name} is not below 1; 0.1 sets a tenth "
            f"aside."
        )
    if len(set(protocol.tasks)) < len(protocol.tasks):
        raise UserError(
            f"tasks = {list(protocol.tasks)} in protocol {protocol.name} must name each task once."
        )
    for task in protocol.loss_weights:
        if protocol.tasks and task not in protocol.tasks:
            raise unknown(f"task in loss_weights of protocol {protocol.name}", task, protocol.tasks)
    if protocol.size and (
        len(protocol.size) != 2 or min(protocol.size) < 32 or any(side % 8 for side in protocol.size)
    ):
        found = f"size = {list(protocol.size)} in protocol {protocol.name}"
        raise UserError(f"{found} is not [height, width] in multiples of 8, each 32 or more.")
    if not protocol.scales or not all(0 < scale < math.inf for scale in protocol.scales):
        raise UserError(
            f"scales = {list(protocol.scales)} in protocol {protocol.name} must be a list of zooms above 0."
        )
    if protocol.scale_draw == "uniform" and (
        len(protocol.scales) != 2 or protocol.scales[0] > protocol.scales[1]
    ):
        found = f"scales = {list(protocol.scales)} in protocol {protocol.name}"
        raise UserError(f'{found} with scale_draw = "uniform" must be two bounds, such as [0.5, 2.0].')
    return protocol


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; a `UserError` names the file, and the line where it is malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}; correct that line.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file; give a TOML file.") from None
    except OSError as error:
        raise UserError(
            f"{path} could not be read: {error.strerror}; check the name and its permissions."
        ) from None


def convert(hints: dict[str, Any], key: str, value: Any, what: str) -> Any:
    """`value` as the type that `hints` declares for `key`; a `UserError` names the key, the value and what
    was expected.
    """
    if key not in hints:
        raise unknown(what, key, hints)
    try:
        return _as(hints[key], value)
    except (TypeError, ValueError):
        raise UserError(
            f"{key} = {value!r} ({what}) is not {describe(hints[key])}; change its value."
        ) from None


def _as(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ValueError
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None or (value == "none" and type(None) in arguments):
            return None
        return _as(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(_as(arguments[0], item) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError
        return {str(k): _as(arguments[1], v) for k, v in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise TypeError
    return value


def describe(hint: Any) -> str:
    """A type in words, for messages and listings."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (types.UnionType, typing.Union):
        return " or ".join("'none'" if a is type(None) else describe(a) for a in arguments)
    if origin is tuple:
        return f"a list in which each is {describe(arguments[0])}"
    if origin is dict:
        return "a table of numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(
        hint, str(hint)
    )
