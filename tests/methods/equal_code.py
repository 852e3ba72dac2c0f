"""Fill methods/equal_code.toml: `python -m tests.methods.equal_code REVISION`, before a change is pushed.

Runs every method whose code is another than at REVISION in both trees, on every kind of task, and lists the
two hashes as equal where no bit of a trajectory and no version differs.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmark.files import read_toml
from benchmark.spec import registry
from tests.conftest import ROOT
from tests.methods.test_golden import CASES, THREE, trajectory

FILE = ROOT / "methods" / "equal_code.toml"
CHOSEN = (THREE, ("parts", "edge", "saliency"))


def listed(known: dict[str, list[list[str]]], name: str, earlier: str, now: str) -> None:
    """Add a pair of equal hashes to those of a method."""
    pair, rest = [now, earlier], list[list[str]]()
    for hashes in known.get(name, []):
        if {now, earlier} & {*hashes}:
            pair += hashes
        else:
            rest.append(hashes)
    known[name] = [list(dict.fromkeys(pair)), *rest]


def numbers(cases: list[str]) -> dict[str, Any]:
    """{case: its trajectories}, floats as JSON has them, which is to the bit."""
    torch.set_num_threads(1)
    return {case: [trajectory(case, steps=2, chosen=tasks) for tasks in CHOSEN] for case in cases}


def main(revision: str) -> None:
    """Compare with a revision."""
    with tempfile.TemporaryDirectory() as folder:
        paths = ("benchmark", "methods", "datasets", "tests")
        packed = subprocess.check_output(["git", "archive", revision, *paths], cwd=ROOT)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        for name in ("equal_code.py", "test_golden.py"):  # both trees are measured alike
            shutil.copy(Path(__file__).with_name(name), Path(folder, "tests", "methods", name))

        def there(function: str, *arguments: str) -> Any:
            command = [sys.executable, "-m", "tests.methods.equal_code", function, *arguments]
            environment = os.environ | {"PYTHONPATH": folder}
            return json.loads(subprocess.check_output(command, cwd=folder, env=environment))

        earlier, now = there("--sources"), sources()
        changed = [case for case, (name, _) in CASES.items() if earlier.get(name, now[name]) != now[name]]
        before, today, known = there("--numbers", *changed), numbers(changed), read_toml(FILE)
    for name in dict.fromkeys(CASES[case][0] for case in changed):
        cases = [case for case in changed if CASES[case][0] == name]
        equal = json.dumps([before[case] for case in cases]) == json.dumps([today[case] for case in cases])
        print(f"{name}: {earlier[name]} and {now[name]} {'are equal' if equal else 'DIFFER in numbers'}")
        if equal:
            listed(known, name, earlier[name], now[name])
    comment = "# Hashes of code of equal numbers, see README.md: python -m tests.methods.equal_code REVISION"
    lines = [comment, *(f"{name} = {json.dumps(known[name])}" for name in sorted(known))]
    FILE.write_text("\n".join(lines) + "\n")


def sources() -> dict[str, str]:
    """{method: hash of its code}."""
    return {name: registry.source_hash(name) for name in registry.method_names()}


if __name__ == "__main__":
    if sys.argv[1] in ("--sources", "--numbers"):
        print(json.dumps(sources() if sys.argv[1] == "--sources" else numbers(sys.argv[2:])))
    else:
        main(sys.argv[1])
