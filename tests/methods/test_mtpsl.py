"""Cross-task consistency against a loop over samples and pairs, with BatchNorm over batches of one as
published.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.training.build import initialise
from methods.base import Batch, View
from methods.mtpsl import MTPSL
from methods.networks import mapper
from methods.networks.mapper import Mapper, PairNorm, active_pairs, gumbel_sample, most_pairs, pairs
from tests.methods.cases import (
    ALL,
    MIXED,
    NONE_OR_ALL,
    ONE,
    SIX,
    THREE,
    batch,
    batch_norm,
    check_losses,
    distance,
    problem,
    slow_input,
    supervised,
)

FULL = [[1, 1, 1]] * 3


def method(
    names: tuple[str, ...] = THREE, stride: int = 1, size: tuple[int, int] = (32, 64), complete: bool = False
) -> MTPSL:
    torch.manual_seed(3)
    made = MTPSL(
        replace(problem(names, size), complete=complete), mapper_width=2, mapper_stride=stride
    ).double()
    for norm in made.mapper.norms:  # gamma = 1 and beta = 0 would hide a wrong pair
        nn.init.normal_(norm.gamma, 1.0, 0.3)
        nn.init.normal_(norm.beta, 0.0, 0.3)
        nn.init.normal_(norm.weight, 1.0, 0.3)
        nn.init.normal_(norm.bias, 0.0, 0.3)
    for first in made.mapper.first.values():
        nn.init.normal_(first[1].weight, 1.0, 0.3)
        nn.init.normal_(first[1].bias, 0.0, 0.3)
    return made


def slow_map(network: Mapper, task: str, pair: int, x: Tensor, stride: int) -> Tensor:
    """m_st of one input (C, H, W): the task's layer, then 13 of the trunk, with poolings after 2, 4, 7, 10,
    13.
    """
    conv, norm = network.first[task][:2]
    x = batch_norm(norm.weight, norm.bias, conv(x[None])).clamp_min(0)
    poolings = [2, 4, 7, 10, 13][{1: 0, 2: 1, 4: 2}[stride] :]
    for number in range(13):
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
    for b in range(len(labelled)):
        for number, (s, t) in enumerate(order):
            known = view.targets[names[t]][b][:, ::stride, ::stride]
            task_s, task_t = made.problem.tasks[names[s]], made.problem.tasks[names[t]]
            if not labelled[b, t] or not task_t.valid(known[None]).any():
                continue
            if labelled[b, s] and not made.problem.complete:
                continue
            predicted = slow_input(task_s, predictions[names[s]][b][:, ::stride, ::stride], False)
            of_prediction = slow_map(made.mapper, names[s], number, predicted, stride)
            of_label = slow_map(made.mapper, names[t], number, slow_input(task_t, known, True), stride)
            f = deepest[b]
            total += distance(of_prediction, of_label) + 0.5 * (
                distance(of_prediction, f) + distance(of_label, f)
            )
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
@pytest.mark.parametrize("labelled", [ONE, MIXED, NONE_OR_ALL], ids=["one", "mixed", "none or all"])
def test_losses_equal_the_loop(labelled: list[list[int]]) -> None:
    made = method()
    check(made, batch(made.problem, labelled, views=1))


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize("labelled", [FULL, MIXED], ids=["full", "some that do not exist"])
def test_complete_labels_take_all_pairs_of_tasks(labelled: list[list[int]]) -> None:
    made = method(complete=True)
    check(made, batch(made.problem, labelled, views=1, empty=((0, "depth"),)))


@pytest.mark.parametrize(("complete", "places"), [(False, 2), (True, 6)])
def test_partly_labelled_runs_do_not_pay_for_the_pairs_of_complete_ones(complete: bool, places: int) -> None:
    made, seen = method(complete=complete), []
    made.mapper.register_forward_pre_hook(lambda _, given: seen.append(len(given[1])))
    made.losses(batch(made.problem, ONE, views=1), torch.tensor(0.0))
    assert seen == [2 * len(ONE) * places]


def test_the_mappers_convolutions_start_as_published() -> None:
    made = MTPSL(problem(), mapper_width=64)
    initialise(made, 0)
    convs = {name: module for name, module in made.mapper.named_modules() if isinstance(module, nn.Conv2d)}
    assert len(convs) == 3 + 13
    for name, conv in convs.items():
        deviation = (2 / (9 * (conv.in_channels + conv.out_channels))) ** 0.5
        assert conv.weight.std().item() == pytest.approx(deviation, rel=0.1), name
        assert conv.weight.abs().max() > 2.2 * deviation, "normal, not uniform, which ends at 1.7"
        assert (conv.bias == 0).all()
    assert convs["convs.0"].weight.std().item() == pytest.approx(0.042, abs=0.001)
    others = made.decoders["depth"].modules()
    assert not any(isinstance(module, mapper.XavierConv) for module in others)


@pytest.mark.usefixtures("no_noise")
def test_losses_equal_the_loop_for_every_kind_of_task() -> None:
    made = method(tuple(ALL))
    check(made, batch(made.problem, SIX, views=1))


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize("stride", [2, 4])
def test_losses_equal_the_loop_with_a_stride(stride: int) -> None:
    made = method(stride=stride)
    check(made, batch(made.problem, MIXED, views=1))


@pytest.mark.usefixtures("no_noise")
def test_a_label_without_a_valid_pixel_in_the_view_leaves_its_pairs_out() -> None:
    made = method()
    data = batch(made.problem, ONE, views=1, empty=((0, "semseg"), (1, "depth")))
    check(made, data)
    only = batch(made.problem, ONE, views=1, empty=((0, "semseg"), (1, "depth"), (2, "normals")))
    losses = made.losses(only, torch.tensor(0.0))
    losses.total().backward()
    assert losses.extra["consistency"] == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    assert all(p.grad is None or (p.grad == 0).all() for p in made.mapper.parameters())


def test_gradients_reach_what_they_should() -> None:
    made = method()
    data = batch(made.problem, [[1, 0, 0]] * 2, views=1)
    losses = made.losses(data, torch.tensor(0.0))
    torch.stack(list(losses.tasks.values())).sum().backward(retain_graph=True)
    for name in ("depth", "normals"):
        hidden = [*made.heads[name].parameters(), *made.decoders[name].parameters()]
        assert all(p.grad is None or (p.grad == 0).all() for p in hidden), (
            "no supervised loss for a hidden label"
        )
    assert all(p.grad is None or (p.grad == 0).all() for p in made.mapper.parameters())
    losses.extra["consistency"].backward()
    for name in ("depth", "normals"):
        assert any((p.grad != 0).any() for p in made.heads[name].parameters()), (
            "consistency trains the unlabelled task"
        )
    active = {number for number, (s, t) in enumerate(pairs(3)) if t == 0 and s != 0}
    for norm in made.mapper.norms:
        moved = {int(i) for i in (norm.gamma.grad != 0).any(1).nonzero()}
        assert moved == active
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_negative_depth_predictions_stay_finite() -> None:
    made = method()
    data = batch(made.problem, [[1, 0, 0]] * 2, views=1)
    for value in (-1.0, 0.0):
        maps = {
            n: torch.full((2, t.channels, 32, 64), value, dtype=torch.float64)
            for n, t in made.problem.tasks.items()
        }
        maps = {name: x.requires_grad_() for name, x in maps.items()}
        made.consistency(
            maps, data.views[0], data.labelled, torch.rand(2, 64, 1, 2, dtype=torch.float64)
        ).backward()
        assert all(x.grad is None or x.grad.isfinite().all() for x in maps.values())


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


@pytest.mark.parametrize("name", ["semseg", "edge"])
def test_predicted_labels_are_drawn_from_the_global_generator(name: str) -> None:
    logits = torch.randn(1, ALL[name].channels, 16, 16)
    torch.manual_seed(5)
    first = mapper.prediction_input(ALL[name], logits)
    assert not torch.equal(first, mapper.prediction_input(ALL[name], logits))
    torch.manual_seed(5)
    assert torch.equal(first, mapper.prediction_input(ALL[name], logits))
    assert first.shape == logits.shape


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("tasks", [2, 3, 4, 5])
def test_active_pairs_hold_every_pair_for_every_mask(tasks: int, complete: bool) -> None:
    masks = torch.tensor(list(itertools.product([False, True], repeat=tasks)))
    for hidden in range(tasks):
        visible = masks.clone()
        visible[:, hidden] = False
        ordered = torch.tensor(pairs(tasks))
        places, taken = active_pairs(ordered, masks, visible, complete)
        assert places.shape == (len(masks), most_pairs(tasks, complete))
        for b, mask in enumerate(masks.tolist()):
            targets = [t for t in range(tasks) if mask[t] and t != hidden]
            expected = {(s, t) for s in range(tasks) for t in targets if s != t and (complete or not mask[s])}
            chosen = [tuple(ordered[p].tolist()) for p, used in zip(places[b], taken[b], strict=True) if used]
            assert set(chosen) == expected and len(chosen) == len(expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pair_norm_is_batch_norm_of_one_sample_the_film_of_its_pair_and_relu(
    layout: torch.memory_format,
) -> None:
    norm = PairNorm(3, 4).double()
    for p in norm.parameters():
        nn.init.normal_(p)
    x, pair = torch.randn(5, 3, 4, 6, dtype=torch.float64), torch.tensor([3, 0, 0, 2, 1])
    x = x.contiguous(memory_format=layout).requires_grad_()
    rows = []
    for i, p in enumerate(pair):
        normed = batch_norm(norm.weight, norm.bias, x[i : i + 1])
        rows.append((normed * norm.gamma[p].view(1, 3, 1, 1) + norm.beta[p].view(1, 3, 1, 1)).clamp_min(0))
    found, expected, weights = norm(x, pair), torch.cat(rows), torch.randn(5, 3, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous(memory_format=layout)
    inputs = [x, *norm.parameters()]
    grads = (torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected))
    for one, two in zip(*grads, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


def test_the_published_mapper_has_as_many_parameters() -> None:
    chosen = {name: ALL[name] for name in THREE}
    chosen["semseg"] = type(chosen["semseg"])("semseg", "classes", 13, "mIoU", True)
    published = Mapper(chosen, 64, 512, 1)
    assert sum(p.numel() for p in published.film()) == 50_688
    assert sum(p.numel() for p in published.parameters()) == 14_819_328
