"""What is varied: a TOML plan, or methods named on the command line, to the list of runs."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from benchmark.errors import UserError, shown, unknown
from benchmark.files import parse, read_toml
from benchmark.spec import ablation, registry, select
from benchmark.spec import protocol as protocols
from benchmark.spec.ablation import Ablation
from benchmark.spec.grid import Expansion, renamed
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import BALANCES, EQUAL
from benchmark.typed import check_keys, convert

FOLDER = Path(__file__).parents[1] / "plans"
DEFAULT = "quickstart"
Tables = list[dict[str, Any]]

KEYS: dict[str, Any] = {
    "summary": str,
    "include": list[str],
    "grid": Tables,
    "exclude": Tables,
    "ablate": dict[str, Any],
    "contrast": Tables,
}
CURES = {key: f"write [[{key}]] above its keys" for key in ("grid", "exclude", "contrast")}
CURES |= {"ablate": "write [ablate] above its keys", "include": 'write for example include = ["quickstart"]'}


@dataclass(frozen=True)
class Plan:
    """The runs of a plan in order, without repeats.

    notes: what was skipped or assumed, and why. weights: the files of pretrained weights by the content that
    stands for them in specs. ablation: the rows of its own [ablate]. protocols: the names or files that it
    gives protocols by, by their names in specs.
    """

    name: str
    cells: tuple[RunSpec, ...]
    notes: tuple[str, ...] = ()
    weights: dict[str, Path] = field(default_factory=dict)
    ablation: Ablation | None = None
    protocols: dict[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Return the names of the shipped plans."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> dict[str, Any]:
    """Return the tables of the plan of that name or .toml file, with "name".

    Under "include" are the plans that it includes, read in the same way. The files are read once, so what is
    made of them does not change when they do.
    """
    return _read(name, Path(), ())


def _read(name: str, base: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    """base: the folder of a relative path. chain: the files that include this one, outermost first."""
    path = base / name if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        if path.parent == FOLDER:
            raise unknown("plan", name, names())
        raise UserError(f"there is no plan file {path}.")
    if path.resolve() in chain:
        circle = " -> ".join(p.name for p in (*chain[chain.index(path.resolve()) :], path))
        raise UserError(f"plans include each other in a circle: {circle}; remove one of these includes.")
    values = read_toml(path)
    check_keys(values, KEYS, f"key in {path}")
    for key, value in values.items():
        convert(value, KEYS[key], str(path), CURES.get(key, "correct it"), key)
    if not (values.keys() & {"grid", "include", "ablate"}):
        raise UserError(f"{path} has no [[grid]]; add one with protocol, dataset, labels, method and seeds.")
    values = {"grid": [], "exclude": [], "contrast": []} | values
    values["exclude"] = [renamed(table) for table in values["exclude"]]
    included = [_read(other, path.parent, (*chain, path.resolve())) for other in values.get("include", [])]
    return values | {"include": included, "name": path.stem}


def make(arguments: list[str], settings: list[str], data: Path, taught: bool = False) -> Plan:
    """Return the plan that arguments mean: its name or file, methods' names, or a plan and methods of it.

    taught: as if all data had a teacher's maps.
    """
    methods = [a for a in arguments if a in registry.method_names()]
    others = [a for a in arguments if a not in methods]
    if len(others) > 1:
        raise UserError(
            f"{others[1]!r} is neither a method nor the only plan named; give one plan and methods of it."
        )
    if others and not others[0].endswith(".toml") and others[0] not in names():
        raise registry.unknown_method("plan or method", others[0], [*names(), *registry.method_names()])
    values = read(others[0] if others else DEFAULT)
    return expand(values, _assignments(settings), methods, data, taught)


def _assignments(settings: list[str]) -> dict[str, Any]:
    result = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not key.strip():
            raise UserError(
                f"--set {shown(setting)} is not key=value; write for example --set labels=random."
            )
        try:
            found = parse(f"value = {text}", tomllib.loads)
            result[key.strip()] = found["value"] if len(found) == 1 else text.strip()
        except tomllib.TOMLDecodeError:
            result[key.strip()] = text.strip()  # a bare word
        except ValueError as error:
            raise UserError(f"--set {shown(setting)} is not usable: {error}; give another value.") from None
    return result


def expand(
    values: dict[str, Any], settings: dict[str, Any], methods: list[str], data: Path, taught: bool = False
) -> Plan:
    """Return every cell of a plan with settings on top. Raises `UserError` for what does not fit."""
    expansion = Expansion(settings, methods, data, taught)
    expansion.contrasts = _contrasts(values)
    cells, ablated = _runs(values, expansion)
    notes = tuple(expansion.notes)
    for key in settings:
        if key.startswith("hparams.") and key not in expansion.used:
            known = {k for m in {s.method for s in cells} for k in registry.hyperparameters(m)[0]}
            raise unknown("hyperparameter in --set", key.split(".")[-1], known)
        if key.startswith("weighting.") and key not in expansion.used:
            _, name, _ = f"{key}..".split(".", 2)
            check_keys([name], BALANCES, "weighting in --set")
            raise UserError(f"--set {key} is of no run: none has balance {name}; add --set balance={name}.")
    if not cells:
        raise UserError(
            f"plan {values['name']} has no run left: {'; '.join(notes) or 'no method of it was named'}."
        )
    if not settings and not methods:
        select.check_contrasts(expansion.contrasts, cells, values["name"])
    return Plan(values["name"], tuple(cells), notes, expansion.weights, ablated, expansion.protocols)


def _contrasts(values: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the contrasts of a plan and of the plans that it includes, each once."""
    found = [contrast for other in values["include"] for contrast in _contrasts(other)]
    found += select.read_contrasts(values.get("contrast", []), values["name"])
    return tuple({contrast["name"]: contrast for contrast in found}.values())


