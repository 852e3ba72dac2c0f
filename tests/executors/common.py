"""Runs with a fault, a way to carry them out, and a watcher that remembers what it was told."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.execute.options import Options
from benchmark.execute.workers import Outcomes, carry_out
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan, plugins
from benchmark.spec.run import RunSpec
from tests import helpers
from tests.commands import TINY, TROUBLE, records


class Log:
    """A watcher for tests. then: called with every state and step, as (spec, state or step)."""

    def __init__(self, then: Callable[[RunSpec, Any], object] = lambda spec, what: None) -> None:
        self.states: list[tuple[str, str, str]] = []
        self.notes: list[str] = []
        self.steps = 0
        self.then = then

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        self.states.append((spec.id, state, message))
        self.then(spec, state)

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        self.steps += 1
        self.then(spec, step)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def count(self, spec: RunSpec, state: str) -> int:
        return sum((i, s) == (spec.id, state) for i, s, _ in self.states)

    def reasons(self, spec: RunSpec) -> list[str]:
        return [message for i, state, message in self.states if (i, state) == (spec.id, "failed") and message]


def cells(
    data: Path, fault: str = "none", seeds: int = 1, place: Path | None = None, **more: Any
) -> tuple[RunSpec, ...]:
    """Runs of the method with this fault, of 12 steps each."""
    plugins.use(TROUBLE)
    own = {"fault": fault} | ({"place": str(place)} if place else {}) | more
    settings = [f"hparams.trouble.{key}={json.dumps(value)}" for key, value in own.items()]
    return plan.make(["trouble"], [*TINY, f"seeds={seeds}", *settings], data).cells


def run(
    chosen: tuple[RunSpec, ...], results: Path, data: Path, log: Log | None = None, *,
    workers: int = 2, checkpoint_every: int = 4, **more: Any,
) -> tuple[Outcomes, Log]:  # fmt: skip
    """Carry runs out on the CPU, by workers or, for 0, in this process."""
    log = log or Log()
    options = Options(results, data, "cpu", workers=workers, checkpoint_every=checkpoint_every, **more)
    return carry_out(chosen, options, log), log


def record(results: Path, spec: RunSpec) -> dict[str, Any]:
    """A record but for what differs between two computations of it."""
    return computed(results)[spec.id]


def computed(results: Path) -> dict[str, dict[str, Any]]:
    """{id: record} but for what differs between two computations."""
    return {name: helpers.computed(found) for name, found in records(results).items()}


def error(results: Path, spec: RunSpec) -> str:
    return RunDir(results, spec.folder).file("error.txt").read_text()


def held_elsewhere(results: Path, spec: RunSpec, age: float = 0.0) -> Path:
    """A claim of another host, whose last heartbeat was `age` seconds ago by the folder's own clock."""
    folder = RunDir(results, spec.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    claim = folder.file("claim-000004.json")
    claim.write_text(json.dumps({"token": "theirs", "host": "another", "pid": 1, "started": "1"}))
    stamp = claim.stat().st_mtime - age
    os.utime(claim, (stamp, stamp))
    return claim


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`, those that have ended but for their exit code left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def holder(results: Path, pid: int) -> str | None:
    """The run that a process holds by a claim."""
    for path in results.glob("*/*/claim-*.json"):
        try:
            if json.loads(path.read_text()).get("pid") == pid:
                return path.parent.name
        except (OSError, ValueError):
            continue
    return None


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
