"""One thread, deterministic operators, nothing of the user's environment, a thin network by default."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.cli import app
from benchmark.spec import plan

Bench = Callable[..., tuple[int, str, str]]
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


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("BENCH_RESULTS", "BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    yield


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that all tests of a session share, so that each room is rendered once."""
    # Under xdist the workers' folders lie side by side in the session's.
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "bench-data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def fixmatch(tmp_path: Path) -> Iterator[str]:
    """The name of a method as `bench new --example fixmatch` writes it, in use as a plug-in."""
    from benchmark.cli.methods import new
    from benchmark.spec import plugins

    new("my_fixmatch", tmp_path / "example", example="fixmatch")
    yield plugins.use(tmp_path / "example" / "my_fixmatch.py")
    plugins.forget()


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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_folder: Path) -> Bench:
    """Run a command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.setenv("BENCH_DATA", str(data_folder))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object, figures: bool = False) -> tuple[int, str, str]:
        code = run_here(*arguments, figures=figures)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def apart(bench: Bench) -> Iterator[Bench]:
    """Each command line as if in a process of its own: without the plug-ins of the one before."""
    from benchmark.spec import plugins, registry

    def call(*arguments: object) -> tuple[int, str, str]:
        plugins.forget()
        registry.source_hash.cache_clear()
        return bench(*arguments)

    yield call
    plugins.forget()


@pytest.fixture(scope="session")
def calm_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("waiting") / "place.go"


@pytest.fixture
def gate(calm_gate: Path) -> Iterator[Path]:
    """The gate of `commands.waiting`, closed."""
    from benchmark.spec import plugins

    calm_gate.write_text("0")
    yield calm_gate
    plugins.forget()


@pytest.fixture(scope="session")
def waited(calm_gate: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two runs of `commands.waiting`, never interrupted."""
    from benchmark.spec import plugins
    from tests.commands import waiting

    results = tmp_path_factory.mktemp("waited")
    calm_gate.write_text("1000")
    assert run_here(*waiting(calm_gate, results, "seeds=2"), "--data", data_folder) == 0
    plugins.forget()
    return results