def _runs(values: dict[str, Any], expansion: Expansion) -> tuple[list[RunSpec], Ablation | None]:
    """Return the runs of included plans, grids and [ablate], without what an [[exclude]] leaves out."""
    name = values["name"]
    found = [spec for other in values["include"] for spec in _runs(other, expansion)[0]]
    found += [spec for grid in values["grid"] for spec in expansion.specs(grid, name)]
    ablated = ablation.expand(values["ablate"], name, expansion) if "ablate" in values else None
    found += [spec for row in ablated.rows for spec in row.cells] if ablated else []
    unique = list({spec.id: spec for spec in found}.values())
    whole = not expansion.settings and not expansion.methods
    kept, notes = select.left_out(unique, values["exclude"], name, expansion.weights, whole)
    expansion.notes |= dict.fromkeys(notes)
    return kept, ablated.only({spec.id for spec in kept}) if ablated else None


def text(
    base: Plan, runs: Sequence[RunSpec], tuning: Mapping[str, dict[str, Any]], summary: str, data: Path
) -> str:
    """Return a plan, in TOML, of runs like those of `base`. tuning: {id of a run: how it was searched}.

    Raises `UserError` where the text, read as `bench run` will, does not give just those runs.
    """
    content: dict[str, Any] = {"summary": summary, "grid": []}
    for grid, spec in _grids(runs, base):
        grid["tuning"] = {spec.method: tuning[spec.id]}
        if spec.changed:
            own = {name: spec.hyperparameters[name] for name in spec.changed}
            grid["hparams"] = {spec.method: _without_none(own)}
        content["grid"].append(grid)
    content["contrast"] = [
        contrast
        for contrast in runs[0].contrasts
        if all(any(select.matches(spec, contrast[side]) for spec in runs) for side in select.SIDES)
    ]
    text = tomli_w.dumps({key: value for key, value in content.items() if value})
    values = {"name": base.name, "include": [], "exclude": []} | tomllib.loads(text)
    if {spec.id for spec in expand(values, {}, [], data).cells} != {spec.id for spec in runs}:
        raise UserError(
            f"the runs of plan {base.name} cannot be written as a plan of their own; tune on another plan."
        )
    return text


def _grids(wanted: Sequence[RunSpec], base: Plan) -> Iterable[tuple[dict[str, Any], RunSpec]]:
    """Yield (the keys of a grid, one of its runs): one or, for its seeds, several for each kind of run."""
    kinds: dict[str, list[RunSpec]] = {}
    for spec in wanted:
        kinds.setdefault(repr(replace(spec, label_seed=0, train_seed=0, tasks=())), []).append(spec)
    for specs in kinds.values():
        spec = specs[0]
        named = base.protocols[spec.protocol.name]
        grid: dict[str, Any] = {"protocol": named, "dataset": spec.variant, "labels": spec.labels}
        grid["method"] = spec.method
        grid |= {"balance": spec.balance} if spec.balance != EQUAL else {}
        grid |= {"weighting": {spec.balance: spec.weighting}} if spec.weighting else {}
        grid |= {"lr_scale": spec.lr_scale} if spec.lr_scale != 1 else {}
        files = {key: getattr(spec.protocol, key) for key in ("weights", "init")}
        own = {key: str(base.weights.get(content, content)) for key, content in files.items()}
        plain = protocols.load(named)
        for key in protocols.SETTABLE:
            value = own.get(key, getattr(spec.protocol, key))
            if value != getattr(plain, key):
                grid[key] = value
        for seeds in seed_grids({(s.label_seed, s.train_seed) for s in specs}, spec.labels):
            yield _without_none(grid) | seeds, spec


def seed_grids(pairs: Collection[tuple[int, int]], labels: str) -> list[dict[str, Any]]:
    """Return the fewest grids of label seeds times train seeds, or of seeds that are both, of these pairs."""
    # Under a published mask runs have label seed 0 whatever the seed.
    if labels.startswith("published:") or all(label == train for label, train in pairs):
        return [{"seeds": _count(train for _, train in pairs)}]
    grids: dict[tuple[int, ...], list[int]] = {}
    for label in sorted({label for label, _ in pairs}):
        trains = tuple(sorted(train for other, train in pairs if other == label))
        grids.setdefault(trains, []).append(label)
    return [{"label_seeds": _count(labels), "train_seeds": _count(found)} for found, labels in grids.items()]


def _count(seeds: Iterable[int]) -> int | list[int]:
    found = sorted(seeds)
    return len(found) if found == list(range(len(found))) else found


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: "none" if value is None else value for key, value in values.items()}
