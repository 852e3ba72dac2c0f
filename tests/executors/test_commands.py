"""`bench run`, `worker` and `status` as commands: places, numbers, JSON, and what is remembered of a finished
plan.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute.attempt import Data
from benchmark.execute.pool import Job, Pool
from benchmark.execute.slots import slots
from benchmark.runs import finished, liveness
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugins, registry
from tests.conftest import ROOT, Bench
from tests.executors.common import PLUGIN, Log, cells
from tests.test_cli import sets


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    yield
    plugins.forget()
    registry.source_hash.cache_clear()


def test_slots_pin_workers_to_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert slots("cpu", 3, 1) == [None] * 3
    assert slots("cuda", 3, 2) == ["0", "1", "0"]
    assert slots("cuda:1", 2, 2) == ["1", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa, 5")
    assert slots("cuda", 2, 1) == ["GPU-aa", "5"] and slots("cuda:1", 1, 1) == ["5"]
    with pytest.raises(
        UserError,
        match=r"--workers 3 is more than 2 GPUs times --per-gpu 1; give fewer, or a higher --per-gpu",
    ):
        slots("cuda", 3, 1)
    with pytest.raises(UserError, match=r"--device cuda:2 is not there: torch sees 2 GPUs, counted from 0"):
        slots("cuda:2", 1, 1)


def test_a_child_sees_its_gpu_alone(data_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    chosen = cells(data_folder, place=place, seeds=3)
    job = Job(tmp_path, data_folder, plugins=(PLUGIN,))
    found = Pool(job, Data(data_folder), ["GPU-a", "GPU-b"], Log(), hang_after=60).run(chosen)
    assert len(found["done"]) == 3 and "GPU" not in os.environ.get("CUDA_VISIBLE_DEVICES", "")
    assert {line.split()[2] for line in place.read_text().splitlines()} == {"GPU-a", "GPU-b"}


BAD = {
    "no workers": (
        ["run", "--workers", "-1"],
        "--workers -1 is not a number of processes of 1 or more, nor 0 for this process",
    ),
    "a worker without workers": (
        ["worker", "--workers", "0"],
        "--workers 0 is not a number of processes of 1 or more.",
    ),
    "no runs a GPU": (
        ["run", "--workers", "1", "--per-gpu", "0"],
        "--per-gpu 0 is not a number of runs of 1 or more",
    ),
    "per GPU on the CPU": (
        ["worker", "--device", "cpu", "--per-gpu", "2"],
        "--per-gpu 2 is of CUDA GPUs; on the CPU",
    ),
    "a limit without a pool": (
        ["run", "--hang-after", "3"],
        "--hang-after 3 is of a pool; give --workers too",
    ),
    "per GPU without a pool": (["run", "--per-gpu", "2"], "--per-gpu 2 is of a pool; give --workers too"),
    "no patience": (
        ["run", "--workers", "1", "--hang-after", "0"],
        "--hang-after 0 is not a number of seconds above 0",
    ),
    "two places": (
        ["run", "--workers", "1", "--slurm", "time=1"],
        "--workers runs on this machine and --slurm on a cluster",
    ),
    "keep": (["worker", "--keep", "some"], "--keep 'some' is not one of all, weights, none"),
    "plan": (["worker", "quickstat", "--json"], "unknown plan or method 'quickstat'"),
    "labels": (
        ["run", *sets('tasks=["parts"]', "test_images=2"), "--workers", "1"],
        "none of the 2 test images has a label",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, bench: Bench, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    code, out, err = bench(*arguments, "--results", tmp_path / "r")
    assert code == 2 and message in err.splitlines()[-1] and err.splitlines()[-1].startswith("bench: "), (
        out + err
    )
    assert not out if "--json" in arguments else err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_failures_are_in_the_json_with_their_reasons(bench: Bench, tmp_path: Path) -> None:
    command = [
        "run",
        "trouble",
        "--plugin",
        PLUGIN,
        *sets("seeds=2", "hparams.trouble.fault=raise"),
        "--results",
        tmp_path,
    ]
    code, out, err = bench(*command, "--workers", 2, "--json")
    shown = json.loads(out)
    assert (
        code == 1 == shown["exit"] and set(shown["states"].values()) == {"failed"} and shown["boards"] == []
    )
    assert (
        set(shown["failures"].values()) == {"ValueError: broken on purpose"}
        and shown["failures"].keys() == shown["states"].keys()
    )
    assert "--retry-failed runs it again" in err and "failed: ValueError: broken on purpose" in err
    code, out, _ = bench("status", "--results", tmp_path, "--json")
    rows = json.loads(out)
    assert code == 0 and [row["state"] for row in rows] == ["failed", "failed"]
    assert {row["id"] for row in rows} == shown["states"].keys()
    assert {row["reason"] for row in rows} == {"ValueError: broken on purpose"}
    code, out, _ = bench("status", "--results", tmp_path)
    assert re.search(r"failed +thin/trouble\S+ \(ValueError: broken on purpose\)\n", out) and out.endswith(
        "2 failed\n"
    )
    plugins.forget()
    code, out, _ = bench(*command, "--dry-run", "--json")
    assert code == 0 and {cell["state"] for cell in json.loads(out)["cells"]} == {"failed"}
    plugins.forget()
    code, out, err = bench(*command, "--json")  # in this process
    assert code == 1 and json.loads(out)["failures"] == shown["failures"]


def test_a_finished_plan_is_known_without_torch(bench: Bench, tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data")]  # which no other test renders into meanwhile
    command = [
        "run",
        "thin",
        "multi_task",
        *sets("seeds=2"),
        "--results",
        str(tmp_path / "runs"),
        *data,
        "--workers",
        "2",
    ]
    code, out, _ = bench(*command, "--json")
    first = json.loads(out)
    assert code == 0 and set(first["states"].values()) == {"done"}
    script = (
        "import sys; from benchmark.cli.app import main\ntry: main()\nfinally: print('torch' in "
        "sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == first and done.returncode == 0
    assert (
        done.stderr.splitlines()[-1] == "False"
        and "nothing to do: all 2 runs of this plan are done" in done.stderr
    )


def test_what_is_remembered_ends_with_any_change(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, results = tmp_path / "mine.toml", tmp_path / "runs"
    plan.write_text('[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nmethod = "multi_task"\nseeds = 1\n')
    command = ["run", plan, *sets(), "--results", results, "--data", tmp_path / "data"]
    assert bench(*command)[0] == 0
    known = lambda: "`bench leaderboard` prints the tables" in bench(*command)[1]  # noqa: E731
    assert known() and known()
    (record,) = results.glob("*/*/record.json")
    good = record.read_text()
    record.write_text("{")
    code, _, err = bench(*command)
    assert code == 2 and "record.json is damaged" in err
    record.write_text(good)
    assert not known() and known()  # the file is another: planned once more
    protocol, other = tmp_path / "protocol.toml", tmp_path / "other.toml"
    other.write_text(
        '[[grid]]\nprotocol = "protocol.toml"\ndataset = "scenes"\nmethod = "multi_task"\nseeds = 1\n'
    )
    monkeypatch.chdir(tmp_path)
    base = (ROOT / "benchmark" / "protocols" / "thin.toml").read_text()
    protocol.write_text(base)
    own = ["run", other, *sets(), "--results", tmp_path / "own", "--data", tmp_path / "data"]
    assert bench(*own)[0] == 0 and "prints the tables" in bench(*own)[1]
    protocol.write_text(base + "\n# changed\n")
    assert "prints the tables" not in bench(*own)[1]  # a protocol file counts
    plan.write_text(plan.read_text() + "# another seed\n")
    assert known()  # a comment is no change
    plan.write_text(plan.read_text().replace("seeds = 1", "seeds = 2"))
    assert not known() and known() and len(list(results.glob("*/*/record.json"))) == 2
    table = next(results.glob("leaderboards/*.csv"))
    table.unlink()
    assert not known()
    bench("leaderboard", "--results", results)
    for damage in ("", "[]", "{}", '{"folders": 1}'):
        for note in (results / finished.FOLDER).glob("*"):
            note.write_text(damage)
        assert not known()
    assert known()
    key = finished.key([str(plan)], [])
    monkeypatch.setattr(finished, "_stamps", lambda paths: [])
    assert finished.key([str(plan)], []) != key  # the code counts
    assert finished.key(["nothing.toml"], []) is None


def test_status_looks_at_many_runs_without_torch(tmp_path: Path) -> None:
    for i in range(1000):
        folder = tmp_path / f"protocol{i % 4}" / f"method-one-s{i}-{i:012x}"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
        (folder / ("record.json", "error.txt", "checkpoint.pt", "claim-000000.json")[i % 4]).write_text(
            "{}\n"
        )
    script = (
        "import sys; from benchmark.cli.app import main\ntry: main()\nfinally: print('torch' in "
        "sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "status", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (
        done.stdout.splitlines()[-1] == "250 done, 250 failed, 250 stale, 250 missing"
        and done.stderr == "False\n"
    )


def test_the_kernels_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert liveness.out_of_memory_kills() == 7
    del files["/sys/fs/cgroup/a/b/memory.events"]
    assert liveness.out_of_memory_kills() == 9
    del files["/proc/vmstat"], files["/proc/self/cgroup"]
    assert liveness.out_of_memory_kills() == 0
    assert RunDir(tmp_path, "none/none").state() == "missing"
