"""The encoder's trunk: its own share of the learning rate, or frozen."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmark.training.build import build_method
from benchmark.training.step import Step, make_optimiser
from tests.helpers import TASKS, tiny_batch, tiny_protocol, tiny_spec


def test_rates_of_groups_trunk_and_run_multiply() -> None:
    method = build_method(tiny_spec(), {n: TASKS[n] for n in ("semseg", "depth", "normals")}, None, {})
    protocol = tiny_protocol(encoder_lr_scale=0.1, lr=0.01, schedule="constant", optimiser="sgd")
    trunk = {id(p) for p in method.encoder.trunk.parameters()}  # type: ignore[union-attr]
    groups = make_optimiser(method, protocol).param_groups
    assert [g["lr_scale"] for g in groups] == [1.0, 0.1]
    assert {id(p) for p in groups[1]["params"]} == trunk and not {id(p) for p in groups[0]["params"]} & trunk
    step = Step(method, protocol, 2, lr_scale=3.0)
    step(
        tiny_batch(("semseg", "depth", "normals"), torch.ones(2, 3, dtype=torch.bool), dtype=torch.float32), 0
    )
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
