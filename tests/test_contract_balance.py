"""Every balancing with two methods, one of them with an auxiliary loss: nothing leaks, and a run repeats and
resumes.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.runs.rundir import RunDir
from benchmark.spec.weighting import BALANCES
from benchmark.training.loop import Interrupted, Options, Run
from tests.helpers import TASKS, THREE, tiny_spec, tiny_split
from tests.test_contract import assert_same, trained, weights, with_garbage


@pytest.fixture(params=BALANCES)
def balance(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if BALANCES[name].kind == "gradients":
        pytest.importorskip("torchjd")
    return name


@pytest.mark.parametrize("method", ["multi_task", "mtpsl"])
def test_neither_garbage_in_hidden_labels_nor_an_interruption_changes_a_bit(
    method: str, balance: str, tmp_path: Path
) -> None:
    """Against a run on clean data without a stop, so that it says too that a run repeats. Three epochs: dwa
    looks at two.
    """
    equal, train = tiny_spec(method, "random"), tiny_split()
    spec = replace(equal, balance=balance)
    whole = trained(spec, tmp_path / "whole", train)

    dirty, options, place = with_garbage(train, spec), Options(), RunDir(tmp_path / "cut", spec.folder)
    options.report = lambda step, steps, loss: options.stop.set() if step == 5 else None
    claim = place.claim(spec)
    assert claim is not None
    run = Run(spec, dirty, tiny_split(4, 9), {name: TASKS[name] for name in THREE}, options)
    run.start(place)
    with pytest.raises(Interrupted):
        run.train(place, claim)
    claim.release()
    resumed = trained(spec, tmp_path / "cut", dirty)
    assert resumed.stepper is not run.stepper and run.step == 5

    assert_same(weights(whole), weights(resumed))
    assert_same(whole.stepper.balancing.state_dict(), resumed.stepper.balancing.state_dict())
    assert whole.curve == resumed.curve
    if method == "multi_task" and balance != "equal":
        plain = weights(trained(equal, tmp_path / "equal", train))
        assert any(not torch.equal(value, plain[key]) for key, value in weights(whole).items())
