"""How many processes run a plan where nobody says, and who is asked."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import cluster, rates, runs
from benchmark.cli.options import HANG_SECONDS
from benchmark.errors import UserError
from benchmark.execute import slots
from benchmark.execute.slots import asked, by_default
from tests.conftest import Bench
from tests.test_cli import records, sets

CORES = 3


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The workers with which commands would start their runs, none of which is run."""
    found: list[int] = []

    def start(options: Any, results: Path, data: Path, workers: int, *more: Any, **named: Any) -> runs.Start:
        found.append(workers)
        return lambda cells, *rest: {"done": [], "failed": [], "elsewhere": list(cells)}

    monkeypatch.setattr(runs, "starter", start)
    monkeypatch.setattr(rates, "starter", start)
    monkeypatch.setattr(slots, "cores", lambda: CORES)
    monkeypatch.delenv(slots.VARIABLE)
    return found


@pytest.mark.parametrize(
    ("cores", "threads", "pending", "hang_after", "expected"),
    [
        (4, 1, 12, HANG_SECONDS, 4),
        (4, 1, 3, HANG_SECONDS, 3),
        (4, 1, 1, HANG_SECONDS, 0),
        (4, 1, 0, HANG_SECONDS, 0),
        (1, 1, 12, HANG_SECONDS, 0),
        (4, 2, 12, HANG_SECONDS, 2),
        (4, 3, 12, HANG_SECONDS, 0),
        (4, 8, 12, HANG_SECONDS, 0),
        (1, 1, 12, 60, 1),
        (4, 1, 0, 60, 0),
    ],
)
def test_a_worker_a_core_and_no_more_than_there_are_runs(
    cores: int, threads: int, pending: int, hang_after: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "cores", lambda: cores)
    assert by_default("cpu", threads, pending, hang_after) == expected
    assert by_default("cuda:0", threads, pending, HANG_SECONDS) == 0
    with pytest.raises(UserError, match="--hang-after 60 is of a pool; give --workers too, of 1 or more"):
        by_default("cuda", threads, pending, 60)


def test_the_command_line_is_asked_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VARIABLE, "5")
    assert [asked(n, 1, HANG_SECONDS) for n in (None, 0, 2)] == [5, 0, 2]
    assert asked(None, 2, 60) == 5
    monkeypatch.setenv(slots.VARIABLE, " ")
    assert asked(None, 1, 60) is None
    for wrong in ("many", "-1", "1.5"):
        monkeypatch.setenv(slots.VARIABLE, wrong)
        with pytest.raises(
            UserError, match=f"BENCH_WORKERS={wrong} is not a number of processes of 1 or more, nor 0"
        ):
            asked(None, 1, HANG_SECONDS)
    monkeypatch.setenv(slots.VARIABLE, "0")
    for options, name in (((2, HANG_SECONDS), "--per-gpu 2"), ((1, 60), "--hang-after 60")):
        with pytest.raises(UserError, match=f"{name} is of a pool; give --workers too, of 1 or more"):
            asked(None, *options)


def test_who_decides(
    bench: Bench, started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ["run", "multi_task", *sets("seeds=5"), "--results", tmp_path]
    assert bench(*command)[0] == 0 and started.pop() == CORES
    assert bench("run", "multi_task", *sets("seeds=2"), "--results", tmp_path)[0] == 0 and started.pop() == 2
    assert bench("run", "multi_task", *sets("seeds=1"), "--results", tmp_path)[0] == 0 and started.pop() == 0
    assert bench(*command, "--set", "threads=3")[0] == 0 and started.pop() == 0
    assert bench(*command, "--workers", 0)[0] == 0 and started.pop() == 0
    assert bench(*command, "--workers", 7)[0] == 0 and started.pop() == 7
    assert bench("worker", *command[1:])[0] == 0 and started.pop() == 1
    assert (
        bench("tune", "--rate", "multi_task", *sets("seeds=1"), "--results", tmp_path)[0] == 1
        and started.pop() == CORES
    )
    monkeypatch.setenv(slots.VARIABLE, "0")
    assert bench(*command)[0] == 0 and started.pop() == 0
    monkeypatch.setenv(slots.VARIABLE, "9")
    assert bench(*command)[0] == 0 and started.pop() == 9
    monkeypatch.delenv(slots.VARIABLE)
    monkeypatch.setattr(runs, "pick_device", lambda name: "cuda")
    assert bench(*command)[0] == 0 and started.pop() == 0
    assert bench(*command, "--workers", 2)[0] == 0 and started.pop() == 2
    code, _, err = bench(*command, "--hang-after", 60)
    assert code == 2 and "--hang-after 60 is of a pool; give --workers too" in err and not started


def test_an_ablation_is_run_in_the_same_way(bench: Bench, started: list[int], tmp_path: Path) -> None:
    plan = tmp_path / "mine.toml"
    plan.write_text(
        '[ablate]\nprotocol = "thin"\ndataset = "scenes"\nlabels = "one"\nmethod = "prototype"\nseeds = 1\n'
        "components = { tke = false, tc = false }\n"
    )
    assert bench("ablate", plan, "--results", tmp_path / "runs")[0] == 0 and started == [3]


def test_slurm_has_nothing_to_do_with_it(
    bench: Bench, started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    submitted: list[object] = []

    def submit(*arguments: object, **options: object) -> tuple[int, dict[str, Any]]:
        submitted.append(arguments)
        return 0, {"states": {}, "failures": {}, "boards": []}

    monkeypatch.setattr(cluster, "run", submit)
    command = ["run", "multi_task", *sets("seeds=2"), "--results", tmp_path, "--slurm", "time=1"]
    for value in ("", "2"):
        monkeypatch.setenv(slots.VARIABLE, value)
        assert bench(*command)[0] == 0 and not started
    assert len(submitted) == 2
    code, _, err = bench(*command, "--hang-after", 60)
    assert code == 2 and "--hang-after 60 is of a pool; give --workers too" in err


def test_by_default_runs_share_the_cores_and_are_known_when_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(slots.VARIABLE)
    monkeypatch.setattr(slots, "cores", lambda: 2)
    used: list[int] = []
    start = runs.starter

    def watched(options: Any, results: Path, data: Path, workers: int, *more: Any) -> runs.Start:
        used.append(workers)
        return start(options, results, data, workers, *more)

    monkeypatch.setattr(runs, "starter", watched)
    command = [
        "run",
        "multi_task",
        *sets("seeds=3"),
        "--results",
        tmp_path / "runs",
        "--data",
        tmp_path / "data",
    ]
    code, out, err = bench(*command)
    assert code == 0 and len(records(tmp_path / "runs")) == 3 and used == [2], out + err
    code, out, _ = bench(*command)
    assert code == 0 and "nothing to do: all 3 runs of this plan are done" in out and used == [2]
    next((tmp_path / "runs").glob("*/*/record.json")).unlink()
    assert bench(*command)[0] == 0 and used == [2, 0]  # one run is missing, which this process makes
