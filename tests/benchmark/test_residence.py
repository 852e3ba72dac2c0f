"""Samples in host memory that are sent ahead give the same batches, losses and scores as samples that lie on
the device.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.runs.rundir import RunDir
from benchmark.training import residence
from benchmark.training.loop import Options, Run
from benchmark.training.residence import Samples
from datasets.base import Split
from tests.helpers import TASKS, THREE, tiny_spec, tiny_split


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every split too large for its device."""
    monkeypatch.setattr(residence, "_fits", lambda parts, device: False)


@pytest.mark.parametrize("asked", [[0, 1, 2, 3], [2, 0, 1, 1, 3, 0]])
def test_batches_are_a_function_of_their_number(asked: list[int], elsewhere: None) -> None:
    split = replace(tiny_split(), extents=torch.arange(24).view(12, 2))
    order = torch.tensor([3, 1, 0, 11, 5, 5, 2, 7, 8, 9, 10, 4, 6, 0, 1, 2])
    samples = Samples(split, {n: TASKS[n] for n in THREE}, order, 4, "cpu")
    for number in asked:
        batch, here = samples(number), order[4 * number : 4 * number + 4]
        assert torch.equal(batch.images, split.images[here]) and list(batch.targets) == list(THREE)
        assert all(torch.equal(batch.targets[n], split.targets[n][here]) for n in THREE)
        assert batch.extents is not None and split.extents is not None
        assert torch.equal(batch.extents, split.extents[here])


def run_once(folder: Path, train: Split) -> tuple[dict[str, torch.Tensor], object]:
    spec = tiny_spec(epochs=2.0)
    run = Run(spec, train, tiny_split(6, 9), {n: TASKS[n] for n in THREE}, Options())
    place = RunDir(folder, spec.folder)
    claim = place.claim(spec)
    assert claim is not None
    run.start(place)
    run.train(place, claim)
    record = run.finish(place, claim)
    claim.release()
    return run.method.state_dict(), (record["metrics"], record["curve"])


def test_a_run_from_either_ends_in_the_same_bits(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    weights, numbers = run_once(tmp_path / "resident", tiny_split())
    request.getfixturevalue("elsewhere")
    sent, same = run_once(tmp_path / "sent", tiny_split())
    assert all(torch.equal(weights[k], sent[k]) for k in weights) and numbers == same
