"""Cross-task consistency against a loop over samples and pairs, with BatchNorm over batches of one."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base import Batch, View
from methods.mtpsl import MTPSL
from methods.networks import mapper
from methods.networks.mapper import Mapper, PairMapper, active_pairs, gumbel_sample
from tests.methods import cases
from tests.methods.cases import ALL, THREE, batch, batch_norm, check_losses, distance, problem, supervised


def method(names: tuple[str, ...] = THREE, stride: int = 1, complete: bool = False) -> MTPSL:
    torch.manual_seed(3)
    case = replace(problem(names), complete=complete)
    made = MTPSL(case, mapper_width=2, mapper_stride=stride).double()
    for norm in (*made.mapper.norms, *(first[1] for first in made.mapper.first.values())):
        for name, p in norm.named_parameters():  # gamma = 1 and beta = 0 would hide a wrong pair
            nn.init.normal_(p, float(name in ("gamma", "weight")), 0.3)
    return made


def slow_map(network: PairMapper, task: str, pair: int, x: Tensor, poolings: Sequence[int]) -> Tensor:
    """m_st of one input (C, H, W): the task's layer, then those of the trunk, with poolings after some."""
    conv, norm = network.first[task][:2]
    x = batch_norm(norm.weight, norm.bias, conv(x[None])).clamp_min(0)
    for number in range(len(network.norms)):
        norm = network.norms[number]
        x = batch_norm(norm.weight, norm.bias, network.convs[number](x))
        x = (x * norm.gamma[pair][None, :, None, None] + norm.beta[pair][None, :, None, None]).clamp_min(0)
        if number + 1 in poolings:
            x = F.max_pool2d(x, 2, ceil_mode=True)
    return x[0]


def slow_consistency(
    made: MTPSL, predictions: dict[str, Tensor], view: View, labelled: Tensor, deepest: Tensor
) -> Tensor:
    names, total = list(made.problem.tasks), torch.zeros((), dtype=torch.float64)
    order = [(s, t) for s in range(len(names)) for t in range(len(names)) if s != t]
    stride = made.stride
    poolings = [2, 4, 7, 10, 13][{1: 0, 2: 1, 4: 2}[stride] :]
    for b in range(len(labelled)):
        for number, (s, t) in enumerate(order):
            known = view.targets[names[t]][b][:, ::stride, ::stride]
            task_s, task_t = made.problem.tasks[names[s]], made.problem.tasks[names[t]]
            if not labelled[b, t] or not task_t.valid(known[None]).any():
                continue
            if labelled[b, s] and not made.problem.complete:
                continue
            predicted = cases.slow_input(task_s, predictions[names[s]][b][:, ::stride, ::stride], False)
            of_prediction = slow_map(made.mapper, names[s], number, predicted, poolings)
            label = cases.slow_input(task_t, known, True)
            of_label = slow_map(made.mapper, names[t], number, label, poolings)
            to_features = distance(of_prediction, deepest[b]) + distance(of_label, deepest[b])
            total += distance(of_prediction, of_label) + 0.5 * to_features
    return total / len(labelled)


def check(made: MTPSL, data: Batch) -> None:
    stages = made.encoder.stages(torch.cat([data.images, data.views[0].images]))
    shared, b = made.encoder.fuse(stages), len(data.images)
    predictions = {name: made.heads[name](made.decoders[name](shared)) for name in made.problem.tasks}
    found = made.losses(data, torch.tensor(0.5))
    second = {name: p[b:] for name, p in predictions.items()}
    total = 2 * slow_consistency(made, second, data.views[0], data.labelled, stages[-1][b:].detach())
    check_losses(made, found, {"consistency": total}, supervised(made.problem, predictions, data))


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize(
    ("labelled", "given", "empty"),
    [
        ("one", {}, ()), ("mixed", {"stride": 2}, ()), ("mixed", {"stride": 4}, ()), ("none or all", {}, ()),
        ("six", {"names": tuple(ALL), "stride": 2}, ()), ("one", {}, ((0, "semseg"), (1, "depth"))),
        ("full", {"complete": True}, ((0, "depth"),)), ("mixed", {"complete": True}, ((0, "depth"),)),
    ],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: str, given: dict[str, Any], empty: Any) -> None:
    """And their gradients. Complete labels take all pairs of tasks."""
    made = method(**given)
    check(made, batch(made.problem, labelled, views=1, empty=empty))


@pytest.mark.parametrize(("complete", "places"), [(False, 2), (True, 6)])
def test_partly_labelled_runs_do_not_pay_for_the_pairs_of_complete_ones(complete: bool, places: int) -> None:
    made, seen = method(complete=complete), []
    made.mapper.register_forward_pre_hook(lambda _, given: seen.append(len(given[1])))
    made.losses(batch(made.problem, "one", views=1), torch.tensor(0.0))
    assert seen == [2 * 3 * places]


def test_gumbel_sample_is_one_hot_with_the_soft_gradient_and_the_right_frequencies() -> None:
    torch.manual_seed(0)
    scores = torch.tensor([0.0, 1.0, 2.0, -1.0], dtype=torch.float64)
    logits = scores.view(1, 4, 1, 1).repeat(1, 1, 200, 200).requires_grad_()
    sample = gumbel_sample(logits)
    assert torch.equal(sample.detach().round().sum(1), torch.ones(1, 200, 200, dtype=torch.float64))
    torch.testing.assert_close(sample.detach(), sample.detach().round(), rtol=0, atol=1e-12)
    frequencies = sample.detach().mean((0, 2, 3))
    torch.testing.assert_close(frequencies, scores.softmax(0), rtol=0, atol=0.01)
    weights = torch.randn_like(logits)
    (sample * weights).sum().backward()
    torch.manual_seed(0)
    noise = -(-torch.rand_like(logits).log()).log()
    plain = logits.detach().requires_grad_()
    ((plain + noise).softmax(1) * weights).sum().backward()
    torch.testing.assert_close(logits.grad, plain.grad)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("tasks", [2, 3, 4, 5])
def test_active_pairs_hold_every_pair_for_every_mask(tasks: int, complete: bool) -> None:
    masks = torch.tensor(list(itertools.product([False, True], repeat=tasks)))
    for hidden in range(tasks):
        visible = masks.clone()
        visible[:, hidden] = False
        ordered = torch.tensor(mapper.pairs(tasks))
        places, taken = active_pairs(ordered, masks, visible, complete)
        assert places.shape == (len(masks), mapper.most_pairs(tasks, complete))
        for b, mask in enumerate(masks.tolist()):
            targets = [t for t in range(tasks) if mask[t] and t != hidden]
            expected = {(s, t) for s in range(tasks) for t in targets if s != t and (complete or not mask[s])}
            chosen = [tuple(ordered[p].tolist()) for p, used in zip(places[b], taken[b], strict=True) if used]
            assert set(chosen) == expected and len(chosen) == len(expected)


def test_the_published_mapper_has_as_many_parameters() -> None:
    chosen = {name: ALL[name] for name in THREE}
    chosen["semseg"] = type(chosen["semseg"])("semseg", "classes", 13, "mIoU", True)
    published = Mapper(chosen, 64, 512, 1)
    assert sum(p.numel() for p in published.film()) == 50_688
    assert sum(p.numel() for p in published.parameters()) == 14_819_328
