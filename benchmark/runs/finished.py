"""What was found finished, so that the same command again need not plan: planning imports torch, which takes
seconds.

A note of it lies in `<results>/.finished/`. It holds only while nothing that planning reads has changed: the
command, the plan with all that it includes, files of protocols and weights, the code, the data folder's first
two levels, and the records.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark import ROOT
from benchmark.errors import UserError
from benchmark.files import write_json
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan, plugins, protocol, registry
from benchmark.spec.plan import Plan

FOLDER = ".finished"
CODE = ("benchmark", "methods", "datasets")


def key(arguments: Sequence[str], settings: Sequence[str]) -> str | None:
    """A name for what a command means to the code as it is now; None for a plan that cannot be read, which
    planning will tell.
    """
    methods = registry.method_names()
    try:
        plans = [plan.read(name) for name in arguments if name not in methods] or [plan.read(plan.DEFAULT)]
    except UserError:
        return None
    code = [
        path
        for folder in CODE
        for path in sorted((ROOT / folder).rglob("*.*"))
        if path.suffix in (".py", ".toml")
    ]
    own = [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in plugins.files()]
    content = [list(arguments), list(settings), plans, _stamps(code), own]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def recall(name: str, results: Path, data: Path) -> dict[str, Any] | None:
    """What `remember` was given under this name, as {"states": {id: "done"}, "boards": [file]}, if nothing
    has changed.
    """
    try:
        found = json.loads((results / FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        folders, paths, boards = found["folders"], found["paths"], found["boards"]
        now = _seen(results, data, folders.values(), paths) | {
            "folders": folders,
            "paths": paths,
            "boards": boards,
        }
        if json.loads(json.dumps(now)) != found or not all((results / board).is_file() for board in boards):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or not one of this program's
        return None
    return {"states": dict.fromkeys(folders, "done"), "boards": boards}


def remember(name: str, results: Path, data: Path, made: Plan, boards: Sequence[str]) -> None:
    """Note that all runs of a plan are done. boards: their files, below the results folder."""
    folders = {spec.id: spec.folder for spec in made.cells}
    own = [path for name in made.protocols.values() for path in protocol.files(name)]
    paths = [str(path) for path in (*made.weights.values(), *own)]
    seen = _seen(results, data, folders.values(), paths)
    with suppress(OSError):  # on a full or read-only disk, the next command plans again
        (results / FOLDER).mkdir(exist_ok=True)
        write_json(
            results / FOLDER / f"{name}.json",
            seen | {"folders": folders, "paths": paths, "boards": list(boards)},
        )


def _seen(results: Path, data: Path, folders: Iterable[str], paths: Iterable[str]) -> dict[str, Any]:
    """What must not change. The data folder's files below its second level are its data sets' own affair."""
    records = _stamps(RunDir(results, folder).file("record.json") for folder in sorted(folders))
    here = sorted(data.glob("*")) + sorted(data.glob("*/*"))
    return {
        "records": records,
        "data": [str(data.resolve()), _stamps(here)],
        "files": _stamps(map(Path, paths)),
    }


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """(path, size, time of the last change) of files. Raises `OSError` for one that is not there."""
    found = []
    for path in paths:
        stat = os.stat(path)
        found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found
