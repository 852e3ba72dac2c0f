"""Operations and parameters, against a count by hand over the layers of a network that really runs."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.spec import registry
from benchmark.training.flops import Counter, workload
from tests.conftest import Bench
from tests.helpers import SMALL, TASKS, THREE, tiny_problem, tiny_spec


def layers_operations(network: nn.Module, images: torch.Tensor) -> int:
    """Multiplications and additions of the convolutions and linear layers of one prediction."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * module.weight[0].numel()  # type: ignore[union-attr,operator]

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network.eval().predict(images)  # type: ignore[operator]
    return total


def test_counts_are_those_of_the_layers() -> None:
    spec = tiny_spec("multi_task")
    tasks = {name: TASKS[name] for name in THREE}
    found = workload("multi_task", spec.protocol, tasks, {})
    network = registry.method("multi_task")(tiny_problem(THREE))
    assert spec.protocol.size == network.problem.size
    assert found["infer_flops"] == layers_operations(network, torch.zeros(1, 3, *spec.protocol.size)) > 0
    # Backward takes twice what forward does, but for the first layer, whose input needs no gradient.
    assert 2.5 * found["infer_flops"] < found["train_flops"] < 3 * found["infer_flops"]
    assert found["params_train"] == found["params_infer"] == sum(p.numel() for p in network.parameters())


def test_a_one_task_method_costs_the_sum_of_its_networks_and_training_parts_are_not_in_use() -> None:
    protocol, tasks = tiny_spec("multi_task").protocol, {name: TASKS[name] for name in THREE[:2]}
    parts = [workload("single_task", protocol, {name: task}, {}) for name, task in tasks.items()]
    whole = workload("single_task", protocol, tasks, {})
    assert whole["train_flops"] == sum(p["train_flops"] for p in parts)
    assert whole["params_infer"] == sum(p["params_infer"] for p in parts)
    mapped = workload("mtpsl", protocol, tasks, SMALL["mtpsl"])
    plain = workload("multi_task", protocol, tasks, {})
    assert mapped["params_infer"] == plain["params_infer"] < mapped["params_train"]
    assert mapped["infer_flops"] == plain["infer_flops"] and mapped["train_flops"] > 2 * plain["train_flops"]


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_grouped_convolution_costs_twice_as_much_backward(kind: type[nn.Conv2d], groups: int) -> None:
    layer = kind(8, 8, 3, stride=2, padding=1, groups=groups)
    images = torch.zeros(2, 8, 6, 10, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        layer(images)
    with Counter() as both:
        layer(images).sum().backward()
    assert both.total == 3 * forward.get_total_flops() > 0


def test_methods_are_listed_as_their_classes_say(bench: Bench) -> None:
    """The list is read from their files, which it does not import."""
    lines = {line["name"]: line for line in bench.json("list", "methods")}
    assert list(lines) == registry.method_names()
    for name, line in lines.items():
        kind = registry.method(name)
        assert (line["version"], line["summary"], line["paper"]) == (kind.version, kind.summary, kind.paper)


def test_every_hyperparameter_has_a_meaning_and_every_published_method_its_departures() -> None:
    for name in registry.method_names():
        kind, meanings = registry.method(name), registry.meanings(name)
        assert [*meanings] == [*registry.hyperparameters(name)[0]] and all(meanings.values()), name
        found = registry.departures(name)
        assert all(": " in line and line[-1] == "." for line in found), name
        assert found or kind.paper in ("baseline", "reference"), name
