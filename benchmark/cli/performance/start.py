"""From the start of the process to the first step done: `bench run` itself, watched from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from benchmark import ROOT
from benchmark.cli.performance.found import Column, Found
from benchmark.cli.performance.measure import Timing
from benchmark.cli.performance.subject import Ground
from benchmark.errors import UserError
from benchmark.spec import plugins

REPEATS = 3
WAIT_SECONDS = 600.0
ONE_STEP = ("--set", "epochs=1e-9", "--set", "evaluations=0", "--set", "seeds=1")


def start(ground: Ground) -> Found:
    """A first process finds or makes the packed data and is listed apart. Raises `UserError` where a process
    ends without one.
    """
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        *ground.arguments,
        *ONE_STEP,
        "--device",
        ground.device,
    ]
    command += [part for file in plugins.files() for part in ("--plugin", str(file))]
    command += ["--data", str(ground.data.resolve())]
    imports = Timing(tuple(1e3 * _ended([sys.executable, "-c", "import torch"]) for _ in range(REPEATS)))
    first = first_step(command)
    steps = Timing(tuple(1e3 * first_step(command) for _ in range(REPEATS)))
    rows = [
        {"what": "import torch, and nothing else", "seconds": imports.median / 1e3, **imports.row("start")},
        {
            "what": f"first step of {ground.subjects[0].name}",
            "seconds": steps.median / 1e3,
            **steps.row("start"),
        },
        {"what": "the same the very first time", "seconds": first},
    ]
    columns = (Column("from the start of the process", "what"), Column("s", "seconds", "{:.2f}"))
    return Found("start", f"`bench run`, the median of {REPEATS} processes", columns, rows)


def _ended(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def first_step(command: Sequence[str]) -> float:
    """Seconds until a run of the command has logged its first step; then it is stopped."""
    with TemporaryDirectory(prefix="bench-perf-") as place, TemporaryFile("w+") as said:
        began = time.perf_counter()
        process = subprocess.Popen([*command, "--results", place], cwd=ROOT, stdout=said, stderr=said)
        try:
            while not _stepped(Path(place)):
                if process.poll() is not None or time.perf_counter() - began > WAIT_SECONDS:
                    said.seek(0)
                    last = (said.read().strip().splitlines() or ["nothing"])[-1]
                    raise UserError(
                        f"no step was taken by `bench {' '.join(command[3:])}`, which said: {last}"
                    )
                time.sleep(0.002)
            return time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()


def _stepped(results: Path) -> bool:
    return any(path.stat().st_size for path in results.glob("*/*/curve.jsonl"))
