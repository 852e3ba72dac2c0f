"""The control flow of a first run on a GPU, with the CPU taken for the card."""

import json
import os
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.cli import perf
from benchmark.execute import workers as pool
from benchmark.runs import schema
from benchmark.spec import registry
from tests.benchmark.report import make
from tests.commands import TINY, fork, sets
from tests.conftest import ROOT, Bench, run_here
from tests.gpu import first_run, machine, measure, outcomes, report, stages
from tests.gpu.report import Report
from tests.gpu.shell import Overrun, Shell
from tests.gpu.stages import Context, Failed, LeftOut, Stage

MACHINE: dict[str, Any] = {
    "cuda": False, "torch": "2", "python": "3", "cores": 4, "device": "CPU x", "commit": None, "dirty": None,
    "code": "c0de",
}  # fmt: skip
PLAN = ["[[grid]]", 'protocol = "thin"', 'dataset = "scenes"', 'method = "multi_task"', "seeds = 1", *TINY]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def context(work: Path, shell: Any = None, **values: Any) -> Context:
    shell = shell or Shell(work / "log.txt", os.environ, ROOT)
    given: dict[str, Any] = {"data": None, "plan": "thin", "machine": MACHINE, "write": lambda: None}
    return Context("cpu", work, shell=shell, **given | values)


def through(work: Path, own: Sequence[Stage], seconds: float = 60.0) -> tuple[bool, list[Any], Path]:
    """(whether all was fine, what became of the stages, the folder of the files)"""
    out = work.parent / "out"
    made = Report(out, work, MACHINE)
    fine = first_run.carry_out(own, context(work, write=made.write), made, time.monotonic(), seconds)
    return fine, json.loads((out / report.VALUES).read_text())["stages"], out


def dies(pid: int) -> bool:
    """Whether a process that was sent its death is gone, for which the system may take a moment."""
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def said(name: str, what: Callable[[Context, float], None], share: float | None = 0.1) -> Stage:
    return Stage(name, f"the stage {name}", share, what)


