"""The control of equal size: `multi_task` at factor 1, the same losses of wider decoders else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.spec import plan, registry
from benchmark.training.build import build_method
from methods.multi_task import MultiTask
from methods.wide_multi_task import WideMultiTask
from tests.methods.cases import FULL, MIXED, NOTHING, ONE, batch, check_losses, problem, supervised


def method(factor: float) -> WideMultiTask:
    torch.manual_seed(3)
    return WideMultiTask(problem(), factor=factor).double()


def test_at_factor_one_it_is_multi_task_bit_for_bit() -> None:
    torch.manual_seed(3)
    plain, same = MultiTask(problem()).double(), method(1.0)
    assert plain.state_dict().keys() == same.state_dict().keys()
    data, progress = batch(plain.problem, MIXED), torch.tensor(0.5)
    for one in (plain, same):
        one.losses(data, progress).total().backward()
    for mine, theirs in zip(same.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs) and torch.equal(mine.grad, theirs.grad)


@pytest.mark.parametrize("labelled", [ONE, MIXED, FULL, NOTHING])
def test_losses_are_the_supervised_ones_of_wider_decoders(labelled: list[list[int]]) -> None:
    wide = method(1.5).train()
    data = batch(wide.problem, labelled)

    shared, predictions = wide.encoder(data.images), {}
    for name in wide.problem.tasks:
        first, decoder = wide.decoders[name]
        assert first.weight.shape == (12, 8, 1, 1)  # 1.5 times the shared width
        rows = [sample.flatten(1).T @ first.weight[:, :, 0, 0].T + first.bias for sample in shared]
        maps = torch.stack([row.T.reshape(-1, *shared.shape[-2:]) for row in rows])
        predictions[name] = wide.heads[name](decoder(maps))
    tasks = supervised(wide.problem, predictions, data)
    check_losses(wide, wide.losses(data, torch.tensor(0.5)), {}, tasks)


def test_the_plan_gives_it_as_many_parameters_as_the_prototype_model_ships(tmp_path: Path) -> None:
    cells = plan.make(["nyuv2-small-controls"], ["weights=none"], tmp_path).cells
    rival = plan.make(["nyuv2-small"], ["weights=none"], tmp_path).cells
    sizes = {}
    for spec in (*cells, *rival):
        if spec.method in ("wide_multi_task", "prototype"):
            known = registry.open_dataset(spec.dataset, tmp_path).tasks
            tasks = {name: known[name] for name in spec.tasks}
            built = build_method(spec, tasks, None, {})
            shipped = {id(p): p.numel() for m in built.inference_modules() for p in m.parameters()}
            sizes[spec.method] = sum(shipped.values())
    assert sizes["wide_multi_task"] == pytest.approx(sizes["prototype"], rel=0.005)
