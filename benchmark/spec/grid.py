"""From a grid to runs: the product of its lists, with the command line's settings on top."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from benchmark.errors import UserError
from benchmark.files import file_hash
from benchmark.spec import plugged, registry
from benchmark.spec import protocol as protocols
from benchmark.spec import weighting as balance
from benchmark.spec.protocol import LISTS, SETTABLE, Count, Positive, Protocol, Share
from benchmark.spec.run import RunSpec, Seed
from benchmark.spec.select import AXES, SEEDS, TABLES, choices
from benchmark.typed import check_keys, convert

if TYPE_CHECKING:
    from datasets.base import Dataset

OWN = ("hparams.", "weighting.")  # how settings of hyperparameters begin
ALIASES = {"methods": "method", "seed": "seeds", "label_seed": "label_seeds", "train_seed": "train_seeds"}
Names = str | Annotated[list[str], Meta(min_length=1)]
MOST = 20_000  # runs of a grid
Seeds = Annotated[int, Meta(ge=1, le=MOST)] | Annotated[list[Seed], Meta(min_length=1)]
Rates = Positive | Annotated[list[Positive], Meta(min_length=1)]
# What the keys of a grid may hold, beside the protocol's own.
KINDS: dict[str, Any] = {
    **dict.fromkeys(("protocol", "dataset", "labels", "method", "balance"), Names),
    **dict.fromkeys(SEEDS, Seeds),
    "lr_scale": Rates | dict[str, Rates],
    **dict.fromkeys(TABLES, dict[str, dict[str, Any]]),
}


def renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Return keys of a grid under their own names."""
    return {ALIASES.get(key, key): value for key, value in values.items()}


