"""Commands that make the runs of a row again, with those of its reference."""

from __future__ import annotations

import json
import math
import re
import shlex
import tomllib
from typing import Any

from benchmark.report.records import Failure, Record
from benchmark.report.references import named
from benchmark.report.rows import Group, Row, shipped_values
from benchmark.spec import plan
from benchmark.spec import protocol as protocols
from benchmark.spec.weighting import EQUAL

_SLICE = r"on the last (\d+)% of train"
_RATES = re.compile(
    r"learning rates ([^()]+) \(of the protocol's\) on (\d+) seeds?,(?: for (\S+) epochs,)? judged " + _SLICE
)
_TRIALS = re.compile(r"(?:(\d+) of )?(\d+) trials(?:, all there are,)? " + _SLICE)


def command(g: Group, row: Row) -> str:
    """Return `bench run METHOD REFERENCE --set ...`, "" for a row without runs.

    Several, joined by &&, where seeds form no single grid. It sets every value that the default plan sets
    otherwise, and every hyperparameter away from its default. A record knows a plug-in and pretrained weights
    by content alone, so their files stand there as names to replace.
    """
    failed = [f for failures in row.failed.values() for f in failures]
    items: list[Record | Failure] = [*row.records, *failed]
    seeds = plan.seed_grids(row.attempted, g.labels) if items else []
    return " && ".join(_line(g, items[0].spec, each) for each in seeds)


def _line(g: Group, spec: dict[str, Any], seeds: dict[str, Any]) -> str:
    method, balance, keywords = spec["method"], spec["balance"], spec["hyperparameters"]
    settings = {"protocol": g.protocol["name"], "dataset": spec["variant"], "labels": g.labels}
    settings |= _protocol(g.protocol) | ({"balance": balance} if balance != EQUAL else {})
    settings |= {f"weighting.{balance}.{key}": value for key, value in spec.get("weighting", {}).items()}
    reference = named(g.rows, g.protocol["reference"])
    specs = [reference.records[0].spec] if reference and reference.records else []
    both = {each["method"]: each for each in (*specs, spec)}
    rates = {name: rate for name, s in both.items() if (rate := s.get("lr_scale", 1.0)) != 1.0}
    tuned = {name: table for name, s in both.items() if (table := _tuning(s.get("tuning", "")))}
    settings |= {key: tables for key, tables in (("lr_scale", rates), ("tuning", tuned)) if tables}
    grids = plan.read(plan.DEFAULT)["grid"]  # it gives keywords too
    given = {name for grid in grids for name in grid.get("hparams", {}).get(method, {})}
    names = sorted({*spec["changed"], *(given & keywords.keys())})
    settings |= {f"hparams.{method}.{name}": keywords[name] for name in names}
    texts = [f"{key}={_toml(value)}" for key, value in (settings | seeds).items()]
    methods = dict.fromkeys(filter(None, (method, g.protocol["reference"])))
    files = [*([method] if spec.get("plugin") else []), *spec.get("kinds", {})]
    plugins = [word for file in dict.fromkeys(files) for word in ("--plugin", f"{file}.py")]
    return shlex.join(["bench", "run", *methods, *plugins, *(w for text in texts for w in ("--set", text))])


def _tuning(text: str) -> dict[str, Any]:
    """Return the table that `benchmark.spec.grid.searched` says as this text, {} for no such text."""
    if found := _RATES.fullmatch(text):
        rates, seeds, epochs, share = found.groups()
        length = {"epochs": float(epochs)} if epochs else {}
        table: dict[str, Any] = {
            "rates": [float(rate) for rate in rates.split(", ")],
            "seeds": int(seeds),
        } | length
    elif found := _TRIALS.fullmatch(text):
        distinct, trials, share = found.groups()
        table = {"trials": int(trials)} | ({"distinct": int(distinct)} if distinct else {})
    else:
        return {}
    return table | {"holdout": int(share) / 100}


def _protocol(protocol: dict[str, Any]) -> dict[str, Any]:
    """Return its values away from the shipped protocol's; a file for another, or for another version."""
    shipped = shipped_values(protocol["name"])
    if shipped is None or shipped["version"] != protocol["version"]:
        return {"protocol": f"{protocol['name']}.toml"}
    changed = {k: v for k, v in protocol.items() if k in protocols.SETTABLE and v != shipped.get(k)}
    for key in ("weights", "init"):
        if str(changed.get(key, "")).startswith("sha256:"):
            changed[key] = f"FILE-{str(changed[key]).removeprefix('sha256:')}"
    return changed


def _toml(value: Any, inside: bool = False) -> str:
    """Return a value as `--set` reads it: TOML, a text without quotes where it can be no other value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(inner, True)}" for k, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(inner, True) for inner in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # json's Infinity and NaN are none of TOML's words
    if value is None or isinstance(value, str):
        text = "none" if value is None else value
        try:
            tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            return json.dumps(text) if inside else text
    return json.dumps(value)
