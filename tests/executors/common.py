"""Cells with a fault, a pool for them, and a watcher that remembers what it was told."""

import json
import os
from pathlib import Path
from typing import Any

from benchmark.execute import attempt as execute
from benchmark.execute.child import Job
from benchmark.execute.pool import Pool
from benchmark.runs.rundir import RunDir
from benchmark.spec import plan, plugins
from benchmark.spec.run import RunSpec
from tests.test_cli import TINY

PLUGIN = Path(__file__).parent / "trouble.py"


class Log:
    """A watcher for tests."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str, str]] = []
        self.notes: list[str] = []
        self.steps = 0

    def state(self, spec: RunSpec, state: str, message: str = "") -> None:
        self.states.append((spec.id, state, message))

    def step(self, spec: RunSpec, step: int, steps: int, loss: float) -> None:
        self.steps += 1

    def note(self, message: str) -> None:
        self.notes.append(message)

    def count(self, spec: RunSpec, state: str) -> int:
        return sum((i, s) == (spec.id, state) for i, s, _ in self.states)


def cells(
    data: Path, fault: str = "none", seeds: int = 1, place: Path | None = None, **more: Any
) -> tuple[RunSpec, ...]:
    """Runs of the method with this fault, of 12 steps each."""
    plugins.use(PLUGIN)
    own = {"fault": fault} | ({"place": str(place)} if place else {}) | more
    settings = [f"hparams.trouble.{key}={json.dumps(value)}" for key, value in own.items()]
    return plan.make(["trouble"], [*TINY, f"seeds={seeds}", *settings], data).cells


def run(
    chosen: tuple[RunSpec, ...],
    results: Path,
    data: Path,
    *,
    workers: int = 2,
    every: int = 4,
    hang: float = 60,
    **more: bool,
) -> tuple[dict[str, list[RunSpec]], Log]:
    """Through a pool on the CPU."""
    log = Log()
    job = Job(results, data, checkpoint_every=every, plugins=(PLUGIN,))
    return Pool(job, execute.Data(data, log.note), [None] * workers, log, hang_after=hang, **more).run(
        chosen
    ), log


def record(results: Path, spec: RunSpec) -> dict[str, Any]:
    """A record but for what differs between two computations of it."""
    found = RunDir(results, spec.folder).record
    assert found is not None
    return {key: value for key, value in found.items() if key not in ("cost", "environment", "digest")}


def error(results: Path, spec: RunSpec) -> str:
    return RunDir(results, spec.folder).file("error.txt").read_text()


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
