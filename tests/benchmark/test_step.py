"""The step: it clips, follows its schedule, weighs groups, and stops updating once anything is not finite."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.training.step import Step, lr_factor, make_optimiser
from methods.base import Batch, Losses, Method
from tests.helpers import tiny_batch, tiny_problem, tiny_protocol

ALL = torch.ones(2, 3, dtype=torch.bool)


class Toy(Method):
    """Two numbers; the gradient of `a` is `slope`, that of `b` is 1."""

    def __init__(self) -> None:
        super().__init__(tiny_problem())
        self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
        self.slope, self.poison_at = 3.0, -1
        self.calls = 0

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        bad = torch.tensor(float("nan") if self.calls == self.poison_at else 0.0)
        self.calls += 1
        return Losses({"depth": self.slope * self.a}, {"extra": self.b + bad * self.b})

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.a]}, {"params": [self.b], "lr_scale": 10.0, "weight_decay": 0.0}]


def run(toy: Toy, steps: int, **changes: Any) -> Step:
    step = Step(
        toy, tiny_protocol(weight_decay=0.0, optimiser="sgd", lr=0.01, schedule="constant", **changes), steps
    )
    batch = tiny_batch(("semseg", "depth", "normals"), ALL, dtype=torch.float32)
    for i in range(steps):
        step(batch, i)
    return step


def test_groups_have_their_learning_rates_and_the_norm_is_clipped() -> None:
    toy = Toy()
    run(toy, 1, clip=0.0)
    assert toy.a.item() == pytest.approx(1 - 0.01 * 3) and toy.b.item() == pytest.approx(1 - 0.1 * 1)
    toy = Toy()
    run(toy, 1, clip=1.0)
    norm = (3**2 + 1) ** 0.5
    assert toy.a.item() == pytest.approx(1 - 0.01 * 3 / norm) and toy.b.item() == pytest.approx(
        1 - 0.1 / norm
    )


def test_the_latch_keeps_the_first_bad_step_and_term_and_stops_every_update() -> None:
    toy = Toy()
    toy.poison_at = 2
    step = run(toy, 6, clip=0.0)
    assert step.failure() == (2, "extra")
    reference = Toy()
    run(reference, 2, clip=0.0)
    assert toy.a.item() == reference.a.item() and toy.b.item() == reference.b.item()


def test_a_gradient_that_overflows_is_caught_before_it_is_applied() -> None:
    toy = Toy()
    toy.slope = 3e38
    with torch.no_grad():
        toy.a.fill_(1e-5)  # the loss is finite, the gradient's norm is not
    step = run(toy, 2)
    assert step.failure() == (0, "the gradient's norm")
    assert toy.a.item() == pytest.approx(1e-5)


def test_means_are_read_and_cleared() -> None:
    toy = Toy()
    step = run(toy, 2, clip=0.0)
    means = step.read(2)
    assert means["depth"] == pytest.approx((3 * 1 + 3 * 0.97) / 2, rel=1e-6)
    assert step.read(1) == {"depth": 0.0, "extra": 0.0}


def test_schedules() -> None:
    poly = tiny_protocol(schedule="poly", poly_power=0.9)
    assert [lr_factor(poly, s, 10) for s in (0, 5)] == [1.0, pytest.approx(0.5**0.9)]
    stepped = tiny_protocol(schedule="step", epochs=10.0, step_every=4.0, step_factor=0.5)
    assert [lr_factor(stepped, s, 100) for s in (0, 39, 40, 80, 99)] == [1, 1, 0.5, 0.25, 0.25]
    assert lr_factor(tiny_protocol(schedule="constant"), 7, 10) == 1


def test_every_parameter_is_in_exactly_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()

    def missing() -> list[dict[str, Any]]:
        return [{"params": [toy.a]}]

    monkeypatch.setattr(toy, "param_groups", missing)
    with pytest.raises(TypeError, match="exactly once"):
        make_optimiser(toy, tiny_protocol())


def test_terms_must_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    names: Iterator[str] = iter(["one", "two"])
    monkeypatch.setattr(toy, "losses", lambda batch, progress: Losses({"depth": toy.a}, {next(names): toy.b}))
    with pytest.raises(TypeError, match="same terms"):
        run(toy, 2)