class Expansion:
    """Expands grids under the settings and methods of one command line, and gathers what it learns of them.

    notes: what was skipped or assumed, and why, in order. used: the settings of hyperparameters that some
    method or weighting took. weights: the files of pretrained weights by the content that stands for them in
    specs. protocols: what protocols are called in the plan, a name or a file, by the name that specs have.
    contrasts: of the plan, which its specs keep. taught: as if all data had a teacher's maps.
    """

    def __init__(
        self, settings: dict[str, Any], methods: list[str], data: Path, taught: bool = False
    ) -> None:
        self.settings, self.methods, self.data, self.taught = settings, methods, data, taught
        self.notes: dict[str, None] = {}
        self.used: set[str] = set()
        self.weights: dict[str, Path] = {}
        self.protocols: dict[str, str] = {}
        self.contrasts: tuple[dict[str, Any], ...] = ()

    def specs(self, grid: dict[str, Any], where: str, removed: dict[str, Any] | None = None) -> list[RunSpec]:
        """Return the runs of one grid of the plan `where`.

        removed: hyperparameters of its method that hold over all else. Raises `UserError` for what does not
        fit.
        """
        return [spec for cell in self._cells(grid, where, removed or {}) for spec in self._resolved(cell)]

    def _cells(self, grid: dict[str, Any], where: str, removed: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the product of a grid's lists: one value an axis, "set" (protocol values), "hparams"."""
        given = renamed({k: v for k, v in self.settings.items() if not k.startswith(OWN)})
        if self.methods:
            given["method"] = self.methods
        grid = renamed(grid)
        if any(key in given for key in SEEDS):  # one way of giving seeds replaces another
            grid = {key: value for key, value in grid.items() if key not in SEEDS}
        grid |= given
        check_keys(grid, [*AXES, *SETTABLE, *TABLES], f"key in plan {where}")
        for key in ("protocol", "dataset", "method"):
            if key not in grid:
                raise UserError(f"a grid of plan {where} has no {key}; add {key} = ... .")
        for key, value in grid.items():
            cure = (
                "give a number of seeds (3) or a list of them ([0, 1, 2])" if key in SEEDS else "correct it"
            )
            convert(value, KINDS.get(key, Any), f"plan {where}", cure, key)
        hparams, weighting, tuning = (grid.pop(key, {}) for key in TABLES)
        balance.check_tables(weighting, f"plan {where}")
        scale = grid.pop("lr_scale", 1.0)
        rates = {"": 1.0, **scale} if isinstance(scale, dict) else {"": scale}
        named = [*hparams, *tuning, *filter(None, rates)]
        check_keys(named, registry.method_names(), f"method in hparams, tuning or lr_scale of plan {where}")
        grid["seeds"] = _seed_pairs(grid, where)
        grid = {"balance": balance.EQUAL} | grid
        axes = {key: choices(value, key in LISTS) for key, value in grid.items()}
        for key, values in axes.items():
            if not values:
                raise UserError(f"{key} = [] in plan {where} leaves nothing to run; give at least one value.")
        cells = []
        for chosen in itertools.product(*axes.values()):
            cell = dict(zip(axes, chosen, strict=True))
            cell["set"] = {key: cell.pop(key) for key in SETTABLE if key in cell}
            method = cell["method"]
            cell |= {"tuning": searched(tuning.get(method), where), "weighting": weighting}
            own = self._own_hparams(method, hparams.get(method, {})) | {k: [v] for k, v in removed.items()}
            scales = choices(rates.get(method, rates[""]), False)
            for rate, *values in itertools.product(scales, *own.values()):
                cells.append(cell | {"hparams": dict(zip(own, values, strict=True)), "lr_scale": rate})
                _check_number(len(cells), where)
        return cells

    def _own_hparams(self, method: str, given: dict[str, Any]) -> dict[str, list[Any]]:
        """Return {name: values to run} of one method: the grid's, then --set hparams.[METHOD.]NAME."""
        own = dict(given)
        defaults, hints = registry.hyperparameters(method)
        for key, value in self.settings.items():
            first, *middle = key.split(".")[:-1] or [""]
            name = key.split(".")[-1]
            # Of a named method, an unknown name fails when it is resolved.
            if first == "hparams" and (middle == [method] or (not middle and name in defaults)):
                own[name] = value
                self.used.add(key)
        return {k: choices(v, typing.get_origin(hints.get(k)) is tuple) for k, v in own.items()}

    def _weightings(self, name: str, table: dict[str, Any], tasks: Sequence[str]) -> list[dict[str, Any]]:
        """Return the hyperparameters away from their defaults of each run of a weighting.

        table: the grid's; --set weighting.NAME.KEY comes after it.
        """
        own = dict(table)
        for key, value in self.settings.items():
            first, _, rest = key.partition(f".{name}.")
            if first == "weighting":
                own[rest] = value
                self.used.add(key)
        values = (choices(value, balance.takes_list(name, key)) for key, value in own.items())
        return [
            balance.resolve(name, dict(zip(own, chosen, strict=True)), tasks)
            for chosen in itertools.product(*values)
        ]

    def _resolved(self, cell: dict[str, Any]) -> list[RunSpec]:
        """Return the runs of a cell: T for a one-task method, else one; none where the method cannot run."""
        from datasets import labels

        dataset = registry.open_dataset(cell["dataset"], self.data)
        setting = str(labels.parse(cell.get("labels", registry.default_labels(dataset.name))))
        weighting = cell["balance"]
        balance.check(weighting)
        protocol = self._protocol(cell["protocol"], cell["set"], dataset)
        if not dataset.here():  # planning needs no data; a run will say what is missing
            absent = f"{dataset.name} was not found in {self.data}"
            self.notes[f"{absent}, so ids assume the variant {dataset.variant!r}"] = None
        name = cell["method"]
        method = registry.method(name)
        tasks_of = {task: dataset.tasks[task] for task in protocol.tasks}
        reason, kinds = method.skip(tasks_of), plugged.kind_codes(tasks_of.values())
        if kinds and not method.own_kinds:
            reason = f"it knows only the kinds of tasks of this program, and not {', '.join(kinds)}"
        held = protocol.tasks if self.taught else getattr(dataset, "teachers", ())
        if not reason and getattr(method, "uses_teacher", False) and not set(held) & set(protocol.tasks):
            reason = f"it learns from a teacher's maps, and {dataset.variant} has none of these tasks"
        if reason:
            self.notes[f"{name} is skipped: {reason}"] = None
            return []
        if weighting != balance.EQUAL and (method.one_task or len(protocol.tasks) == 1):
            text = f"{name} runs with balance {balance.EQUAL}, not {weighting}: one task has nothing to weigh"
            self.notes[text] = None
            weighting = balance.EQUAL
        if note := balance.note(weighting):
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
                # A published mask draws no labels.
                label_seed=0 if setting.startswith("published:") else label_seed,
                train_seed=train_seed,
                balance=weighting,
                plugin=registry.plugin_content(name),
                tuning=cell["tuning"],
                lr_scale=float(cell["lr_scale"]),
                contrasts=self.contrasts,
                balance_version=balance.BALANCES[weighting].version,
                weighting=values,
                kinds=kinds,
            )
            for values in self._weightings(weighting, cell["weighting"].get(weighting, {}), protocol.tasks)
            for tasks in ([(t,) for t in protocol.tasks] if method.one_task else [protocol.tasks])
        ]

    def _protocol(self, name: str, overrides: dict[str, Any], dataset: Dataset) -> Protocol:
        """Return a cell's protocol with what it leaves to the data set, weights known by content, checked."""
        from methods.networks.build import WEIGHTS, check_encoder

        protocol = protocols.load(name, overrides)
        self.protocols[protocol.name] = name
        if not all(map(len, (protocol.tasks, protocol.size))):  # left to the data set
            tasks, size = list(protocol.tasks or dataset.tasks), list(protocol.size)
            left = {"tasks": tasks, "size": size or list(dataset.default_size)}
            protocol = protocols.load(name, overrides | left)
        protocol = replace(
            protocol, weights=self._content("weights", protocol.weights, WEIGHTS),
            init=self._content("init", protocol.init, ("none",)),
        )  # fmt: skip
        check_encoder(protocol.encoder, protocol.weights)
        compared = filter(None, (protocol.reference, protocol.baseline))
        check_keys(compared, registry.method_names(), f"method of protocol {protocol.name}")
        check_keys(
            protocol.tasks, dataset.tasks, f"task of data set {dataset.name} (protocol {protocol.name})"
        )
        return protocol

    def _content(self, key: str, value: str, words: Sequence[str]) -> str:
        """Return one of `words` as it is, and a file's hash: its content, not its place, makes a run."""
        if value in words:
            return value
        file = Path(value)
        if not file.is_file():
            raise UserError(f"{key} = {value!r} is neither one of {', '.join(map(repr, words))} nor a file.")
        known = (content for content, path in self.weights.items() if path == file)  # read once
        content = next(known, "") or "sha256:" + file_hash(file)[:16]
        self.weights[content] = file
        return content


