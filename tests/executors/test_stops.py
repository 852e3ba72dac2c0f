"""Ctrl-C, SIGTERM and kill -9 of a pool: what was under way is checkpointed, nothing runs on, the same
command goes on.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark.runs import rundir
from tests.executors.common import PLUGIN, alive, children
from tests.test_cli import records, sets, start, without_cost


def arguments(results: Path, fault: str = "none") -> list[object]:
    """Two runs of 60 steps."""
    settings = sets("seeds=2", "epochs=15", f"hparams.trouble.fault={fault}")
    return [
        "run",
        "thin",
        "trouble",
        "--plugin",
        PLUGIN,
        *settings,
        "--results",
        results,
        "--checkpoint-every",
        2,
    ]


def wait_until(true: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def calm(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("calm")
    process = start(*arguments(results), data=data_folder)
    process.communicate(timeout=120)
    assert process.returncode == 0
    return results


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "kill -9"])
def test_a_stopped_pool_leaves_checkpoints_and_no_process(
    how: str, calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    process = start(*arguments(tmp_path), "--workers", 2, "--json", data=data_folder, start_new_session=True)
    wait_until(lambda: len(list(tmp_path.glob("*/*/checkpoint.pt"))) == 2, process)
    offspring = children(process.pid)
    assert len(offspring) == 2
    signalled = time.time()
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and children alike
    else:
        process.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    while any(map(alive, offspring)) and time.monotonic() - began < 20:
        time.sleep(0.05)
    assert not any(map(alive, offspring))
    runs = rundir.every_run(tmp_path)
    assert [run.state() for run in runs] == ["stale", "stale"] and not list(tmp_path.rglob(".*.pt"))
    assert all(
        run.file("checkpoint.pt").stat().st_mtime > signalled - 0.01 for run in runs
    )  # made for the stop
    assert all(0 < torch.load(run.file("checkpoint.pt"), weights_only=True)["step"] < 60 for run in runs)
    if how == "kill -9":
        assert process.returncode == -9 and not out
    else:
        assert process.returncode == 130 and "the same command goes on where this one stopped" in err
        assert "stopping: runs under way are checkpointed" in err
        shown = json.loads(out)
        assert shown["exit"] == 130 and set(shown["states"].values()) == {"stale"}
    again = start(*arguments(tmp_path), "--workers", 2, "--json", data=data_folder)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    shown = json.loads(out)
    assert set(shown["states"].values()) == {"done"} and shown["failures"] == {} and shown["exit"] == 0
    assert [Path(board).is_file() for board in shown["boards"]] == [True]
    a, b = records(calm), records(tmp_path)
    assert a.keys() == b.keys() == shown["states"].keys()
    assert all(without_cost(a[key]) == without_cost(b[key]) for key in a)


def test_a_second_interrupt_kills(data_folder: Path, tmp_path: Path) -> None:
    process = start(*arguments(tmp_path, "hang"), "--workers", 2, data=data_folder)
    wait_until(lambda: len(list(tmp_path.glob("*/*/checkpoint.pt"))) == 2, process)
    time.sleep(0.5)  # both hang in their sixth step by now
    offspring = children(process.pid)
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None and children(process.pid) == offspring
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130 and not any(map(alive, offspring))
    assert [run.state() for run in rundir.every_run(tmp_path)] == ["stale", "stale"]
