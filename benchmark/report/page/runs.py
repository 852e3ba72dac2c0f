"""The runs of a board as the page's drill-down shows them: what was run, what came out, where and at what
cost.
"""

from __future__ import annotations

import math
from typing import Any

from benchmark.report.board import Board
from benchmark.report.captions import seed_name
from benchmark.report.command import run_command
from benchmark.report.formats import duration, gibibytes, millions
from benchmark.report.naming import protocol_title
from benchmark.report.page.boards import slug
from benchmark.report.records import Record
from benchmark.report.rows import protocol_values


def objects(board: Board) -> list[dict[str, Any]]:
    """One object a finished run, for JSON."""
    found = {record.id: (entry.label, record) for entry in board.entries for record in entry.row.records}
    return [_object(board, label, record) for _, (label, record) in sorted(found.items())]


def _object(board: Board, label: str, record: Record) -> dict[str, Any]:
    spec, cost = record.spec, record["cost"]
    pair = (spec["label_seed"], spec["train_seed"])
    tasks = {
        name: {
            "primary": record["tasks"][name]["metric"],
            "unit": record["tasks"][name]["unit"],
            "up": record["tasks"][name]["higher_is_better"],
            "metrics": record["metrics"][name],
            "constant": record["constant"][name],
            "oracle": (record.content.get("oracle") or {}).get(name),
            "labels": record["label_counts"].get(name),
        }
        for name in spec["tasks"]
    }
    costs = {
        "training": duration(cost.get("seconds")),
        "evaluation": duration(cost.get("evaluation_seconds")),
        "images/s in training": _number(cost.get("images_per_second")),
        "steps": _number(cost.get("steps")),
        "GPU memory": gibibytes(cost.get("peak_gib")),
        "parameters in training": millions(cost.get("params_train")),
        "parameters in use": millions(cost.get("params_infer")),
    }
    return {
        "id": record.id,
        "board": slug(board.name),
        "label": label,
        "method": f"{spec['method']}, version {spec['method_version']}",
        "seed": seed_name(pair),
        "setting": {
            "protocol": protocol_title(protocol_values(spec["protocol"]), None),
            "data set": spec["variant"],
            "labels": spec["labels"],
            "label seed": spec["label_seed"],
            "train seed": spec["train_seed"],
            "loss balancing": spec["balance"],
            "images": record["images"],
        },
        "protocol": spec["protocol"],
        "hyperparameters": _plain(spec["hyperparameters"]),
        "changed": spec["changed"],
        "tasks": _plain(tasks),
        "curve": _plain(record["curve"]),
        "cost": {key: value for key, value in costs.items() if value},
        "environment": record["environment"],
        "hashes": record["hashes"],
        "command": run_command(board.group, record),
    }


def _plain(value: Any) -> Any:
    """A value without the numbers that JSON in a page cannot hold: infinite ones as texts."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
