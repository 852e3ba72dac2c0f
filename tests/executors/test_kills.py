"""Kills at any moment, Ctrl-C and SIGTERM change no record: the same command goes on."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from benchmark.runs import rundir
from benchmark.spec import plan
from tests.commands import TINY, sets, start, wait_until, waiting
from tests.conftest import run_here
from tests.executors.common import alive, children, computed, holder, run
from tests.helpers import assert_same


@pytest.mark.parametrize(
    ("cells", "kills"), [(6, 3), pytest.param(200, 50, marks=pytest.mark.slow)], ids=["6 cells", "200 cells"]
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
    out, err = process.communicate(timeout=1200)
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


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "kill -9"])
def test_stopped_in_the_middle_and_run_again_it_ends_in_the_same_bits(
    how: str, workers: int, waited: Path, gate: Path, data_folder: Path, tmp_path: Path
) -> None:
    command = waiting(gate, tmp_path, "seeds=2" if workers else "seeds=1")
    process = start(*command, "--workers", workers, "--json", data=data_folder, start_new_session=True)
    checkpoints = lambda: list(tmp_path.glob("*/*/checkpoint.pt"))  # noqa: E731
    wait_until(lambda: len(checkpoints()) == max(1, workers), process)
    offspring = children(process.pid)
    assert len(offspring) == workers
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and children alike
    else:
        process.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
    for step in range(6, 24):  # one step at a time, for a worker looks for its parent once a second
        if process.poll() is not None and not any(map(alive, offspring)):
            break
        gate.write_text(str(step))
        time.sleep(0.4)
    out, err = process.communicate(timeout=300)
    assert not any(map(alive, offspring)) and not list(tmp_path.rglob(".*.pt"))
    runs = rundir.every_run(tmp_path)
    assert {each.state() for each in runs} == {"stale"} and not list(tmp_path.rglob("record.json"))
    steps = [torch.load(path, weights_only=True)["step"] for path in checkpoints()]
    assert all(5 <= step < 24 for step in steps)
    if how == "kill -9":
        assert process.returncode == -9 and not out
    else:
        assert process.returncode == 130 and "the same command goes on where this one stopped" in err
        assert not workers or "stopping: runs under way are checkpointed" in err
        shown = json.loads(out)
        assert shown["exit"] == 130 and set(shown["states"].values()) == {"stale"}
    gate.write_text("1000")
    assert run_here(*command, "--workers", 0, "--data", data_folder) == 0
    again, whole = computed(tmp_path), computed(waited)
    assert len(again) == len(runs) and all(whole[name] == record for name, record in again.items())
    for each in runs:
        name = each.path.relative_to(tmp_path)
        a, b = (torch.load(top / name / "weights.pt", weights_only=True) for top in (waited, tmp_path))
        assert_same(a["method"], b["method"])
    assert not checkpoints()


def test_a_second_interrupt_kills(gate: Path, data_folder: Path, tmp_path: Path) -> None:
    process = start(*waiting(gate, tmp_path, "seeds=2"), "--workers", 2, "--json", data=data_folder)
    wait_until(lambda: len(list(tmp_path.glob("*/*/checkpoint.pt"))) == 2, process)
    offspring = children(process.pid)
    process.send_signal(signal.SIGINT)
    err = ""
    while "stopping: runs under way" not in err:
        assert process.stderr is not None and process.poll() is None
        err += process.stderr.readline()
    assert process.poll() is None and children(process.pid) == offspring
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 130 and not any(map(alive, offspring))
    assert [each.state() for each in rundir.every_run(tmp_path)] == ["stale", "stale"]
