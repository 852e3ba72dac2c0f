"""`bench run` and `bench status` as commands: failures, JSON, and the note of a finished plan."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import system
from benchmark.runs import finished
from benchmark.runs.rundir import RunDir
from tests.commands import TROUBLE, sets
from tests.conftest import ROOT, Bench
from tests.helpers import tiny_spec

TORCHLESS = """
import sys
from benchmark.cli.app import main
try: main()
finally: print('torch' in sys.modules, file=sys.stderr)
"""


def torchless(*command: object) -> "subprocess.CompletedProcess[str]":
    """A command whose last line on standard error tells whether it imported torch."""
    line = [sys.executable, "-c", TORCHLESS, *map(str, command)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_failures_are_in_the_json_with_their_reasons(bench: Bench, tmp_path: Path) -> None:
    settings = sets("seeds=2", "hparams.trouble.fault=raise")
    command = ["run", "trouble", "--plugin", TROUBLE, *settings, "--results", tmp_path]
    code, out, err = bench(*command, "--workers", 2, "--json")
    shown = json.loads(out)
    assert code == 1 == shown["exit"] and set(shown["states"].values()) == {"failed"} and not shown["boards"]
    assert set(shown["failures"].values()) == {"ValueError: broken on purpose"}
    assert shown["failures"].keys() == shown["states"].keys()
    assert "--retry-failed runs it again" in err and "failed: ValueError: broken on purpose" in err
    out = bench("status", "--results", tmp_path)[1]
    assert re.search(r"failed +thin/trouble\S+ \(ValueError: broken on purpose\)\n", out)
    assert out.endswith("2 failed\n")
    code, out, _ = bench(*command, "--json")
    assert code == 1 and json.loads(out)["failures"] == shown["failures"]


def test_any_change_ends_what_is_known(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, protocol, results = tmp_path / "mine.toml", tmp_path / "protocol.toml", tmp_path / "runs"
    grid = f'[[grid]]\nprotocol = "{protocol}"\ndataset = "scenes"\nmethod = "multi_task"\nseeds = 1\n'
    plan.write_text(grid)
    base = (ROOT / "benchmark" / "protocols" / "thin.toml").read_text()
    protocol.write_text(base)
    command = ["run", plan, *sets(), "--results", results, "--data", tmp_path / "data"]
    assert bench(*command)[0] == 0
    known = lambda: "`bench leaderboard` prints the tables" in bench(*command)[1]  # noqa: E731
    assert known()
    done = torchless(*command, "--json")
    assert done.returncode == 0 and set(json.loads(done.stdout)["states"].values()) == {"done"}
    assert done.stderr.splitlines()[-1] == "False" and "nothing to do: all 1 runs of this plan" in done.stderr
    (record,) = results.glob("*/*/record.json")
    good = record.read_text()
    record.write_text("{")
    code, _, err = bench(*command)
    assert code == 2 and "record.json is damaged" in err
    record.write_text(good)
    assert not known() and known()  # the file is another: planned once more
    protocol.write_text(base + "\n# changed\n")
    assert not known() and known()
    plan.write_text(grid + "# a comment is no change\n")
    assert known()
    table = next(results.glob("leaderboards/*.csv"))
    table.unlink()
    assert not known()
    bench("leaderboard", "--results", results)
    for damage in ("", "[]", "{}", '{"folders": 1}'):
        for note in (results / finished.FOLDER).glob("*"):
            note.write_text(damage)
        assert not known()
    key = finished.key([str(plan)], [])
    monkeypatch.setattr(finished, "_stamps", lambda paths: [])
    assert finished.key([str(plan)], []) != key  # the code counts
    assert finished.key(["nothing.toml"], []) is None


def test_status_says_how_far_a_run_is(bench: Bench, tmp_path: Path) -> None:
    run = RunDir(tmp_path, (spec := tiny_spec()).folder)
    claim = run.claim(spec)
    assert claim is not None
    for stamp, words in (("[1, 12, NaN, NaN]", "step 1 of 12)"),
                         ("[7, 12, 3.25, 240.0]", "step 7 of 12, 4 min left, loss 3.25)")):  # fmt: skip
        run.file("progress.json").write_text(stamp)
        assert f"{spec.folder} ({words}" in bench("status", "--results", tmp_path)[1]
    (row,) = json.loads(bench("status", "--results", tmp_path, "--json")[1])
    assert {key: row[key] for key in ("state", "step", "steps", "loss", "seconds_left")} == {
        "state": "running", "step": 7, "steps": 12, "loss": 3.25, "seconds_left": 240.0,
    }  # fmt: skip


def test_status_looks_at_many_runs_without_torch(tmp_path: Path) -> None:
    for i in range(1000):
        folder = tmp_path / f"protocol{i % 4}" / f"method-one-s{i}-{i:012x}"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
        name = ("record.json", "error.txt", "checkpoint.pt", "claim-000000.json")[i % 4]
        (folder / name).write_text("{}\n")
    done = torchless("status", "--results", tmp_path)
    assert done.stdout.splitlines()[-1] == "250 done, 250 failed, 250 stale, 250 missing"
    assert done.stderr == "False\n"


def test_the_kernels_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/self/cgroup": "1:memory:/x\n0::/a/b\n",
        "/sys/fs/cgroup/a/b/memory.events": "low 0\noom 2\noom_kill 7\n",
        "/proc/vmstat": "nr_free_pages 12\noom_kill 9\n",
    }

    def read(self: Path, *arguments: object) -> str:
        if str(self) not in files:
            raise FileNotFoundError(str(self))
        return files[str(self)]

    monkeypatch.setattr(Path, "read_text", read)
    assert system.out_of_memory_kills() == 7
    del files["/sys/fs/cgroup/a/b/memory.events"]
    assert system.out_of_memory_kills() == 9
    del files["/proc/vmstat"], files["/proc/self/cgroup"]
    assert system.out_of_memory_kills() == 0
