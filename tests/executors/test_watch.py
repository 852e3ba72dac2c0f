"""What a run shows while it goes on: `bench watch`, and event files by `--log tensorboard`."""

import io
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.cli import watch
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress
from benchmark.execute.workers import carry_out
from benchmark.runs.rundir import RunDir, every_run
from benchmark.spec import plan
from benchmark.training import loop
from tests.commands import TINY
from tests.conftest import Bench
from tests.helpers import computed, tiny_spec

POINTS = [
    {"step": step, "epoch": step / 4, "loss": {"semseg": 8.0 / step, "depth": 0.5}} | more
    for step, more in (
        (1, {}),
        (2, {"test": {"semseg": 11.5, "depth": None}}),
        (4, {"test": {"semseg": 30.25}}),
    )
]


def line(point: dict[str, Any]) -> str:
    return json.dumps(point) + "\n"


@pytest.fixture
def under_way(tmp_path: Path) -> tuple[RunDir, Callable[[float], None]]:
    """A run with one point of its curve, and what stands in for waiting: each time it is one further, then
    it ends."""
    run = RunDir(tmp_path, tiny_spec().folder)
    claim = run.claim(tiny_spec())
    assert claim is not None
    run.file("progress.json").write_text("[1, 4, 8.5, 240.0]")
    run.file("curve.jsonl").write_text(line(POINTS[0]) + line(POINTS[1])[:9])  # the second is being written
    left = iter(POINTS[1:])

    def wait(seconds: float) -> None:
        point = next(left, None)
        if point is None:
            claim.release()
        else:
            text = "".join(map(line, POINTS[: POINTS.index(point) + 1]))
            run.file("curve.jsonl").write_text(text)

    return run, wait


def test_a_pipe_gets_a_line_a_point_and_ends_with_the_run(
    bench: Bench, under_way: tuple[RunDir, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, wait = under_way
    monkeypatch.setattr(watch.time, "sleep", wait)
    code, out, _ = bench("watch", run.name, "--results", tmp_path)
    assert code == 0 and out.splitlines() == [
        "step 1: loss semseg 8, loss depth 0.5",
        "step 2: loss semseg 4, loss depth 0.5, test semseg 11.5",
        "step 4: loss semseg 2, loss depth 0.5, test semseg 30.25",
        f"missing  tiny/{run.name}",
    ]


def test_a_terminal_shows_how_far_a_run_is_and_its_curves(
    bench: Bench, under_way: tuple[RunDir, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, wait = under_way
    head = f"running  tiny/{run.name} (step 1 of 4, 4 min left, loss 8.5)"
    code, out, _ = bench("watch", run.name, "--once", "--results", tmp_path)
    assert code == 0 and out.splitlines() == [head, "loss depth   ▁  0.5", "loss semseg  ▁  8"]
    shown = json.loads(bench("watch", run.name, "--json", "--results", tmp_path)[1])
    assert shown["step"] == 1 and [point["loss"] for point in shown["curve"]] == [POINTS[0]["loss"]]
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(watch, "make_console", lambda: console)
    monkeypatch.setattr(watch.time, "sleep", wait)
    assert bench("watch", run.name, "--results", tmp_path)[0] == 0
    curves = ("loss semseg  █▁  4", "loss semseg  █▃▁  2", "test semseg  ▁█  30.25")
    for words in (head, *curves, "missing  tiny/"):
        assert words in screen.getvalue(), screen.getvalue()
    assert screen.getvalue().removesuffix("\x1b[?25h").rstrip().endswith("30.25")


class Writer:
    """Stands in for torch.utils.tensorboard.SummaryWriter: lines instead of event files."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir()
        self.file = Path(folder, "events").open("x")  # noqa: SIM115

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.file.write(json.dumps([name, step, value]) + "\n")

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def use_stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "site" / "tensorboard").mkdir(parents=True)
    (folder / "site" / "tensorboard" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(folder / "site")
    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)


def read_lines(folder: Path) -> list[tuple[str, int, float]]:
    (file,) = folder.iterdir()
    return [tuple(json.loads(text)) for text in file.read_text().splitlines()]


def read_events(folder: Path) -> list[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (file,) = folder.iterdir()
    events = [(e.step, value) for e in EventFileLoader(str(file)).Load() for value in e.summary.value]
    return [(value.tag, step, value.tensor.float_val[0]) for step, value in events]


@pytest.mark.parametrize("real", [False, True], ids=["stand-in", "tensorboard"])
def test_event_files_hold_every_point_once_however_often_a_run_is_taken_up(
    real: bool, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else of the run knows of them."""
    if real:
        pytest.importorskip("tensorboard")
    else:
        use_stand_in(tmp_path, monkeypatch)
    cells = plan.make(["multi_task"], [*TINY, "seeds=1", "evaluations=3"], data_folder).cells

    def carried(name: str, log: str) -> RunDir:
        options = Options(tmp_path / name, data_folder, checkpoint_every=4, workers=0, log=log)
        assert len(carry_out(cells, options, Progress(cells))["done"]) == 1
        return every_run(tmp_path / name)[0]

    take, stops = loop.Run.take, [10, 6]

    def stopped(self: loop.Run, step: int, *more: Any) -> None:
        take(self, step, *more)
        if stops and step == stops[-1]:
            stops.pop()
            if stops:
                raise KeyboardInterrupt  # killed, after its last checkpoint
            self.options.stop.set()

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "take", stopped)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                carried("logged", "tensorboard")
        run = carried("logged", "tensorboard")
    assert not stops and run.record is not None
    expected = [
        (f"{part}/{name}", point["step"], pytest.approx(value, rel=1e-4))
        for point in run.record["curve"]
        for part in ("loss", "test")
        for name, value in point.get(part, {}).items()
    ]
    assert sum(name.startswith("test/") for name, *_ in expected) == 9 and len(expected) == 3 * 12 + 9
    found = (read_events if real else read_lines)(run.file("tensorboard"))
    assert sorted(found) == sorted(expected, key=lambda each: each[:2])
    plain = carried("plain", "")
    assert plain.record is not None and computed(run.record) == computed(plain.record)
    assert not plain.file("tensorboard").exists() and plain.name == run.name


def test_nothing_starts_without_the_package(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.execute.options.find_spec", lambda name: None)
    code, out, err = bench("run", "multi_task", "--log", "tensorboard", "--results", tmp_path / "runs")
    assert code == 2 and out == "" and err.count("\n") == 1 and not (tmp_path / "runs").exists()
    assert "--log tensorboard needs the package tensorboard; install it with `pip install -e " in err