def _seed_pairs(grid: dict[str, Any], where: str) -> list[tuple[int, int]]:
    """Return (label seed, train seed) of each seed; takes label_seeds and train_seeds out of the grid."""
    apart = {key: grid.pop(key) for key in SEEDS[1:] if key in grid}
    if apart and "seeds" in grid:
        raise UserError(
            f"a grid of plan {where} has seeds and {next(iter(apart))}; give seeds, which are both, or those."
        )

    def listed(seeds: int | list[int]) -> list[int]:
        return seeds if isinstance(seeds, list) else list(range(seeds))

    if apart:
        labels, trains = (listed(apart.get(key, [0])) for key in SEEDS[1:])
        _check_number(len(labels) * len(trains), where)
        return list(itertools.product(labels, trains))
    return [(seed, seed) for seed in listed(grid.get("seeds", 1))]


def _check_number(runs: int, where: str) -> None:
    if runs > MOST:
        raise UserError(f"a grid of plan {where} makes more than {MOST} runs; give it fewer values.")


class Tuning(Struct, forbid_unknown_fields=True):
    """A plan's `tuning` table: of learning rates, or of trials, which were `distinct` if fewer than asked.

    epochs: of trials of rates that were shorter than the runs.
    """

    holdout: Share
    trials: Count | None = None
    distinct: Count | None = None
    rates: list[Positive] = []
    seeds: Count = 1
    epochs: Positive | None = None


def searched(table: dict[str, Any] | None, where: str) -> str:
    """Return how a run was searched, as specs and boards say it, of a tuning table of the plan `where`.

    `20 trials on the last 10% of train`, `5 of 20 trials, all there are, on ...` or `learning rates 0.3, 1
    (of the protocol's) on 2 seeds, for 20 epochs, judged on ...`; "" without a table. Raises `UserError`.
    """
    if table is None:
        return ""
    found = convert(table, Tuning, f"tuning in plan {where}", "let `bench tune` write it")
    own = ("rates", "seeds", "epochs") if found.rates else ("trials", "distinct")
    check_keys(table, ("holdout", *own), f"key beside {own[0]} for tuning in plan {where}")
    if found.rates:
        rates = ", ".join(f"{rate:g}" for rate in sorted(found.rates))
        seeds = f"{found.seeds} seed{'s' * (found.seeds > 1)}"
        length = f" for {found.epochs:g} epochs," if found.epochs else ""
        of = f"learning rates {rates} (of the protocol's) on {seeds},{length} judged"
    elif not found.trials:
        raise UserError(f"tuning in plan {where} has neither trials nor rates; let `bench tune` write it.")
    else:
        few = f"{found.distinct} of {found.trials} trials, all there are,"
        of = few if found.distinct else f"{found.trials} trials"
    return f"{of} on the last {found.holdout:.0%} of train"
