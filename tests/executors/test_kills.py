"""Kills at any moment, Ctrl-C and SIGTERM change no record: the same command goes on."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.runs import rundir
from benchmark.spec import plan, plugins
from benchmark.spec.run import RunSpec
from tests.executors.common import PLUGIN, alive, children, computed, holder, run
from tests.test_cli import TINY, sets, start


def wait_until(true: Callable[[], Any], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("cells", "kills"),
    [(12, 4), pytest.param(200, 50, marks=pytest.mark.slow)],
    ids=["12 cells", "200 cells"],
)
def test_every_cell_is_computed_whoever_is_killed(
    cells: int, kills: int, data_folder: Path, tmp_path: Path
) -> None:
    chaos = random.Random(kills)
    command = ["run", "thin", "multi_task", *sets(f"seeds={cells}"), "--results", tmp_path / "killed"]
    process = start(*command, "--checkpoint-every", 3, "--workers", 2, data=data_folder)
    hit: list[str | None] = []
    while len(hit) < kills and process.poll() is None:
        time.sleep(chaos.uniform(0.1, 0.6))
        for victim in children(process.pid):
            found = holder(tmp_path / "killed", victim)
            if found and found not in hit:  # three deaths in a row would count as a failure of the run's own
                hit.append(found)
                os.kill(victim, signal.SIGKILL)
                break
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert len(hit) == kills
    taken_up = out.count("its process ended by signal SIGKILL; it is taken up again")
    assert 0 < taken_up <= kills  # a process may also be killed when its record is there
    assert ": failed" not in out
    found_records = computed(tmp_path / "killed")
    assert len(found_records) == cells
    assert {each.state() for each in rundir.every_run(tmp_path / "killed")} == {"done"}
    left = {path.name for path in (tmp_path / "killed").glob("*/*/*")}
    assert not {name for name in left if name.startswith(".") or name == "checkpoint.pt"}
    chosen = plan.make(["multi_task"], [*TINY, f"seeds={cells}"], data_folder).cells
    run(chosen, tmp_path / "calm", data_folder, workers=0)
    assert computed(tmp_path / "calm") == found_records


def arguments(results: Path, fault: str = "none", *more: object) -> list[object]:
    """Two runs of 60 steps."""
    settings = sets("seeds=2", "epochs=15", f"hparams.trouble.fault={fault}")
    every = ["--checkpoint-every", 2, "--workers", 2]
    return ["run", "thin", "trouble", "--plugin", PLUGIN, *settings, "--results", results, *every, *more]


@pytest.fixture(scope="module")
def whole(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two runs, never interrupted, in this process."""
    results = tmp_path_factory.mktemp("whole")
    run(planned(data_folder), results, data_folder, workers=0)
    return results


def planned(data: Path) -> tuple[RunSpec, ...]:
    """What `arguments` mean."""
    plugins.use(PLUGIN)
    settings = [*TINY, "seeds=2", "epochs=15", "hparams.trouble.fault=none"]
    return plan.make(["thin", "trouble"], settings, data).cells


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "kill -9"])
def test_stopped_workers_leave_checkpoints_and_no_process(
    how: str, whole: Path, data_folder: Path, tmp_path: Path
) -> None:
    process = start(*arguments(tmp_path, "none", "--json"), data=data_folder, start_new_session=True)
    checkpoints = lambda: list(tmp_path.glob("*/*/checkpoint.pt"))  # noqa: E731
    wait_until(lambda: len(checkpoints()) == 2, process)
    offspring = children(process.pid)
    assert len(offspring) == 2
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and children alike
    else:
        process.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    deadline = time.monotonic() + 120
    while any(map(alive, offspring)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, offspring))
    runs = rundir.every_run(tmp_path)
    assert [each.state() for each in runs] == ["stale", "stale"] and not list(tmp_path.rglob(".*.pt"))
    steps = [torch.load(path, weights_only=True)["step"] for path in checkpoints()]
    assert all(0 < step < 60 for step in steps)
    if how == "kill -9":
        assert process.returncode == -9 and not out
    else:
        assert process.returncode == 130 and "the same command goes on where this one stopped" in err
        assert "stopping: runs under way are checkpointed" in err
        shown = json.loads(out)
        assert shown["exit"] == 130 and set(shown["states"].values()) == {"stale"}
    found, _ = run(planned(data_folder), tmp_path, data_folder)
    assert len(found["done"]) == 2 and computed(tmp_path) == computed(whole)


def test_a_second_interrupt_kills(data_folder: Path, tmp_path: Path) -> None:
    process = start(*arguments(tmp_path, "hang", "--json"), data=data_folder)

    def hanging() -> bool:
        """Both have stamped their fifth step, after which they sleep."""
        steps = [json.loads(path.read_text() or "[0]")[0] for path in tmp_path.glob("*/*/progress.json")]
        return len(list(tmp_path.glob("*/*/checkpoint.pt"))) == 2 and len(steps) == 2

    wait_until(hanging, process)
    offspring = children(process.pid)
    process.send_signal(signal.SIGINT)
    err = ""
    while "stopping: runs under way" not in err:
        assert process.stderr is not None and process.poll() is None
        err += process.stderr.readline()
    assert process.poll() is None and children(process.pid) == offspring
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130 and not any(map(alive, offspring))
    assert [each.state() for each in rundir.every_run(tmp_path)] == ["stale", "stale"]
