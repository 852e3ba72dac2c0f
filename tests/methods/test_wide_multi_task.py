"""The control of equal size: `multi_task` at factor 1, the same losses of wider decoders else."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmark.spec import plan, registry
from benchmark.training import build
from methods.networks.build import make_encoder
from methods.wide_multi_task import WideMultiTask
from tests.methods.cases import batch, check_losses, problem, supervised


@pytest.mark.parametrize("labelled", ["one", "mixed"])
def test_losses_are_the_supervised_ones_of_wider_decoders(labelled: str) -> None:
    wide = WideMultiTask(problem(), factor=1.5).double()
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


def test_the_plan_gives_it_as_many_parameters_as_the_prototype_model(tmp_path: Path) -> None:
    cells = plan.make(["nyuv2-small-controls"], ["weights=none"], tmp_path).cells
    rival = plan.make(["nyuv2-small"], ["weights=none"], tmp_path).cells
    sizes: dict[str, int] = {}
    for spec in (*cells, *rival):
        if spec.method in {"wide_multi_task", "prototype"} - sizes.keys():
            tasks, protocol = registry.open_dataset(spec.dataset, tmp_path).tasks, spec.protocol
            own = build.problem(protocol, {name: tasks[name] for name in spec.tasks})
            own = replace(own, make_encoder=partial(make_encoder, protocol.encoder, protocol.width))
            with torch.device("meta"):
                built = registry.method(spec.method)(own, **spec.hyperparameters)
            shipped = {id(p): p.numel() for m in built.inference_modules() for p in m.parameters()}
            sizes[spec.method] = sum(shipped.values())
    assert sizes["wide_multi_task"] == pytest.approx(sizes["prototype"], rel=0.005)
