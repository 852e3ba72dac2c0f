"""What is varied: a TOML plan, or methods named on the command line, to the list of runs."""

from __future__ import annotations

import hashlib
import itertools
import tomllib
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark import balance, registry
from benchmark import protocol as protocols
from benchmark.errors import UserError, unknown
from benchmark.spec import RunSpec

FOLDER = Path(__file__).parent / "plans"
DEFAULT = "quickstart"
# Keys of a grid, beside the protocol's own. Each may be a list, and the grid is the product of its lists.
AXES = ("protocol", "dataset", "labels", "method", "balance", "seeds")
ALIASES = {"methods": "method", "seed": "seeds"}


@dataclass(frozen=True)
class Plan:
    """The runs of a plan in order, without repeats. notes: what was skipped or assumed, and why. weights: the files of
    pretrained weights by the content that stands for them in specs."""

    name: str
    cells: tuple[RunSpec, ...]
    notes: tuple[str, ...] = ()
    weights: dict[str, Path] = field(default_factory=dict)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> dict[str, Any]:
    """The plan called `name`, or in the file `name` if it ends in .toml."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise unknown("plan", name, names()) if path.parent == FOLDER else UserError(f"there is no plan file {path}.")
    values = protocols.read_toml(path)
    for key in values:
        if key not in ("summary", "grid"):
            raise unknown(f"key in {path}", key, ("summary", "grid"))
    if not isinstance(values.get("grid"), list) or not values["grid"]:
        raise UserError(f"{path} has no [[grid]]; add one with protocol, dataset, labels, method and seeds.")
    return values | {"name": path.stem}


def make(arguments: list[str], settings: list[str], data: Path) -> Plan:
    """The plan that command-line arguments mean: a plan's name or file, methods' names, or a plan and methods of it."""
    methods = [a for a in arguments if a in registry.method_names()]
    others = [a for a in arguments if a not in methods]
    if len(others) > 1:
        raise UserError(f"{others[1]!r} is neither a method nor the only plan named; give one plan and any of its methods.")
    if others and not others[0].endswith(".toml") and others[0] not in names():
        raise unknown("plan or method", others[0], [*names(), *registry.method_names()])
    values = read(others[0] if others else DEFAULT)
    return expand(values, _assignments(settings), methods, data)


def _assignments(settings: list[str]) -> dict[str, Any]:
    result = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--set {setting!r} is not key=value; write for example --set labels=random.")
        try:
            result[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            result[key.strip()] = text.strip()  # a bare word
    return result


def expand(values: dict[str, Any], settings: dict[str, Any], methods: list[str], data: Path) -> Plan:
    """Every cell of every grid, with the command line's settings on top. Raises `UserError` for what does not fit."""
    cells: dict[str, RunSpec] = {}
    notes: dict[str, None] = {}
    used: set[str] = set()
    weights: dict[str, Path] = {}
    for grid in values["grid"]:
        for cell in _grid_cells(grid, settings, methods, values["name"], used):
            for spec in _specs(cell, data, notes, weights):
                cells[spec.id] = spec
    for key in settings:
        if key.startswith("hparams.") and key not in used:
            known = {k for m in {s.method for s in cells.values()} for k in registry.hyperparameters(m)[0]}
            raise unknown("hyper-parameter in --set", key.split(".")[-1], known)
    if not cells:
        raise UserError(f"plan {values['name']} has no run left: {'; '.join(notes) or 'no method of it was named'}.")
    return Plan(values["name"], tuple(cells.values()), tuple(notes), weights)


def _grid_cells(
    grid: dict[str, Any], settings: dict[str, Any], methods: list[str], where: str, used: set[str]
) -> list[dict[str, Any]]:
    """The product of a grid's lists: dictionaries with one value an axis, "set" (protocol values overridden) and "hparams"."""
    grid = {ALIASES.get(k, k): v for k, v in grid.items()}
    hparams, tuning = grid.pop("hparams", {}), grid.pop("tuning", {})
    for method in (*hparams, *tuning):
        if method not in registry.method_names():
            raise unknown(f"method in hparams or tuning of plan {where}", method, registry.method_names())
    grid |= {ALIASES.get(k, k): v for k, v in settings.items() if not k.startswith("hparams.")}
    if methods:
        grid["method"] = methods
    for key in grid:
        if key not in (*AXES, *protocols.SETTABLE):
            raise unknown(f"key in plan {where}", key, [*AXES, *protocols.SETTABLE, "hparams.NAME"])
    for key in ("protocol", "dataset", "method"):
        if key not in grid:
            raise UserError(f"a [[grid]] of plan {where} has no {key}; add {key} = ... .")
    grid["seeds"] = _seeds(grid.get("seeds", 1))
    lists = [key for key in protocols.SETTABLE if typing.get_origin(protocols.TYPES[key]) is tuple]
    axes = {
        key: value if isinstance(value, list) and (key not in lists or (value and isinstance(value[0], list))) else [value]
        for key, value in ({"balance": balance.EQUAL} | grid).items()
    }
    for key, choices in axes.items():
        if not choices:
            raise UserError(f"{key} = [] in plan {where} leaves nothing to run; give at least one value.")
    cells = []
    for combination in itertools.product(*axes.values()):
        cell = dict(zip(axes, combination, strict=True))
        overrides = {key: cell.pop(key) for key in protocols.SETTABLE if key in cell}
        own = _own_hparams(str(cell["method"]), hparams, settings, used)
        for values in itertools.product(*own.values()):
            more = {"hparams": dict(zip(own, values, strict=True)), "tuning": _tuning(tuning.get(str(cell["method"])), where)}
            cells.append(cell | {"set": overrides} | more)
    return cells


