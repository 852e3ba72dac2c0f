"""From a grid to runs: the product of its lists, with the command line's settings on top, each cell resolved
and checked.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError, unknown
from benchmark.spec import protocol as protocols
from benchmark.spec import registry
from benchmark.spec import weighting as balance
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec
from benchmark.spec.tuning import words

if TYPE_CHECKING:
    from datasets.base import Dataset

SEEDS = ("seeds", "label_seeds", "train_seeds")
# Keys of a grid, beside the protocol's own. Each may be a list, and the grid is the product of its lists.
AXES = ("protocol", "dataset", "labels", "method", "balance", "lr_scale", *SEEDS)
ALIASES = {"methods": "method", "seed": "seeds", "label_seed": "label_seeds", "train_seed": "train_seeds"}
# Protocol keys that take a list: there a list is one value, and a list of lists several.
LISTS = tuple(key for key in protocols.SETTABLE if typing.get_origin(protocols.TYPES[key]) is tuple)


def choices(value: Any, takes_list: bool) -> list[Any]:
    """The values that a value of a plan stands for: those of a list, unless the key itself takes one."""
    several = isinstance(value, list) and (not takes_list or (value and isinstance(value[0], list)))
    return value if several else [value]


def renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of a grid under their own names. Seeds come as `seeds`, or as label and train seeds: the last that
    are said count.
    """
    return {ALIASES.get(key, key): value for key, value in values.items()}


class Expansion:
    """Expands grids under the settings and methods of one command line, and gathers what it learns of them.

    notes: what was skipped or assumed, and why, in order. used: the settings of hyper-parameters that some
    method took.
    weights: the files of pretrained weights by the content that stands for them in specs. protocols: what
    protocols are called in the plan, a name or a file, by the name that specs have. contrasts: of the plan,
    which its specs keep.
    """

    def __init__(self, settings: dict[str, Any], methods: list[str], data: Path) -> None:
        self.settings, self.methods, self.data = settings, methods, data
        self.notes: dict[str, None] = {}
        self.used: set[str] = set()
        self.weights: dict[str, Path] = {}
        self.protocols: dict[str, str] = {}
        self.contrasts: tuple[dict[str, Any], ...] = ()
        self._contents: dict[Path, str] = {}

    def specs(self, grid: dict[str, Any], where: str, removed: dict[str, Any] | None = None) -> list[RunSpec]:
        """The runs of one grid of the plan `where`. removed: keywords of its method that hold over all else.

        Raises `UserError` for what does not fit.
        """
        found = []
        for cell in self._cells(grid, where, removed or {}):
            found += self._resolved(cell)
        return found

    def _cells(self, grid: dict[str, Any], where: str, removed: dict[str, Any]) -> list[dict[str, Any]]:
        """The product of a grid's lists: dictionaries with one value an axis, "set" (protocol values
        overridden), "hparams".
        """
        grid = renamed(grid)
        hparams, tuning = grid.pop("hparams", {}), grid.pop("tuning", {})
        for key, table in (("hparams", hparams), ("tuning", tuning)):
            if not isinstance(table, dict) or not all(isinstance(values, dict) for values in table.values()):
                raise UserError(
                    f"{key} = {table!r} in a grid of plan {where} is not a table; write {key}.METHOD.NAME = "
                    f"value."
                )
        for method in (*hparams, *tuning):
            if method not in registry.method_names():
                raise unknown(f"method in hparams or tuning of plan {where}", method, registry.method_names())
        given = renamed({k: v for k, v in self.settings.items() if not k.startswith("hparams.")})
        if any(key in given for key in SEEDS):  # one way of giving seeds replaces another
            grid = {key: value for key, value in grid.items() if key not in SEEDS}
        grid |= given
        if self.methods:
            grid["method"] = self.methods
        for key in grid:
            if key not in (*AXES, *protocols.SETTABLE):
                raise unknown(f"key in plan {where}", key, [*AXES, *protocols.SETTABLE, "hparams.NAME"])
        for key in ("protocol", "dataset", "method"):
            if key not in grid:
                raise UserError(f"a grid of plan {where} has no {key}; add {key} = ... .")
        grid["seeds"] = _seed_pairs(grid, where)
        rates = _rates(grid.pop("lr_scale", 1.0), where)
        axes = {
            key: choices(value, key in LISTS) for key, value in ({"balance": balance.EQUAL} | grid).items()
        }
        for key, values in axes.items():
            if not values:
                raise UserError(f"{key} = [] in plan {where} leaves nothing to run; give at least one value.")
        cells = []
        for chosen in itertools.product(*axes.values()):
            cell = dict(zip(axes, chosen, strict=True))
            overrides = {key: cell.pop(key) for key in protocols.SETTABLE if key in cell}
            method = str(cell["method"])
            own = self._own_hparams(method, hparams) | {name: [value] for name, value in removed.items()}
            tuned = words(tuning.get(method), where)
            for rate, *keywords in itertools.product(rates(method), *own.values()):
                named = dict(zip(own, keywords, strict=True))
                cells.append(cell | {"set": overrides, "hparams": named, "tuning": tuned, "lr_scale": rate})
        return cells

    def _own_hparams(self, method: str, hparams: dict[str, Any]) -> dict[str, list[Any]]:
        """{name: values to run} of one method: the grid's hparams.METHOD, then --set
        hparams.[METHOD.]NAME.
        """
        own = dict(hparams.get(method, {}))
        defaults, hints = registry.hyperparameters(method)
        for key, value in self.settings.items():
            parts = key.split(".")
            if parts[0] != "hparams":
                continue
            if len(parts) == 3 and parts[1] == method:
                own[parts[2]] = value  # an unknown name fails when it is resolved
                self.used.add(key)
            elif len(parts) == 2 and parts[1] in defaults:
                own[parts[1]] = value
                self.used.add(key)
        return {
            name: choices(value, typing.get_origin(hints.get(name)) is tuple) for name, value in own.items()
        }

    def _resolved(self, cell: dict[str, Any]) -> list[RunSpec]:
        """The runs of one cell: T for a one-task method, else one; none, with a note, where the method says
        it cannot run.
        """
        from datasets import labels

        dataset = registry.open_dataset(str(cell["dataset"]), self.data)
        setting = str(labels.parse(str(cell.get("labels", registry.default_labels(dataset.name)))))
        balance.check(str(cell["balance"]))
        protocol = self._protocol(cell, dataset)
        if not dataset.present():  # planning needs no data; a run will say what is missing
            self.notes[
                f"{dataset.name} was not found in {self.data}, so ids assume the variant {dataset.variant!r}"
            ] = None
        name = str(cell["method"])
        method = registry.method(name)
        reason = method.skip({task: dataset.tasks[task] for task in protocol.tasks})
        if reason:
            self.notes[f"{name} is skipped: {reason}"] = None
            return []
        balanced = str(cell["balance"])
        if balanced != balance.EQUAL and (method.one_task or len(protocol.tasks) == 1):
            self.notes[
                f"{name} runs with balance {balance.EQUAL}, not {balanced}: one task has nothing to balance"
            ] = None
            balanced = balance.EQUAL
        if note := balance.note(balanced):
            self.notes[note] = None
        hyperparameters, changed = registry.resolve_hyperparameters(name, cell["hparams"])
        label_seed, train_seed = cell["seeds"]
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
                label_seed=0 if setting.startswith("published:") else label_seed,
                train_seed=train_seed,
                balance=balanced,
                plugin=registry.plugin_content(name),
                tuning=str(cell["tuning"]),
                lr_scale=cell["lr_scale"],
                contrasts=self.contrasts,
            )
            for tasks in ([(task,) for task in protocol.tasks] if method.one_task else [protocol.tasks])
        ]

    def _protocol(self, cell: dict[str, Any], dataset: Dataset) -> Protocol:
        """The cell's protocol with what it leaves to the data set, its weights known by their content,
        checked.
        """
        from methods.networks.build import WEIGHTS, check_encoder

        protocol = protocols.load(str(cell["protocol"]), cell["set"])
        self.protocols[protocol.name] = str(cell["protocol"])
        if not all(map(len, (protocol.tasks, protocol.size))):  # left to the data set
            left = {
                "tasks": list(protocol.tasks or dataset.tasks),
                "size": list(protocol.size) or list(dataset.default_size),
            }
            protocol = protocols.load(str(cell["protocol"]), cell["set"] | left)
        if protocol.weights not in WEIGHTS:  # a file: its content, not its place, is part of what a run is
            file = Path(protocol.weights)
            if not file.is_file():
                known = ", ".join(map(repr, WEIGHTS))
                raise UserError(
                    f"weights = {protocol.weights!r} is neither one of {known} nor a file; give the file's "
                    f"path."
                )
            if file not in self._contents:
                self._contents[file] = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            self.weights[self._contents[file]] = file
            protocol = replace(protocol, weights=self._contents[file])
        check_encoder(protocol.encoder, protocol.weights)
        for key in ("reference", "baseline"):
            if getattr(protocol, key) not in ("", *registry.method_names()):
                raise unknown(
                    f"{key} method of protocol {protocol.name}",
                    getattr(protocol, key),
                    registry.method_names(),
                )
        for task in protocol.tasks:
            if task not in dataset.tasks:
                raise unknown(
                    f"task of data set {dataset.name} (protocol {protocol.name})", task, dataset.tasks
                )
        return protocol


