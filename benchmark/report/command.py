"""Commands that make the runs of a row again, with those of its reference."""

from __future__ import annotations

import json
import math
import shlex
import tomllib
from typing import Any

from benchmark.report.records import Failure, Record
from benchmark.report.rows import Group, Row, shipped_values
from benchmark.spec import plan
from benchmark.spec import protocol as protocols
from benchmark.spec.weighting import EQUAL


def command(g: Group, row: Row) -> str:
    """Return `bench run METHOD REFERENCE --set ...`, "" for a row without runs.

    Several, joined by &&, where seeds form no single grid. It sets every value that the default plan sets
    otherwise, and every hyperparameter away from its default. A record knows a plug-in and pretrained weights
    by content alone, so their files stand there as names to replace. How it was tuned is left out.
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
    if (rate := spec.get("lr_scale", 1.0)) != 1.0:
        settings["lr_scale"] = {method: rate}
    grids = plan.read(plan.DEFAULT)["grid"]  # it gives keywords too
    given = {name for grid in grids for name in grid.get("hparams", {}).get(method, {})}
    names = sorted({*spec["changed"], *(given & keywords.keys())})
    settings |= {f"hparams.{method}.{name}": keywords[name] for name in names}
    texts = [f"{key}={_toml(value)}" for key, value in (settings | seeds).items()]
    methods = dict.fromkeys(filter(None, (method, g.protocol["reference"])))
    files = [*([method] if spec.get("plugin") else []), *spec.get("kinds", {})]
    plugins = [word for file in dict.fromkeys(files) for word in ("--plugin", f"{file}.py")]
    return shlex.join(["bench", "run", *methods, *plugins, *(w for text in texts for w in ("--set", text))])


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
