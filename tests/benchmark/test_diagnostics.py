"""Diagnostics during training: a run does not notice them, and they survive a stop."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.spec.run import RunSpec
from benchmark.training import outcome
from benchmark.training.loop import Run
from methods.base import Batch, Diagnostic
from tests.helpers import assert_same, begun, computed, finished, tiny_spec, trained, weights


def specs(**changes: Any) -> dict[str, RunSpec]:
    """Runs whose methods have moving averages, codes, teachers and balancings to disturb."""
    plain = tiny_spec("prototype", **changes)
    values = plain.hyperparameters | {"vq_mode": "ema"}
    return {
        "averaged codes": replace(plain, hyperparameters=values, changed=("vq_mode",)),
        "teacher": tiny_spec("mean_teacher", **changes),
        "balancing": replace(tiny_spec("multi_task", **changes), balance="uncertainty"),
    }


CASES = tuple(specs())


@pytest.mark.parametrize("case", CASES)
def test_a_run_does_not_notice_them(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = specs(epochs=1.0, evaluations=2)[case]
    watched = finished(spec, tmp_path / "watched")
    seen = [point.pop("diagnostics", None) for point in watched[0].curve if "test" in point]
    scalars = {name for name, d in watched[2]["diagnostics"].items() if d["kind"] == "scalar"}
    assert len(seen) == 2 and all(set(found or ()) == scalars for found in seen)
    monkeypatch.setattr(outcome, "diagnostics", lambda run: {})
    alone = finished(spec, tmp_path / "alone")
    assert watched[2]["metrics"] == alone[2]["metrics"] and watched[0].curve == alone[0].curve
    assert_same(weights(watched[0]), weights(alone[0]))


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
    run, _, claim = begun(spec, tmp_path)
    claim.release()
    run.method.train()
    run.loop(0)
    careless(run)
    modes = [module.training for module in run.method.modules()]
    assert True in modes and False in modes
    addresses = [buffer.data_ptr() for buffer in run.method.buffers()]
    before, drawn = weights(run), torch.get_rng_state()
    first, second = (outcome.diagnostics(run)["drawn"].array for _ in range(2))
    assert first == second  # the same random numbers at every point
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [module.training for module in run.method.modules()] == modes
    assert [buffer.data_ptr() for buffer in run.method.buffers()] == addresses
    assert len(before) > 20 and "asked" in before
    assert_same(weights(run), before)


def test_a_stopped_run_leaves_the_same_files(tmp_path: Path) -> None:
    """And the same weights, optimiser, curve, and every value of the record but for times."""
    spec = specs(epochs=2.0, evaluations=2)["averaged codes"]
    whole, there, record = finished(spec, tmp_path / "whole")
    for stop in (2, 6):
        trained(spec, tmp_path / str(stop), stop=stop)
        cut, here, same = finished(spec, tmp_path / str(stop))
        assert whole.feed.steps == 6 == cut.step and whole.curve == cut.curve
        assert_same(weights(whole), weights(cut))
        assert str(whole.stepper.state()) == str(cut.stepper.state())
        assert json.dumps(computed(record)) == json.dumps(computed(same))
        assert there.file("per_image.npz").read_bytes() == here.file("per_image.npz").read_bytes()


def test_what_is_not_finite_is_null_in_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"lost": Diagnostic("scalar", np.array(np.nan)), "map": Diagnostic("matrix", np.eye(2))}
    monkeypatch.setattr(outcome, "diagnostics", lambda run: found)
    spec = tiny_spec(epochs=1.0, evaluations=1)
    lines = finished(spec, tmp_path)[1].file("curve.jsonl").read_text().splitlines()
    assert [point["diagnostics"] for point in map(json.loads, lines) if "test" in point] == [{"lost": None}]


@pytest.mark.cuda
@pytest.mark.parametrize("capture", [True, False])
def test_nor_does_a_run_on_a_gpu(capture: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = specs(epochs=8.0, evaluations=2)["averaged codes"]
    watched = finished(spec, tmp_path / "watched", device="cuda", capture=capture)
    monkeypatch.setattr(outcome, "diagnostics", lambda run: {})
    alone = finished(spec, tmp_path / "alone", device="cuda", capture=capture)
    assert watched[2]["cost"]["captured"] == alone[2]["cost"]["captured"] == capture
    assert watched[2]["cost"]["peak_gib"] == alone[2]["cost"]["peak_gib"]
    for name, value in alone[0].method.state_dict().items():  # a GPU's sums may differ from run to run
        torch.testing.assert_close(watched[0].method.state_dict()[name], value, rtol=1e-3, atol=1e-4)
