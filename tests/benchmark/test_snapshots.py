"""Snapshots of diagnostics: that a run does not notice them, that they survive a stop, and what they hold."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.runs.rundir import RunDir
from benchmark.spec.run import RunSpec
from benchmark.training import probe, snapshots
from benchmark.training.loop import CURVE_POINTS, Interrupted, Options, Run
from methods.base import Batch, Diagnostic
from tests.helpers import TASKS, tiny_spec, tiny_split

SIX = tuple(TASKS)


def specs(**changes: Any) -> dict[str, RunSpec]:
    """Runs whose methods have moving averages, codes, teachers and balancings to disturb."""
    prototype = tiny_spec("prototype", **changes)
    averaged = replace(
        prototype, hyperparameters=prototype.hyperparameters | {"vq_mode": "ema"}, changed=("vq_mode",)
    )
    return {
        "codes": prototype,
        "averaged codes": averaged,
        "teacher": tiny_spec("mean_teacher", **changes),
        "balancing": replace(tiny_spec("multi_task", **changes), balance="uncertainty"),
    }


CASES = tuple(specs())


def run_of(
    spec: RunSpec,
    folder: Path,
    prepare: Callable[[Run], None] = lambda run: None,
    stop: int = 0,
    **options: Any,
) -> Any:
    """(run, record, arrays) of a run; stop: ends it at the end of this step, and another process's run goes
    on.
    """
    place = RunDir(folder, spec.folder)
    for step in (stop, 0) if stop else (0,):
        claim = place.claim(spec)
        assert claim is not None
        settings = Options(checkpoint_every=1000, **options)
        run = Run(spec, tiny_split(), tiny_split(4, 9), {n: TASKS[n] for n in spec.protocol.tasks}, settings)
        prepare(run)
        run.start(place)
        if step:
            settings.report = lambda now, steps, loss, at=step, own=settings: (
                own.stop.set() if now == at else None
            )  # type: ignore[misc]
            with pytest.raises(Interrupted):
                run.train(place, claim)
        else:
            run.train(place, claim)
            record = run.finish(place, claim)
        claim.release()
    with np.load(place.file("per_image.npz")) as arrays:
        return run, record, dict(arrays)


def taken(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name.startswith("snapshot")}


def same_numbers(a: Any, b: Any) -> None:
    """Of two runs: weights, optimiser, curve, and every value of the record but for times and the digest of
    them.
    """
    for name, value in a[0].method.state_dict().items():
        assert torch.equal(value, b[0].method.state_dict()[name]), name
    assert str(a[0].stepper.state()) == str(b[0].stepper.state())
    assert a[0].curve == b[0].curve
    first, second = (
        {k: v for k, v in r[1].items() if k not in ("cost", "environment", "digest")} for r in (a, b)
    )
    assert json.dumps(first) == json.dumps(second)


def test_snapshots_are_evenly_spaced_and_lie_where_losses_are_logged() -> None:
    for steps in (1, 2, 3, 7, 8, 40, 41, 144, 999, 40_000):
        every = max(1, -(-steps // CURVE_POINTS))
        due = sorted(snapshots.due(steps, every))
        assert len(due) <= snapshots.POINTS - 1 and steps not in due
        assert all(step == 1 or step % every == 0 for step in due)
        assert steps == 1 or due[0] == 1
        even = [steps * part / (snapshots.POINTS - 1) for part in range(1, snapshots.POINTS - 1)]
        assert all(min(abs(point - step) for step in (*due, steps)) < every for point in even)
    assert len(snapshots.due(40_000, 1000)) == snapshots.POINTS - 1


@pytest.mark.parametrize("case", CASES)
def test_a_run_does_not_notice_them(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = specs(epochs=8.0, evaluations=2)[case]
    watched = run_of(spec, tmp_path / "watched")
    monkeypatch.setattr(snapshots, "due", lambda steps, every: frozenset())
    alone = run_of(spec, tmp_path / "alone")
    same_numbers(watched, alone)
    assert len(watched[2][snapshots.EPOCHS]) == snapshots.POINTS and len(alone[2][snapshots.EPOCHS]) == 1
    assert {name for name in watched[2]} == {name for name in alone[2]}
    for name in set(watched[2]) - set(taken(watched[2])):
        assert np.array_equal(watched[2][name], alone[2][name], equal_nan=True), name


def careless(run: Run) -> None:
    """Diagnostics that draw, count in a buffer, and run their network in training mode."""
    method, found = run.method, run.method.diagnostics
    method.register_buffer("asked", torch.zeros(()))
    method.encoder.eval()  # a part that its method holds in evaluation mode

    def diagnostics(batch: Batch) -> dict[str, Diagnostic]:
        assert not method.training and not torch.is_grad_enabled()
        found(batch)
        method.train()
        method.predict(batch.images)
        method.asked.add_(1)  # type: ignore[operator,union-attr]
        return {"drawn": Diagnostic("scalar", torch.rand(()).numpy())}

    method.diagnostics = diagnostics  # type: ignore[method-assign]


def test_diagnostics_that_change_things_leave_none_changed(tmp_path: Path) -> None:
    spec = specs()["averaged codes"]
    run = Run(spec, tiny_split(), tiny_split(4, 9), {n: TASKS[n] for n in spec.protocol.tasks}, Options())
    run.start(RunDir(tmp_path, spec.folder))
    run.method.train()
    run.loop(0)
    careless(run)
    modes = [module.training for module in run.method.modules()]
    assert True in modes and False in modes
    addresses = [buffer.data_ptr() for buffer in run.method.buffers()]
    before, drawn = {k: v.clone() for k, v in run.method.state_dict().items()}, torch.get_rng_state()
    first, second = (probe.diagnostics(run)["drawn"].array for _ in range(2))
    assert first == second  # the same random numbers at every point
    assert (
        torch.equal(torch.get_rng_state(), drawn)
        and [module.training for module in run.method.modules()] == modes
    )
    assert [buffer.data_ptr() for buffer in run.method.buffers()] == addresses
    assert len(before) > 20 and "asked" in before
    for name, value in run.method.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("stop", [1, 5, 23, 24])
def test_a_stopped_run_has_the_same_snapshots(stop: int, tmp_path: Path) -> None:
    spec = specs(epochs=8.0)["averaged codes"]
    whole, cut = run_of(spec, tmp_path / "whole"), run_of(spec, tmp_path / "cut", stop=stop)
    assert whole[0].feed.steps == 24 and cut[0].step == 24
    same_numbers(whole, cut)
    files = [
        RunDir(tmp_path / name, spec.folder).file("per_image.npz").read_bytes() for name in ("whole", "cut")
    ]
    assert files[0] == files[1]


def test_a_checkpoint_of_earlier_code_gives_the_snapshots_that_are_left(tmp_path: Path) -> None:
    spec = specs(epochs=8.0)["codes"]

    def forget(run: Run) -> None:
        path = RunDir(tmp_path, spec.folder).file("checkpoint.pt")
        if path.exists():
            state = torch.load(path, weights_only=True)
            assert len(state.pop("snapshots")) == 3  # of steps 1, 4 and 7
            torch.save(state, path)

    assert len(run_of(spec, tmp_path, forget, stop=8)[2][snapshots.EPOCHS]) == snapshots.POINTS - 3


@pytest.mark.parametrize("case", ["codes", "balancing"])
def test_the_last_snapshot_is_the_diagnostics_of_the_record(case: str, tmp_path: Path) -> None:
    _, record, arrays = run_of(specs(epochs=4.0, tasks=SIX)[case], tmp_path)
    kinds = {name: d["kind"] for name, d in record["diagnostics"].items()}
    assert {n.removeprefix(snapshots.PREFIX) for n in taken(arrays)} - {snapshots.EPOCHS} == set(kinds)
    assert "matrix" in kinds.values()
    for name, diagnostic in record["diagnostics"].items():
        over_time = arrays[snapshots.PREFIX + name]
        assert over_time.dtype == np.float32 and over_time.shape == (
            snapshots.POINTS,
            *np.shape(diagnostic["array"]),
        )
        assert over_time[-1] == pytest.approx(
            np.array(diagnostic["array"]), rel=6e-5
        )  # a record keeps five digits
        assert diagnostic["kind"] == "scalar" or len(np.unique(over_time, axis=0)) == snapshots.POINTS
    epochs = arrays[snapshots.EPOCHS]
    assert (
        epochs[-1] == record["curve"][-1]["epoch"] == 4.0 and (np.diff(epochs) > 0).all() and epochs[0] < 0.4
    )


def test_only_what_is_there_in_one_shape_at_every_point_is_kept() -> None:
    def at(epoch: float, **values: Any) -> snapshots.Snapshot:
        shown = {name: Diagnostic(kind, np.array(array)) for name, (kind, array) in values.items()}
        return snapshots.snapshot(epoch, shown)

    whole, early = ("matrix", [[1.0, 2.0]]), ("scalar", 0.1)
    points = [
        at(0.5, a=whole, b=early, c=whole, d=("histogram", [1.0, 2.0]), e=("scalar", 1.0)),
        at(
            1.0,
            a=("matrix", [[3.0, np.nan]]),
            c=("matrix", [[1.0]]),
            d=("histogram", [1.0, 2.0]),
            e=("scalar", 2.0),
        ),
    ]
    found = snapshots.arrays(points)
    assert set(found) == {"snapshot_epochs", "snapshots/a", "snapshots/e"}
    assert found["snapshot_epochs"].tolist() == [0.5, 1.0] and found["snapshots/e"].tolist() == [1.0, 2.0]
    assert np.array_equal(found["snapshots/a"], [[[1, 2]], [[3, np.nan]]], equal_nan=True)
    assert snapshots.arrays([at(0.5, d=("histogram", [1.0]))]) == {} == snapshots.arrays([at(0.5)])


def test_they_take_little_of_a_published_file(tmp_path: Path) -> None:
    """A file may have 64 KiB, and the statistics of 654 test images take most of them."""
    _, _, arrays = run_of(tiny_spec("prototype", tasks=SIX, epochs=8.0), tmp_path)
    taken_up = taken(arrays)
    assert taken_up["snapshots/affinity"].shape == (8, 6, 6) and len(taken_up) > 10
    np.savez_compressed(tmp_path / "them.npz", **taken_up)  # type: ignore[arg-type]
    assert (tmp_path / "them.npz").stat().st_size < 6 * 1024


@pytest.mark.cuda
@pytest.mark.parametrize("capture", [True, False])
def test_a_run_on_a_gpu_does_not_notice_them(
    capture: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = specs(epochs=8.0)["averaged codes"]
    watched = run_of(spec, tmp_path / "watched", device="cuda", capture=capture)
    monkeypatch.setattr(snapshots, "due", lambda steps, every: frozenset())
    alone = run_of(spec, tmp_path / "alone", device="cuda", capture=capture)
    assert watched[1]["cost"]["captured"] == alone[1]["cost"]["captured"] == capture
    assert watched[1]["cost"]["peak_gib"] == alone[1]["cost"]["peak_gib"]
    assert len(watched[2][snapshots.EPOCHS]) == snapshots.POINTS
    for name, value in alone[0].method.state_dict().items():  # a GPU's sums may differ from run to run
        torch.testing.assert_close(watched[0].method.state_dict()[name], value, rtol=1e-3, atol=1e-4)
