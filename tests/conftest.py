"""One thread, deterministic operators, nothing of the user's environment, a thin network by default."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.cli import app
from benchmark.spec import plan, plugins, registry

ROOT = Path(__file__).resolve().parent.parent
# From the start, for fixtures of whole modules run commands too. Processes that tests start name the plan
# thin themselves.
SHIPPED_DEFAULT, plan.DEFAULT = plan.DEFAULT, "thin"
os.environ["BENCH_WORKERS"] = "0"  # in this process, and in theirs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "tests/slurm" not in item.nodeid)  # it waits: beside others, not at the end
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


def forget_plugins() -> None:
    if plugins.files():
        plugins.forget()
        registry.source_hash.cache_clear()


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("BENCH_RESULTS", "BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    yield
    forget_plugins()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that all tests of a session share, so that each room is rendered once."""
    # Under xdist the workers' folders lie side by side in the session's.
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "bench-data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def fixmatch(tmp_path: Path) -> str:
    """The name of a method as `bench new --example fixmatch` writes it, in use as a plug-in."""
    from benchmark.cli.methods import new

    new("my_fixmatch", tmp_path / "example", example="fixmatch")
    return plugins.use(tmp_path / "example" / "my_fixmatch.py")


def leave_figures_out(patch: pytest.MonkeyPatch) -> None:
    from benchmark.report.figures import board
    from benchmark.report.figures.style import Drawing

    patch.setattr(board, "draw", lambda board, folder: Drawing(folder))


@cache
def command_line() -> Any:
    """What `main` calls, built once: that takes longer than many a command."""
    from typer.main import get_command

    return get_command(app.app)


def run_here(*arguments: object, figures: bool = False) -> int:
    """Run a command line in this process; its exit code. For fixtures of modules and sessions.

    figures: draw those of boards, which takes longer than the small runs of tests; `report` does anyway.
    """
    built = command_line()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        patch.setattr(app, "app", built)
        if not figures and arguments[0] != "report":
            leave_figures_out(patch)
        app.main()
    return int(stopped.value.code or 0)


class Bench:
    """A command line in this process, as if in one of its own: without the plug-ins of the one before."""

    def __init__(self, read: Callable[[], tuple[str, str]]) -> None:
        self.read = read

    def __call__(self, *arguments: object, figures: bool = False) -> tuple[int, str, str]:
        """Its exit code, standard output and standard error."""
        forget_plugins()
        code = run_here(*arguments, figures=figures)
        return code, *self.read()

    def ok(self, *arguments: object, figures: bool = False) -> str:
        """The standard output of one that succeeds."""
        code, out, err = self(*arguments, figures=figures)
        assert code == 0, out + err
        return out

    def json(self, *arguments: object) -> Any:
        """What one that succeeds prints with --json."""
        return json.loads(self.ok(*arguments, "--json"))

    def refused(self, *arguments: object) -> str:
        """The one sentence of one that is refused, which prints nothing else but notes on its plan."""
        code, out, err = self(*arguments)
        assert code == 2 and out == "", out + err
        *notes, said = err.splitlines()
        assert said.startswith("bench: ") and all(note.startswith("note: ") for note in notes), err
        return said


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_folder: Path) -> Bench:
    monkeypatch.setenv("BENCH_DATA", str(data_folder))
    monkeypatch.setenv("COLUMNS", "200")
    return Bench(capsys.readouterr)


@pytest.fixture
def own_folders(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let command lines find data and results in folders of the test."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "runs"))


@pytest.fixture(scope="session")
def finished(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one run of multi_task under `commands.SHORT`, to be copied by who writes there."""
    from tests.commands import SHORT

    results = tmp_path_factory.mktemp("finished") / "runs"
    own = ("--results", results, "--data", data_folder, "--keep", "all")
    assert run_here("run", "multi_task", *SHORT, *own) == 0
    return results


@pytest.fixture(scope="session")
def calm_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("waiting") / "place.go"


@pytest.fixture
def gate(calm_gate: Path) -> Path:
    """The gate of `commands.waiting`, closed."""
    calm_gate.write_text("0")
    return calm_gate


@pytest.fixture(scope="session")
def waited(calm_gate: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two runs of `commands.waiting`, never interrupted."""
    from tests.commands import waiting

    results = tmp_path_factory.mktemp("waited")
    calm_gate.write_text("1000")
    assert run_here(*waiting(calm_gate, results, "seeds=2"), "--data", data_folder) == 0
    forget_plugins()
    return results