def _seed_pairs(grid: dict[str, Any], where: str) -> list[tuple[int, int]]:
    """(label seed, train seed) of each seed of a grid: both equal with `seeds`, the product of label_seeds
    and train_seeds otherwise, where one of them left out is seed 0. Takes the latter two out of the grid."""
    apart = {key: _seeds(key, grid.pop(key)) for key in SEEDS[1:] if key in grid}
    if not apart:
        return [(seed, seed) for seed in _seeds("seeds", grid.get("seeds", 1))]
    if "seeds" in grid:
        raise UserError(
            f"a grid of plan {where} has seeds and {next(iter(apart))}; give seeds, which are both, or "
            f"label_seeds and "
            f"train_seeds."
        )
    return list(itertools.product(apart.get("label_seeds", [0]), apart.get("train_seeds", [0])))


def _seeds(key: str, value: Any) -> list[int]:
    """A number of seeds, counted from 0, or a list of seeds."""
    seeds = list(range(value)) if type(value) is int and value > 0 else value
    if not isinstance(seeds, list) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        raise UserError(
            f"{key} = {value!r} is neither a number of seeds (3) nor a list of whole numbers ([0, 1, 2])."
        )
    return seeds


def _rates(value: Any, where: str) -> Callable[[str], list[float]]:
    """The learning-rate scales of a method: `lr_scale` is a number, a list of them, or a table of either by
    method. Raises
    `UserError` for anything else."""
    table = value if isinstance(value, dict) else {}
    for method in table:
        if method not in registry.method_names():
            raise unknown(f"method in lr_scale of plan {where}", method, registry.method_names())
    listed = {method: choices(chosen, False) for method, chosen in (table or {"": value}).items()}
    for rate in itertools.chain(*listed.values()):
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
            raise UserError(
                f"lr_scale = {value!r} in plan {where} is not a number above 0, a list of them, or a table "
                f"by method."
            )
    rest = [1.0] if table else [float(rate) for rate in listed[""]]
    return lambda method: [float(rate) for rate in listed[method]] if method in table else rest
