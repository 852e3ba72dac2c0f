"""Random kills of a pool's children, at any moment, change no record."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from benchmark.execute import attempt as execute
from benchmark.runs import rundir
from benchmark.spec import plan
from benchmark.training.loop import Options
from tests.executors.common import Log, children, holder
from tests.test_cli import TINY, records, sets, start


def computed(results: Path) -> dict[str, dict[str, object]]:
    """{id: record} but for what differs between two computations."""
    return {
        key: {name: value for name, value in found.items() if name not in ("cost", "environment", "digest")}
        for key, found in records(results).items()
    }


@pytest.mark.parametrize(
    ("cells", "kills"),
    [(20, 5), pytest.param(200, 50, marks=pytest.mark.slow)],
    ids=["20 cells", "200 cells"],
)
def test_every_cell_is_computed_whoever_is_killed(
    cells: int, kills: int, data_folder: Path, tmp_path: Path
) -> None:
    chaos = random.Random(kills)

    command = [
        "run",
        "thin",
        "multi_task",
        *sets(f"seeds={cells}"),
        "--results",
        tmp_path / "killed",
        "--checkpoint-every",
        3,
    ]
    process = start(*command, "--workers", 2, data=data_folder)
    done, hit = 0, set()
    while done < kills and process.poll() is None:
        time.sleep(chaos.uniform(0.2, 1.2))
        offspring = children(process.pid)
        if not offspring or not list(tmp_path.glob("killed/*")):
            continue
        victim = chaos.choice(offspring)
        run = holder(tmp_path / "killed", victim)
        if run is None or run not in hit:  # three deaths in a row would count as a failure of the run's own
            hit.add(run)
            os.kill(victim, signal.SIGKILL)
            done += 1
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert done == kills
    taken_up = out.count("its process ended by signal SIGKILL; it is taken up again")
    assert 0 < taken_up <= kills  # a process may also be killed when its record is there
    assert out.count(": done in") == cells and ": failed" not in out
    found = computed(tmp_path / "killed")
    assert len(found) == cells
    assert {run.state() for run in rundir.every_run(tmp_path / "killed")} == {"done"}
    assert not list((tmp_path / "killed").glob("*/*/.*")) and not list(
        (tmp_path / "killed").glob("*/*/checkpoint.pt")
    )
    chosen = plan.make(["multi_task"], [*TINY, f"seeds={cells}"], data_folder).cells
    calm = tmp_path / "calm"
    execute.run_cells(
        chosen, calm, execute.Data(data_folder), Options(), Log(), force=False, retry_failed=False
    )
    assert computed(calm) == found
