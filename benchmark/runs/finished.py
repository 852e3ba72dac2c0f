"""Remember that a plan is finished: the same command again need not plan, which imports torch for seconds.

The note in `<results>/.finished/` holds while nothing that planning reads has changed: the command, the plan
with all that it includes, files of protocols and weights, the code, the data folder's first two levels (what
lies deeper is the data sets' own affair), and the records.
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
from benchmark.files import file_hash, read_json, write_json
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan, plugins, protocol, registry
from benchmark.spec.plan import Plan

FOLDER = ".finished"


def key(arguments: Sequence[str], settings: Sequence[str]) -> str | None:
    """Name a command's meaning to the code as it is now; None for a plan that cannot be read."""
    methods = registry.method_names()
    try:
        plans = [plan.read(name) for name in arguments if name not in methods] or [plan.read(plan.DEFAULT)]
    except UserError:  # planning will tell
        return None
    files = (path for room in ("benchmark", "methods", "datasets") for path in (ROOT / room).rglob("*.*"))
    code = _stamps(sorted(path for path in files if path.suffix in (".py", ".toml")))
    own = [(str(path), file_hash(path)) for path in plugins.files()]
    content = json.dumps([list(arguments), list(settings), plans, code, own], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def recall(name: str, results: Path, data: Path) -> dict[str, Any] | None:
    """Return {"states": {id: "done"}, "boards": [file]} as remembered, if nothing has changed."""
    try:
        found = read_json(results / FOLDER / f"{name}.json")
        seen = _seen(results, data, found["folders"], found["paths"], found["boards"])
        if json.loads(json.dumps(seen)) == found and all((results / b).is_file() for b in found["boards"]):
            return {"states": dict.fromkeys(found["folders"], "done"), "boards": found["boards"]}
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or not ours
        pass
    return None


def remember(name: str, results: Path, data: Path, made: Plan, boards: Sequence[str]) -> None:
    """Note that all runs of a plan are done. boards: their files, below the results folder."""
    own = [path for name in made.protocols.values() for path in protocol.files(name)]
    paths = [str(path) for path in (*made.weights.values(), *own)]
    with suppress(OSError):  # on a full or read-only disk, the next command plans again
        (results / FOLDER).mkdir(exist_ok=True)
        seen = _seen(results, data, {spec.id: spec.folder for spec in made.cells}, paths, list(boards))
        write_json(results / FOLDER / f"{name}.json", seen)


def _seen(
    results: Path, data: Path, folders: dict[str, str], paths: list[str], boards: list[str]
) -> dict[str, Any]:
    records = _stamps(RunDir(results, folder).file("record.json") for folder in sorted(folders.values()))
    here = [str(data.resolve()), _stamps(sorted(data.glob("*")) + sorted(data.glob("*/*")))]
    noted = {"folders": folders, "paths": paths, "boards": boards}
    return noted | {"records": records, "data": here, "files": _stamps(map(Path, paths))}


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """(path, size, time of the last change) of files. Raises `OSError` for one that is not there."""
    return [(str(path), (stat := os.stat(path)).st_size, stat.st_mtime_ns) for path in paths]