def raising(error: BaseException) -> Callable[[Context, float], None]:
    def stage(context: Context, until: float) -> None:
        raise error

    return stage


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_it_says_so_and_ends_with_3(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "BENCH_GPU_OUT": str(tmp_path / "out")}
    command = [ROOT / "tests/gpu/run.sh", "60"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 3 and not done.stdout and not (tmp_path / "out").exists()
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("a first run needs a CUDA GPU, and there is none here")


def test_a_stage_that_hangs_or_fails_costs_no_other(work: Path) -> None:
    """A command that hangs is killed with all that it started."""
    went: list[str] = []

    def hangs(context: Context, until: float) -> None:
        context.shell(["sh", "-c", "sleep 300 & echo $!; wait"], until, out=work / "pid")

    def notes(context: Context, until: float) -> None:
        went.append("went")

    own = [said("hangs", hangs, 0.05), said("one", notes), said("fails", raising(Failed("it broke")))]
    own += [said("faulty", raising(KeyError("x"))), said("nothing", raising(LeftOut("no data")))]
    fine, found, out = through(work, [*own, said("two", notes)])
    assert not fine and went == ["went", "went"]
    ends = ["killed after its 3 s", "done", "failed: it broke", "failed: KeyError: 'x'", "left out: no data"]
    assert [entry["outcome"] for entry in found] == [*ends, "done"]
    assert dies(int((work / "pid").read_text()))
    assert "failed: it broke" in (out / report.TEXT).read_text()
    # The last goes on until the time is over, and none begins after.
    own = [said("runs", hangs, None), said("late", raising(AssertionError("began")))]
    fine, found, _ = through(work, own, seconds=first_run.RESERVE_SECONDS + 0.5)
    assert fine and [e["outcome"] for e in found] == ["until the time was over", "left out: no time was left"]


def test_what_a_command_leaves_behind_is_killed_and_it_may_stop_by_itself(work: Path) -> None:
    shell = Shell(work / "log.txt", os.environ, ROOT)
    looks: list[int] = []
    began = time.monotonic()
    leaves = ["sh", "-c", "sleep 300 & echo $!; exit 7"]
    code = shell(leaves, began + 60, out=work / "pid", look=lambda: looks.append(1))
    assert code == 7 and dies(int((work / "pid").read_text()))
    stops = "trap 'echo stopped >&2; exit' TERM; echo started >&2; while true; do sleep 0.1; done"
    with pytest.raises(Overrun):
        shell(["sh", "-c", stops], time.monotonic() + 3, grace=60)
    assert "started\nstopped\n" in (work / "log.txt").read_text()


class Commands:
    """A shell that runs nothing: it notes commands, and does what it is told for some."""

    def __init__(self, act: Callable[[list[str], Path | None], int]) -> None:
        self.said: list[list[str]] = []
        self.act, self.environment = act, dict[str, str]()

    def __call__(self, command: Sequence[object], until: float, out: Any = None, **how: Any) -> int:
        self.said.append([str(word) for word in command])
        return self.act(self.said[-1], out)

    def last_words(self) -> str:
        return "the last words"


def test_every_test_that_ends_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(outcomes.FILE, str(tmp_path / "tests.jsonl"))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    passed = [(when, "passed") for when in ("setup", "call", "teardown")]
    for when, outcome in [*passed, ("setup", "skipped"), ("call", "failed")]:
        told = {"when": when, "outcome": outcome, "nodeid": "t", "duration": 0.5}
        outcomes.pytest_runtest_logreport(SimpleNamespace(**told, longreprtext="a\nE  why\n"))
    found = [(f["outcome"], f["why"]) for f in stages.read_lines(tmp_path / "tests.jsonl")]
    assert found == [("passed", ""), ("skipped", "E  why"), ("failed", "E  why")]


Asked = dict[str, dict[str, list[str]]]  # {stage: {item: arguments of `bench perf`}}


def measures(asked: Asked, bad: str = "") -> Callable[[list[str], Path | None], int]:
    """Note the items of each stage, and stand for their process: up to the first that fails."""

    def act(command: list[str], out: Path | None) -> int:
        items, folder = dict(json.loads(Path(command[-2]).read_text())), Path(command[-1])
        asked.setdefault(folder.name, {}).update(items)
        for name in items:
            (folder / name).mkdir()
            if name == bad:
                return 1
            (folder / name / "perf.json").write_text("{}")
        return 0

    return act


def test_measuring_goes_on_in_another_process_after_an_item_that_fails(work: Path) -> None:
    shell = Commands(measures({}, "bad"))
    with pytest.raises(Failed, match=r"^not measured: bad; "):
        stages._measure(context(work, shell), "perf", {"a": [], "bad": [], "b": []}, 0)
    assert len(shell.said) == 2 and sorted(p.parent.name for p in work.glob("perf/*/perf.json")) == ["a", "b"]
    with pytest.raises(Failed, match="could not begin: the last words"):
        stages._measure(context(work, Commands(lambda command, out: 1)), "peers", {"a": []}, 0)


def test_items_share_a_process_up_to_the_first_failure(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    good = stages._under(context(work), "multi_task", "nyuv2", ["protocol=nyuv2-13-light"])
    items = {"a": good, "bad": ["no_such_method"], "late": good}
    (work / "items.json").write_text(json.dumps(list(items.items())))
    (work / "perf").mkdir()
    assert measure.main(str(work / "items.json"), str(work / "perf")) == 1
    assert sorted(p.name for p in (work / "perf").iterdir()) == ["a", "bad"]
    (row,) = stages.read_perf(work / "perf")
    assert row["method"] == "multi_task" and row["hours"] is None
    assert report.aligned(perf.lines([row])).startswith("method")


def test_what_is_measured_on_a_card(work: Path) -> None:
    """Every method, every figure of the published codes under its conditions, and 654 images."""
    asked: Asked = {}
    own = context(work, Commands(measures(asked)))
    own.device = "cuda"
    for stage in (stages.perf, stages.peers, stages.evaluation):
        stage(own, 0)
    assert sorted(asked["perf"]) == registry.method_names()
    assert all({"protocol=nyuv2-13-light", "batch=8"} <= set(words) for words in asked["perf"].values())
    published = ["mtpsl-b2-288x384", "mtpsl-b4-288x384", "mtpsl-b8-288x384", "jtr-b4-288x384"]
    assert list(asked["peers"])[:5] == [f"{name}-fp32" for name in (*published, "diffusion-b6-512x512")]
    wide = set(asked["peers"]["diffusion-b6-512x512-fp32"])
    assert {"protocol=pascal-context", "width=512", "size=[512, 512]", "batch=6", "--against-peers"} <= wide
    # The last of several settings of a key counts.
    assert all([w for w in words if "test_images" in w][-1] == "test_images=654"
               for words in asked["evaluation"].values())  # fmt: skip


def cell(*size: int) -> dict[str, Any]:
    return {"variant": "nyuv2-13-x", "protocol": {"size": list(size or (96, 128)), "batch": 8}}


def test_data_are_packed_at_the_plans_sizes_and_without_there_are_no_runs(work: Path, tmp_path: Path) -> None:
    for stage in (stages.prepare, stages.runs):
        with pytest.raises(LeftOut):
            stage(context(work), 0)
    with pytest.raises(Failed, match="which is no folder"):
        stages.prepare(context(work, data=work / "missing"), 0)
    source = tmp_path / "source"
    for name in ("images", "segmentation", "depth", "normals", "gt_sets"):
        (source / name).mkdir(parents=True)

    def act(command: list[str], out: Path | None) -> int:
        if out:
            out.write_text(json.dumps({"cells": [cell(), cell(144, 192), cell()]}))
        return 0

    with pytest.raises(Failed, match=r"no expand\.py lies in it or beside it"):
        stages.prepare(context(work, Commands(act), data=source), 0)
    (tmp_path / "expand.py").touch()
    shell = Commands(act)
    own = context(work, shell, data=source)
    stages.prepare(own, 0)
    assert own.prepared == work / "data" and len(own.cells) == 3
    expand = [str(tmp_path / "expand.py"), "--layout", "mtan", "--out", str(work / "mtan")]
    assert shell.said[1][1:] == [*expand, "--source", str(source)]
    options = ["--size", "96x128", "--size", "144x192", "--data", str(work / "data")]
    assert shell.said[2][3:] == ["data", "prepare", "nyuv2-13-x", str(work / "mtan"), *options]


def test_workers_by_free_memory() -> None:
    cells, machine = [cell()] * 20, {"cores": 16, "free_gib": 100.0}
    row = {"peak_gib": 9.0, "protocol": {"size": [192, 256], "batch": 8}}  # four times the pixels of a cell
    assert stages.workers(cells, machine, [row]) == 8
    two = [row, row | {"peak_gib": 4.0}]  # of 2.25 + 1 GiB each
    assert stages.workers(cells, machine | {"free_gib": 10.0}, two) == 2
    assert stages.workers(cells, machine | {"free_gib": 2.0}, [row]) == 1
    assert stages.workers(cells, machine | {"free_gib": 40.0}, [row | {"peak_gib": None}]) == 4
    assert stages.workers(cells[:3], machine, []) == 3 and stages.workers(cells, {"cores": 2}, []) == 1


def test_the_files_are_few_and_small_and_hold_no_weights(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Report(work.parent / "out", work, MACHINE)
    (work / "log.txt").write_bytes(b"x" * (2 * report.LOG_BYTES))
    made.write()
    assert not (made.out / report.RECORDS).exists()
    for seed in range(6):
        record = make.record(make.spec("mtpsl", seed))
        record["cost"] |= {"captured": True, "evaluation_seconds": 1.0}
        path = make.write_run(work / "runs", schema.sealed(record))
        path.with_name("weights.pt").write_bytes(bytes(1000))
        path.with_name("panel.webp").write_bytes(os.urandom(8000))
    kept = [path for name in report.KEPT for path in work.glob(f"runs/*/*/{name}")]
    room = sum(path.stat().st_size + report.OVERHEAD for path in kept) + 2 * (8000 + report.OVERHEAD)
    # Records before pictures, each where there is room.
    for size, pictures in ((report.ARCHIVE_BYTES, 6), (room, 2), (room // 2, None)):
        monkeypatch.setattr(report, "ARCHIVE_BYTES", size)
        made.write()
        assert (made.out / report.RECORDS).stat().st_size <= size
        with tarfile.open(made.out / report.RECORDS) as tar:
            counts = Counter(name.rpartition("/")[2] for name in tar.getnames())
        assert counts.keys() <= {*report.KEPT, "panel.webp"} and pictures in (None, counts["panel.webp"])
        records, text = counts["record.json"], (made.out / report.TEXT).read_text()
        assert records == 6 if pictures else 0 < records < 6
        assert f"records.tar.gz holds {records} of them" in text
        assert ("found no room" in text) == (records < 6)
    assert len(list(made.out.iterdir())) == 4
    assert (made.out / report.LOG).stat().st_size == report.LOG_BYTES


def test_whole_seeds_come_first(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench run` takes all rows of a seed before the next, however a plan orders them."""
    taken: list[Any] = []
    monkeypatch.setattr(pool, "work", lambda cells, *arguments: taken.extend(cells))
    code, _, err = bench("run", "multi_task", "pad_net", *sets("seeds=3"), "--results", tmp_path / "runs")
    assert code == 0, err
    order = [(seed, method) for seed in range(3) for method in ("multi_task", "pad_net")]
    assert [(spec.label_seed, spec.method) for spec in taken] == order


def forked(self: Shell, command: Sequence[object], until: float, *, out: Any = None, **how: Any) -> int:
    """Carry a command of ours out by a fork, which need not import torch for seconds."""
    module, *words = [str(word) for word in command[2:]]
    process = fork(lambda: run_here(*words) if module == "benchmark" else machine.main(*words))
    told, err = process.communicate(timeout=600)
    (out or self.log).write_text(told if out else told + err)
    return process.returncode


def test_on_the_cpu_from_a_plan_to_published_runs(
    tmp_path: Path, data_folder: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.toml").write_text("\n".join(PLAN))
    monkeypatch.setattr(Shell, "__call__", forked)
    values = {"DATA": data_folder, "GPU_PLAN": tmp_path / "plan.toml", "GPU_OUT": tmp_path / "out"}
    for name, value in values.items():
        monkeypatch.setenv(f"BENCH_{name}", str(value))
    chosen = [stage for stage in stages.STAGES if stage.name in ("prepare", "runs")]
    out, public = tmp_path / "out", tmp_path / "public"
    code = first_run.main(["3000", "--cpu"], chosen)
    assert code == 0, (out / report.LOG).read_text()
    assert {p.name for p in out.iterdir()} == {report.TEXT, report.VALUES, report.LOG, report.RECORDS}
    found = json.loads((out / report.VALUES).read_text())
    assert [entry["outcome"] for entry in found["stages"]] == ["done"] * 2
    assert found["records"] == {"runs": 1, "left_out": 0} and len(found["runs"]) == 1
    assert all(run["run"] in (out / report.TEXT).read_text() for run in found["runs"])
    at = ("--results", out / report.RECORDS, "--published-in", public)
    code, _, err = bench("publish", "--all", "--force", *at)
    assert code == 0, err
    (record,) = [json.loads(path.read_text()) for path in (public / "records").glob("*.json")]
    assert record["environment"]["code"] == found["machine"]["code"]
