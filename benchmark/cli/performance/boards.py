"""`bench leaderboard` from many records, as a process of its own: how long, and how much memory at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark import ROOT
from benchmark.cli.performance.found import Column, Found
from benchmark.errors import UserError
from benchmark.files import read_json
from benchmark.runs.digest import sealed
from benchmark.spec.run import run_id

RECORDS = 10_000
# A small process starts the command: the peak that the system notes of a process is at least what its parent
# held.
LAUNCHER = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
KIB_PER_MAXRSS = 1 if sys.platform != "darwin" else 1 / 1024  # Linux counts in KiB, macOS in bytes


def multiply(source: Path, folder: Path, wanted: int) -> int:
    """Write `wanted` records or somewhat more to `folder`: those in `source`, again and again under other
    seeds. Returns their number. Scores stay: they must follow from the arrays beside them, which are links to
    the source's, as pictures are. Raises `UserError` where there is no record."""
    known = [(path, read_json(path)) for path in sorted(source.glob("*.json"))]
    if not known:
        raise UserError(
            f"{source} holds no record to multiply; name another checkout's results with --published-in."
        )
    folder.mkdir(parents=True, exist_ok=True)
    seeds = 1 + max(record["spec"]["label_seed"] for _, record in known)
    rounds = -(-wanted // len(known))
    for repetition in range(rounds):
        for path, record in known:
            seed = record["spec"]["label_seed"] + repetition * seeds
            spec = record["spec"] | {
                "label_seed": seed,
                "train_seed": record["spec"]["train_seed"] + repetition * seeds,
            }
            hashes = record["hashes"] | {"labels": f"{record['hashes']['labels']}-{repetition}"}
            changed = sealed(record | {"id": run_id(spec), "spec": spec, "hashes": hashes})
            (folder / f"{changed['id']}.json").write_text(json.dumps(changed), encoding="utf-8")
            for suffix in (".npz", ".webp"):
                if path.with_suffix(suffix).exists():
                    (folder / f"{changed['id']}{suffix}").symlink_to(path.with_suffix(suffix).resolve())
    return rounds * len(known)


def measured(command: list[str]) -> tuple[float, float]:
    """(seconds, peak of its memory in GiB) of a command that ends well. Raises `UserError` with its last line
    if it does not.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise UserError(f"{' '.join(command[1:4])} ended with exit code {done.returncode} and said: {last}")
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak * KIB_PER_MAXRSS / 2**20


def leaderboard(published: Path) -> Found:
    """published: the folder whose records are multiplied."""
    with TemporaryDirectory(prefix="bench-perf-") as place:
        count = multiply(published / "records", Path(place) / "records", RECORDS)
        command = [sys.executable, "-m", "benchmark", "leaderboard", "--published", "--published-in", place]
        seconds, gib = measured(command)
        check, check_gib = measured([*command, "--check"])
    rows = [
        {"what": "tables and figures", "records": count, "seconds": seconds, "peak_gib": gib},
        {"what": "tables alone (--check)", "records": count, "seconds": check, "peak_gib": check_gib},
    ]
    columns = (
        Column("bench leaderboard", "what"),
        Column("records", "records", "{:,}"),
        Column("s", "seconds", "{:.1f}"),
        Column("peak GiB", "peak_gib", "{:.2f}"),
    )
    return Found("leaderboard", "boards from many records, in a process of its own", columns, rows)
