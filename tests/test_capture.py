"""A captured step gives the numbers of the step itself: by a tape of operators, on a GPU by the graph."""

import gc
import re
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import BALANCES
from benchmark.training import batches
from benchmark.training import cuda_graph as capture
from benchmark.training.cuda_graph import WARM
from benchmark.training.loop import Run
from methods.base import Batch, Losses, ViewKind
from tests import tape
from tests.helpers import (
    FOUR,
    METHODS,
    SIX,
    TASKS,
    THREE,
    assert_same,
    finished,
    run_of,
    specs,
    tiny_spec,
    trained,
    weights,
)

LOSSES = [name for name, entry in BALANCES.items() if entry.kind == "losses"]


def taped(run: Run) -> None:
    run.loop.reason = None


@pytest.fixture
def by_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "record", tape.record)


def compare(spec: RunSpec, folder: Path) -> Run:
    eager, captured = trained(spec, folder / "eager"), trained(spec, folder / "tape", prepare=taped)
    assert captured.loop.captured and not eager.loop.captured and captured.feed.steps > WARM + 1
    assert_same(weights(eager), weights(captured))
    assert_same(eager.stepper.balancing.state_dict(), captured.stepper.balancing.state_dict())
    assert eager.curve == captured.curve
    return captured


@pytest.mark.parametrize("method", METHODS)
def test_repeated_operators_give_the_bits_of_the_step(method: str, by_tape: None, tmp_path: Path) -> None:
    epochs = 8.0 if registry.method(method).one_task else 2.0  # of the few images that carry its label
    tasks = SIX if method == "multi_task" else FOUR
    compare(specs(method, tasks=tasks, labels="random", epochs=epochs)[-1], tmp_path)


@pytest.mark.parametrize("balance", LOSSES)
def test_so_it_does_under_every_balancing_of_losses(balance: str, by_tape: None, tmp_path: Path) -> None:
    compare(replace(tiny_spec("multi_task", "random"), balance=balance), tmp_path)


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_and_every_optimiser_and_schedule(optimiser: str, by_tape: None, tmp_path: Path) -> None:
    schedule = {"adam": "poly", "adamw": "step", "sgd": "constant"}[optimiser]
    crops = {"scales": (0.5, 1.5), "scale_draw": "uniform"}
    compare(tiny_spec(optimiser=optimiser, schedule=schedule, clip=0.5, **crops), tmp_path)


def test_and_views_of_which_squares_are_erased(
    by_tape: None, fixmatch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = compare(tiny_spec(fixmatch, "random", tasks=tuple(TASKS)), tmp_path / "example")
    squares = [run.feed.batch(step).views[0].erased for step in (0, 1)]
    assert squares[0] is not None and squares[1] is not None and not torch.equal(squares[0], squares[1])
    monkeypatch.setattr(registry.method("consistency"), "views", (ViewKind(colour=0.5, cutout=0.3),))
    compare(tiny_spec("consistency", scales=(0.5, 1.5), scale_draw="uniform"), tmp_path / "crop")


def test_and_samples_that_are_sent(by_tape: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny_spec("mtpsl")
    eager = trained(spec, tmp_path / "eager")
    monkeypatch.setattr(batches, "_fits", lambda parts, device: False)
    captured = trained(spec, tmp_path / "sent", prepare=taped)
    assert captured.loop.captured and not captured.feed.samples.resident
    assert_same(weights(eager), weights(captured))


@pytest.mark.parametrize("look", ["[:, 0]", ".any()", ".shape"])
def test_a_look_at_what_the_host_knows_of_one_batch_is_the_reason_to_stay_eager(
    look: str, by_tape: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = registry.method("multi_task")
    original = kind.losses

    def losses(self: Any, batch: Batch, progress: Tensor) -> Losses:
        eval(f"batch.labelled_host{look}", {"batch": batch})
        return original(self, batch, progress)

    spec = tiny_spec()
    plain = trained(spec, tmp_path / "plain")
    monkeypatch.setattr(kind, "losses", losses)
    looking = trained(spec, tmp_path / "looking", prepare=taped)
    assert not looking.loop.captured and "looks at labelled_host" in str(looking.loop.reason)
    assert_same(weights(plain), weights(looking))


def test_host_values_would_be_found(by_tape: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tape can fail: a step that counts on the host is repeated with the recorded count."""
    kind = registry.method("multi_task")
    original, calls = kind.losses, [0]

    def losses(self: Any, batch: Batch, progress: Tensor) -> Losses:
        found = original(self, batch, progress)
        calls[0] += 1
        return Losses({name: value * calls[0] for name, value in found.tasks.items()})

    monkeypatch.setattr(kind, "losses", losses)
    eager = trained(tiny_spec(), tmp_path / "eager")
    calls[0] = 0
    assert trained(tiny_spec(), tmp_path / "tape", prepare=taped).curve != eager.curve


def test_a_wait_is_found_before_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def step(*said: str) -> None:  # as torch says it in this mode
        for text in ("Synchronization debug mode is a prototype feature", *said):
            warnings.warn(text, UserWarning, stacklevel=1)

    assert capture.waits(step) is None and modes == ["warn", 0]
    found = capture.waits(lambda: step("called a synchronizing CUDA operation"))
    assert found and re.fullmatch(r"it waits for the device \(test_capture.py, line \d+\)", found)
    with pytest.warns(UserWarning, match="of its own"):
        assert capture.waits(lambda: step("a warning of its own")) is None
    with pytest.raises(ValueError, match="broken"):
        capture.waits(lambda: (_ for _ in ()).throw(ValueError("broken")))
    assert modes[-1] == 0


def test_a_run_gives_its_memory_back_when_nobody_holds_it(tmp_path: Path) -> None:
    run = finished(tiny_spec(epochs=0.5), tmp_path)[0]
    seen = weakref.ref(run.method)
    gc.collect()
    gc.disable()
    try:
        del run
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_a_cuda_graph_gives_the_losses_of_the_step(method: str, tmp_path: Path) -> None:
    """Within twice what a re-run of the step differs by, as kernels are not deterministic, or 1e-4."""
    spec = specs(method, tasks=THREE)[-1]
    found = [trained(spec, tmp_path / str(i), device="cuda", capture=i == 2) for i in range(3)]
    assert found[2].loop.captured, found[2].loop.reason
    one, two, graph = (torch.tensor([list(p["loss"].values()) for p in run.curve]) for run in found)
    floor = (one - two).abs().max()
    assert (one - graph).abs().max() <= torch.maximum(2 * floor, 1e-4 * one.abs().max())


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_a_step_never_synchronises(method: str, tmp_path: Path) -> None:
    spec = specs(method, tasks=THREE)[-1]
    run = run_of(spec, device="cuda")
    run.start(RunDir(tmp_path, spec.folder))
    run.loop(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype feature")
        torch.cuda.set_sync_debug_mode("error")
        try:
            run.loop(1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