def _own_hparams(method: str, hparams: dict[str, Any], settings: dict[str, Any], used: set[str]) -> dict[str, list[Any]]:
    """{name: values to run} of one method: the plan's [grid.hparams.METHOD], then --set hparams.[METHOD.]NAME."""
    own = dict(hparams.get(method, {}))
    defaults, hints = registry.hyperparameters(method)
    for key, value in settings.items():
        parts = key.split(".")
        if parts[0] != "hparams":
            continue
        if len(parts) == 3 and parts[1] == method:
            own[parts[2]] = value  # an unknown name fails when it is resolved
            used.add(key)
        elif len(parts) == 2 and parts[1] in defaults:
            own[parts[1]] = value
            used.add(key)
    # A list is a list of values to run, unless the keyword itself takes one.
    takes_list = {name for name, hint in hints.items() if typing.get_origin(hint) is tuple}
    return {
        name: value if isinstance(value, list) and (name not in takes_list or (value and isinstance(value[0], list))) else [value]
        for name, value in own.items()
    }


def _tuning(value: Any, where: str) -> str:
    """How a method's keywords were searched, in words; `bench tune` writes it into its plans."""
    if value is None:
        return ""
    if (
        not isinstance(value, dict)
        or set(value) != {"trials", "holdout"}
        or not all(isinstance(v, int | float) for v in value.values())
    ):
        raise UserError(f"tuning = {value!r} in plan {where} must hold trials and holdout, as `bench tune` writes them.")
    return f"{value['trials']} trials on the last {value['holdout']:.0%} of train"


def _seeds(value: Any) -> list[int]:
    """A number of seeds, counted from 0, or a list of seeds."""
    seeds = list(range(value)) if type(value) is int and value > 0 else value
    if not isinstance(seeds, list) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        raise UserError(f"seeds = {value!r} is neither a number of seeds (3) nor a list of whole numbers ([0, 1, 2]).")
    return seeds


def _specs(cell: dict[str, Any], data: Path, notes: dict[str, None], weights: dict[str, Path]) -> list[RunSpec]:
    """The runs of one cell: T for a one-task method, else one; none, with a note, where the method says it cannot run."""
    from datasets import labels
    from methods.networks.build import WEIGHTS, check_encoder

    protocol = protocols.load(str(cell["protocol"]), cell["set"])
    dataset = registry.open_dataset(str(cell["dataset"]), data)
    if not all(map(len, (protocol.tasks, protocol.size))):  # left to the data set
        left = {"tasks": list(protocol.tasks or dataset.tasks), "size": list(protocol.size) or list(dataset.default_size)}
        protocol = protocols.load(str(cell["protocol"]), cell["set"] | left)
    if protocol.weights not in WEIGHTS:  # a file: its content, not its place, is part of what a run is
        file = Path(protocol.weights)
        if not file.is_file():
            known = ", ".join(map(repr, WEIGHTS))
            raise UserError(f"weights = {protocol.weights!r} is neither one of {known} nor a file; give the file's path.")
        content = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        weights[content] = file
        protocol = replace(protocol, weights=content)
    setting = str(labels.parse(str(cell.get("labels", registry.default_labels(dataset.name)))))
    check_encoder(protocol.encoder, protocol.weights)
    balance.check(str(cell["balance"]))
    for key in ("reference", "baseline"):
        if getattr(protocol, key) not in ("", *registry.method_names()):
            raise unknown(f"{key} method of protocol {protocol.name}", getattr(protocol, key), registry.method_names())
    for task in protocol.tasks:
        if task not in dataset.tasks:
            raise unknown(f"task of data set {dataset.name} (protocol {protocol.name})", task, dataset.tasks)
    if not dataset.present():  # planning needs no data; a run will say what is missing
        notes[f"{dataset.name} was not found in {data}, so ids assume the variant {dataset.variant!r}"] = None
    name = str(cell["method"])
    method = registry.method(name)
    reason = method.skip({task: dataset.tasks[task] for task in protocol.tasks})
    if reason:
        notes[f"{name} is skipped: {reason}"] = None
        return []
    balanced = str(cell["balance"])
    if balanced != balance.EQUAL and (method.one_task or len(protocol.tasks) == 1):
        notes[f"{name} runs with balance {balance.EQUAL}, not {balanced}: one task has nothing to balance"] = None
        balanced = balance.EQUAL
    if note := balance.note(balanced):
        notes[note] = None
    hyperparameters, changed = registry.resolve_hyperparameters(name, cell["hparams"])
    return [
        RunSpec(
            protocol=protocol,
            dataset=dataset.name,
            variant=dataset.variant,
            labels=setting,
            method=name,
            method_version=method.version,
            hyperparameters=hyperparameters,
            changed=changed,
            tasks=tasks,
            # A frozen split draws no labels: its seeds vary training alone.
            label_seed=0 if setting.startswith("published:") else cell["seeds"],
            train_seed=cell["seeds"],
            balance=balanced,
            plugin=registry.plugin_content(name),
            tuning=str(cell["tuning"]),
        )
        for tasks in ([(task,) for task in protocol.tasks] if method.one_task else [protocol.tasks])
    ]
