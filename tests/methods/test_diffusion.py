"""DiffusionMTL against a loop over samples and tasks, and its noise against closed forms."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.tasks import Task
from methods.base import Batch
from methods.diffusion import DiffusionMTL, evaluation_noise
from methods.networks.denoiser import Denoiser, Schedule
from tests.methods.cases import ALL, THREE, batch, check_losses, problem, slow_attention, supervised

SPACES = ["feature", "prediction"]


def method(names: tuple[str, ...] = THREE, size: tuple[int, int] = (32, 64), **given: Any) -> DiffusionMTL:
    torch.manual_seed(3)
    made = DiffusionMTL(problem(names, size), **({"blocks": 2, "width": 12} | given)).double()
    for module in made.denoiser.modules():  # plain normalisation and thin output would hide a wrong one
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return made


# The reference: one sample and one task at a time.


def slow_norm(norm: nn.LayerNorm, tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[1:], norm.weight, norm.bias, 1e-5)


def slow_network(network: nn.Sequential, tokens: Tensor, bend: Callable[[Tensor], Tensor] = F.gelu) -> Tensor:
    hidden = bend(tokens @ network[0].weight.t() + network[0].bias)
    return hidden @ network[2].weight.t() + network[2].bias


def slow_quarter(x: Tensor) -> Tensor:
    """(e, h, w) to a quarter of the size, row by row: (n, e)."""
    size = [math.ceil(n / 4) for n in x.shape[1:]]
    return F.interpolate(x[None], size, mode="bilinear", align_corners=False)[0].flatten(1).t()


def slow_denoise(
    network: Denoiser, task: int, state: Tensor, predictions: Tensor, t: int, of_features: bool
) -> Tensor:
    """The estimate (c, h, w) of one task of one sample from x_t (c, h, w) and all predictions (C, h, w)."""
    angles = [t / 10000 ** (i / 128) for i in range(128)]
    wave = torch.tensor([*map(math.cos, angles), *map(math.sin, angles)], dtype=torch.float64)
    time = slow_network(network.time, wave[None], F.silu)[0][:, None, None]
    entered = network.enter[task](state[None])[0] + time
    noisy, known = slow_quarter(entered), slow_quarter(network.condition(predictions[None])[0])
    for block in network.blocks:
        assert block.attend.query.bias is None and block.attend.key_value.bias is None
        noisy = noisy + slow_network(block.feed_noisy, slow_norm(block.norm_noisy, noisy))
        query, key = slow_norm(block.norm_query, known), slow_norm(block.norm_key, noisy)
        known = known + slow_attention(block.attend, query, key)
        known = known + slow_network(block.feed_known, slow_norm(block.norm_known, known))
    h, w = state.shape[1:]
    small = known.t().reshape(1, -1, math.ceil(h / 4), math.ceil(w / 4))
    x = entered[None] + F.interpolate(small, (h, w), mode="bilinear", align_corners=False)
    convs = [layer for layer in network.leave[task] if isinstance(layer, nn.Conv2d)]
    assert [conv.kernel_size[0] for conv in convs] == [1, 3, 3, 3]
    x = convs[0](x)
    for conv in convs[1:-1]:
        x = conv(x).clamp_min(0)
    return convs[-1](x)[0].clamp_min(0) if of_features else convs[-1](x)[0]


def slow_state(task: Task, x: Tensor) -> Tensor:
    """A prediction (C, h, w) as what is diffused."""
    if task.kind == "classes":
        return x.exp() / x.exp().sum(0)
    if task.kind in ("edge", "saliency"):
        return 1 / (1 + (-x).exp())
    return x / (task.span[1] if task.kind == "depth" else x.norm(dim=0))


def slow_betas(steps: int) -> list[float]:
    """Squares of evenly spaced roots, from 0.001 to 0.01."""
    shares = [t / (steps - 1) for t in range(steps)] if steps > 1 else [0.0]
    return [((1 - share) * 0.001**0.5 + share * 0.01**0.5) ** 2 for share in shares]


def slow_result(
    made: DiffusionMTL, clean: list[Tensor], maps: list[Tensor], sample: int, task: int, noise: list[Tensor]
) -> Tensor:
    """The prediction (C, H, W). clean, maps: of each task (B, c, h, w). noise: of t = T-1, ..., 0."""
    betas = slow_betas(made.steps)
    kept = [math.prod(1 - b for b in betas[: t + 1]) for t in range(made.steps)]
    name = list(made.problem.tasks)[task]
    kind = made.problem.tasks[name]
    predictions = torch.cat([m[sample] for m in maps]).detach()
    x0 = clean[task][sample] if made.of_features else slow_state(kind, maps[task][sample])
    last = made.steps - 1
    x = math.sqrt(kept[last]) * x0 + math.sqrt(1 - kept[last]) * noise[0]
    for number, t in enumerate(range(last, 0, -1), 1):
        estimate = slow_denoise(made.denoiser, task, x, predictions, t, made.of_features)
        if not made.of_features:
            estimate = slow_state(kind, estimate)
        mean = math.sqrt(kept[t - 1]) * betas[t] * estimate + math.sqrt(1 - betas[t]) * (1 - kept[t - 1]) * x
        variance = betas[t] * (1 - kept[t - 1]) / (1 - kept[t])
        x = mean / (1 - kept[t]) + math.sqrt(variance) * noise[number]
    estimate = slow_denoise(made.denoiser, task, x, predictions, 0, made.of_features)
    if made.of_features:
        estimate = made.refined_heads[name].conv(estimate[None])[0]
    return F.interpolate(estimate[None], made.problem.size, mode="bilinear", align_corners=False)[0]


def draws(made: DiffusionMTL, like: list[Tensor], seed: int) -> list[list[Tensor]]:
    """Of t = T-1, ..., 0 each task's training noise (B, c, h, w), drawn as the documentation says."""
    torch.manual_seed(seed)
    channels = [x.shape[1] for x in like]
    shape = (len(like[0]), sum(channels), *like[0].shape[2:])
    return [list(torch.randn(shape, dtype=torch.float64).split(channels, 1)) for _ in range(made.steps)]


