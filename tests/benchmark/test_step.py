"""The step: it clips, follows its schedule, weighs groups, and stops updating once anything is not finite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.training.build import build_method
from benchmark.training.step import Step, lr_factor, make_optimiser
from methods.base import Batch, Losses, Method
from tests.helpers import TASKS, THREE, tiny_batch, tiny_problem, tiny_protocol, tiny_spec

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
    protocol = tiny_protocol(weight_decay=0.0, optimiser="sgd", lr=0.01, schedule="constant", **changes)
    step, batch = Step(toy, protocol, steps), tiny_batch(THREE, ALL, dtype=torch.float32)
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
    assert [toy.a.item(), toy.b.item()] == pytest.approx([1 - 0.01 * 3 / norm, 1 - 0.1 / norm])


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


def test_groups_hold_every_parameter_once_and_terms_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    toy, names = Toy(), iter(["one", "two"])
    monkeypatch.setattr(toy, "losses", lambda batch, progress: Losses({"depth": toy.a}, {next(names): toy.b}))
    with pytest.raises(TypeError, match="same terms"):
        run(toy, 2)
    monkeypatch.setattr(toy, "param_groups", lambda: [{"params": [toy.a]}])
    with pytest.raises(TypeError, match="exactly once"):
        make_optimiser(toy, tiny_protocol())


def test_rates_of_groups_trunk_and_run_multiply() -> None:
    method = build_method(tiny_spec(), {n: TASKS[n] for n in THREE}, None, {})
    protocol = tiny_protocol(encoder_lr_scale=0.1, lr=0.01, schedule="constant", optimiser="sgd")
    trunk = {id(p) for p in method.encoder.trunk.parameters()}  # type: ignore[union-attr]
    groups = make_optimiser(method, protocol).param_groups
    assert [g["lr_scale"] for g in groups] == [1.0, 0.1]
    assert {id(p) for p in groups[1]["params"]} == trunk and not {id(p) for p in groups[0]["params"]} & trunk
    step = Step(method, protocol, 2, lr_scale=3.0)
    step(tiny_batch(THREE, ALL, dtype=torch.float32), 0)
    assert [float(g["lr"]) for g in step.optimiser.param_groups] == pytest.approx([0.03, 0.003])


@pytest.mark.parametrize("method", ["multi_task", "prototype", "mean_teacher", "perceptual_map"])
def test_a_frozen_trunk_keeps_weights_and_statistics_and_holds_no_graph(method: str) -> None:
    spec = tiny_spec(method)
    spec = replace(spec, protocol=replace(spec.protocol, freeze=True))
    made = build_method(spec, {n: TASKS[n] for n in spec.tasks}, None, {})
    encoder: Any = made.encoder
    before = {name: value.clone() for name, value in encoder.trunk.state_dict().items()}
    fusion = encoder.fusion.weight.clone()
    step = Step(made, spec.protocol, 3)
    batch = tiny_batch(spec.tasks, torch.eye(3, dtype=torch.bool), views=made.views, dtype=torch.float32)
    with torch.no_grad():
        made.prepare(iter([batch]))
    made.train()
    for number in range(2):
        step(batch, number)
    for name, value in encoder.trunk.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(fusion, encoder.fusion.weight)
    held = {id(p) for group in step.optimiser.param_groups for p in group["params"]}
    assert not held & {id(p) for p in encoder.trunk.parameters()}
    assert not any(stage.requires_grad for stage in encoder.stages(batch.images))
    assert encoder(batch.images).requires_grad