def check(made: DiffusionMTL, data: Batch) -> None:
    names = list(made.problem.tasks)
    shared = made.encoder(data.images)
    features = [made.decoders[name](shared) for name in names]
    maps = [made.heads[name].conv(f) for name, f in zip(names, features, strict=True)]
    noise = draws(made, features if made.of_features else maps, seed=8)
    torch.manual_seed(8)
    found = made.losses(data, torch.tensor(0.5))
    results: dict[str, Any] = {name: {} for name in names}
    full: dict[str, Any] = {name: {} for name in names}
    for (t, name), b in itertools.product(enumerate(names), range(len(data.images))):
        if data.labelled[b, t]:
            results[name][b] = slow_result(made, features, maps, b, t, [draw[t][b] for draw in noise])
            one, size = maps[t][b : b + 1], made.problem.size
            full[name][b] = F.interpolate(one, size, mode="bilinear", align_corners=False)[0]
    preliminary = made.aux_weight * sum(supervised(made.problem, full, data).values())
    check_losses(made, found, {"preliminary": preliminary}, supervised(made.problem, results, data))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("labelled", "given"),
    [
        ("one", {}), ("mixed", {"steps": 4, "width": None}), ("full", {"steps": 1}), ("nothing", {}),
        ("six", {"names": tuple(ALL), "size": (44, 72), "aux_weight": 0.25, "blocks": 1}),
    ],
)  # fmt: skip
def test_losses_equal_the_loop(space: str, labelled: str, given: dict[str, Any]) -> None:
    made = method(space=space, **given)
    check(made, batch(made.problem, labelled, empty=((0, "semseg"),) if labelled == "six" else ()))


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_noise_levels_are_those_of_noising_step_by_step(steps: int) -> None:
    schedule = Schedule(steps, 1e-3, 1e-2)
    assert schedule.betas == pytest.approx(slow_betas(steps), rel=1e-12)
    nothing, one = number(0.0), number(1.0)
    mean, variance = 1.0, 0.0  # of x_t given x_0 = 1
    for t, beta in enumerate(schedule.betas):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        assert float(schedule.diffuse(one, t, nothing)) == pytest.approx(mean, rel=1e-12)
        assert float(schedule.diffuse(nothing, t, one)) == pytest.approx(math.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize(("steps", "beta_end"), [(2, 1e-2), (4, 1e-2), (3, 0.3)])
def test_the_posterior_is_bayes_rule(steps: int, beta_end: float) -> None:
    """Against the normalised product of prior and likelihood on a fine grid of x_(t-1)."""
    schedule, grid = Schedule(steps, 1e-3, beta_end), torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    for t in range(1, steps):
        for clean, state in ((0.7, 0.4), (-0.2, 0.1)):
            beta, before = schedule.betas[t], math.prod(1 - b for b in schedule.betas[:t])
            logs = -((grid - math.sqrt(before) * clean) ** 2) / (2 * (1 - before))
            logs = logs - (state - math.sqrt(1 - beta) * grid) ** 2 / (2 * beta)
            density = logs.softmax(0)
            mean = float((density * grid).sum())
            deviation = math.sqrt(float((density * (grid - mean) ** 2).sum()))
            given = number(clean), number(state), t
            found, shifted = (float(schedule.reverse(*given, number(noise))) for noise in (0.0, 1.0))
            assert found == pytest.approx(mean, abs=1e-9)
            assert shifted - found == pytest.approx(deviation, rel=1e-7)


def test_evaluation_noise_is_normal_and_differs_by_step_channel_and_position_alone() -> None:
    like = torch.zeros(3, 40, 60, 80)
    noise = evaluation_noise(like, 1, [20, 20])
    assert noise.shape == (1, 40, 60, 80) and noise.dtype == like.dtype
    assert torch.equal(noise[:, :20], noise[:, 20:]), "the same for every task"
    sample = noise[0, :20].double().flatten()
    assert abs(float(sample.mean())) < 0.01 and abs(float(sample.std()) - 1) < 0.01
    assert float((sample.abs() < 1).double().mean()) == pytest.approx(0.6827, abs=0.005)
    assert float((sample.abs() < 2).double().mean()) == pytest.approx(0.9545, abs=0.005)
    other = evaluation_noise(like, 0, [20, 20])[0, 0]
    rows = [noise[0, 0], noise[0, 1], other, noise[0, 0].roll(1, 0), noise[0, 0].roll(1, 1)]
    rows = torch.stack(rows).flatten(1)
    assert float((torch.corrcoef(rows) - torch.eye(5)).abs().max()) < 0.05
    assert torch.equal(evaluation_noise(like[:1, :, :30, :40], 1, [20, 20]), noise[..., :30, :40])
    ragged = evaluation_noise(torch.zeros(1, 9, 60, 80), 1, [5, 1, 3])
    assert all(torch.equal(part, noise[:, : part.shape[1]]) for part in ragged.split([5, 1, 3], 1))


@pytest.mark.parametrize("space", SPACES)
def test_evaluation_and_training_run_the_same_network(space: str) -> None:
    made = method(space=space).eval()
    data = batch(made.problem, "one")
    with torch.no_grad():
        expected = made.predict(data.images)
        noise = lambda state, t: evaluation_noise(state, t, made.denoiser.channels)  # noqa: E731
        made.run = lambda images, _, run=made.run: run(images, noise)
        losses = made.losses(data, torch.tensor(0.0))
    supervised = made.problem.task_losses(expected, data, data.labelled)
    assert all(torch.equal(losses.tasks[name], supervised[name]) for name in THREE)


def test_the_published_denoiser_has_as_many_parameters() -> None:
    with torch.device("meta"):
        made = Denoiser([512] * 5, 21 + 7 + 1 + 3 + 1, 512, 4, 4, signed=False)
    parts = (made.blocks, made.enter, made.leave, made)
    millions = [round(sum(p.numel() for p in part.parameters()) / 1e6, 1) for part in parts]
    assert millions == [21.0, 11.8, 36.7, 70.1]
