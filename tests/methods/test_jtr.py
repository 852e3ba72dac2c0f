"""Joint-task regularisation against a loop over samples and tasks, with BatchNorm over batches of one."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from datasets.tasks import Task
from methods.base import Batch
from methods.jtr import JTR
from methods.networks.autoencoder import StackDecoder, StackEncoder
from tests.methods import cases
from tests.methods.cases import THREE, batch, batch_norm, check_losses, problem, slow_input
from tests.methods.test_segnet import slow_unpool

MEAN, STD = 1.75, 0.875  # exact in float32, which keywords pass through

Maps = dict[str, Tensor]
PHI_0 = 0.5 * math.erfc(MEAN / STD / math.sqrt(2))  # a depth of 0, scaled


def method(names: tuple[str, ...] = THREE, **keywords: object) -> JTR:
    torch.manual_seed(3)
    made = JTR(problem(names), **{"ae_width": 2, "depth_mean": MEAN, "depth_std": STD} | keywords).double()
    for module in (*made.stack_encoder.modules(), *made.stack_decoder.modules()):
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return made


def entry(task: Task, map_: Tensor, kind: str) -> Tensor:
    """A map's channels (C, h, w) of a stack; kind: "label", "hard" or "soft" prediction."""
    if task.kind == "depth":
        return 0.5 * (1 + torch.erf((map_ - MEAN) / STD / math.sqrt(2)))
    if kind == "soft" and task.kind != "normals":
        return map_.exp() / map_.exp().sum(0) if task.kind == "classes" else 1 / (1 + (-map_).exp())
    return slow_input(task, map_, kind == "label")


def slow_stacks(
    case: dict[str, Task], predictions: Maps, targets: Maps, labelled: dict[str, bool], soft: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Y, Y^ (C, h, w) and where they count (h, w), of one sample."""
    mask = torch.ones(next(iter(targets.values())).shape[1:], dtype=torch.bool)
    for name, task in case.items():
        if labelled[name]:
            mask = mask & task.valid(targets[name][None])[0, 0]
    known, predicted = [], []
    for name, task in case.items():
        guess, blank = predictions[name], {"normals": 0.5, "depth": PHI_0}.get(task.kind, 0.0)
        if labelled[name]:
            guess = guess.detach()
        one = entry(task, targets[name], "label") if labelled[name] else entry(task, guess, "hard")
        known.append(torch.where(mask, one, blank))
        predicted.append(torch.where(mask, entry(task, guess, "soft" if soft else "hard"), blank))
    return torch.cat(known), torch.cat(predicted), mask


def slow_level(level: nn.Sequential, x: Tensor) -> Tensor:
    for conv, norm in zip(level[::3], level[1::3], strict=True):
        x = batch_norm(norm.weight, norm.bias, F.conv2d(x, conv.weight, conv.bias, padding=1)).clamp_min(0)
    return x


def slow_encode(encoder: nn.Module, stride: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The latent (1, c, h, w) of one stack (C, h, w), and the features before poolings."""
    skipped, x, before = int(math.log2(stride)), x[None], []
    for number, level in enumerate(encoder.levels):
        x = slow_level(level, x)
        before.append(x)
        if number >= skipped:
            x = F.max_pool2d(x, 2, ceil_mode=True)
    return x, before


def slow_decode(made: JTR, latent: Tensor, before: list[Tensor]) -> Tensor:
    skipped, x = int(math.log2(made.stride)), latent
    for number, level in enumerate(made.stack_decoder.levels):
        if 4 - number >= skipped:
            x = slow_unpool(x, before[4 - number])
        x = slow_level(level, x)
    return made.stack_decoder.head(x)[0]


def slow_rebuilding(case: dict[str, Task], rebuilt: Tensor, stack: Tensor, mask: Tensor) -> Tensor:
    total, place = torch.zeros((), dtype=torch.float64), 0
    for task in case.values():
        r, v = (m[place : place + task.channels][:, mask] for m in (rebuilt, stack))
        place += task.channels
        if task.kind == "depth":
            total = total + (1 / (1 + (-r).exp()) - v).abs().sum()
        elif task.kind == "normals":
            total = total + (1 - (r * (2 * v - 1)).sum(0) / r.norm(dim=0)).sum()
        else:
            total = total + ((1 + (-r).exp()).log() * v + (1 + r.exp()).log() * (1 - v)).sum()
    return total / mask.sum()


def slow_terms(made: JTR, near: Maps, far: Maps, data: Batch) -> Maps:
    case, s, fixed = made.problem.tasks, made.stride, cases.constant(made.stack_encoder)
    found = dict.fromkeys(("distance", "latent", "reconstruction"), torch.zeros((), dtype=torch.float64))
    for b in range(len(data.labelled)):
        labelled = {name: bool(data.labelled[b, t]) for t, name in enumerate(case)}
        for predictions, view, soft in ((near, data.views[0], False), (far, data.views[1], True)):
            targets = {name: view.targets[name][b][:, ::s, ::s] for name in case}
            maps = {name: predictions[name][b][:, ::s, ::s] for name in case}
            known, predicted, mask = slow_stacks(case, maps, targets, labelled, soft)
            if not any(labelled.values()) or not mask.any():
                continue
            encoder, name = (made.stack_encoder, "latent") if soft else (fixed, "distance")
            (a, before_a), (c, before_c) = slow_encode(encoder, s, known), slow_encode(encoder, s, predicted)
            found[name] = found[name] + cases.distance(a[0], c[0])
            if soft:
                rebuilt = slow_rebuilding(case, slow_decode(made, a, before_a), known, mask)
                rebuilt = rebuilt + slow_rebuilding(case, slow_decode(made, c, before_c), predicted, mask)
                found["reconstruction"] = found["reconstruction"] + rebuilt
    return {name: value / len(data.labelled) for name, value in found.items()}


def check(made: JTR, data: Batch) -> None:
    b = len(data.images)
    predictions = made.predict(torch.cat([data.images, data.views[0].images]))
    with torch.no_grad():
        far = made.predict(data.views[1].images)
    terms = slow_terms(made, {name: p[b:] for name, p in predictions.items()}, far, data)
    found = made.losses(data, torch.tensor(0.5))
    d, r = made.dist_weight, made.recon_weight
    weights = {"distance": d, "latent": d * r, "reconstruction": r}
    first = {name: p[:b] for name, p in predictions.items()}
    supervised = made.problem.task_losses(first, data, data.labelled)
    check_losses(made, found, {name: weights[name] * value for name, value in terms.items()}, supervised)


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize(
    ("labelled", "stride", "empty"),
    [("one", 1, ()), ("mixed", 4, ()), ("mixed", 16, ()), ("none or all", 2, ()), ("six", 4, ()),
     ("one", 4, ((0, "semseg"), (1, "depth")))],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: str, stride: int, empty: tuple[tuple[int, str], ...]) -> None:
    """And their gradients: the third view trains the auto-encoder alone, the distance the predictions. Labels
    without a valid pixel count as none.
    """
    made = method(cases.names(labelled), ae_stride=stride, dist_weight=3.0, recon_weight=0.5)
    check(made, batch(made.problem, labelled, views=2, empty=empty))


def test_depth_is_scaled_by_the_labels_that_are_visible() -> None:
    made = JTR(problem(), ae_width=1).double()
    data = [batch(made.problem, "one", views=2, seed=seed) for seed in range(3)]
    made.prepare(iter(data))
    values = [float(v) for d in data for v in d.targets["depth"].flatten() if v != 0]
    mean = sum(values) / len(values)
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    scale = made.joint.scales["depth"]
    assert (float(scale.mean), float(scale.std)) == pytest.approx((mean, std), rel=1e-9)
    assert float(scale(torch.tensor(mean, dtype=torch.float64))) == pytest.approx(0.5)
    scale.measure(torch.full((5,), 2.0))  # of one value
    assert float(scale.mean) == 2 and 0 < float(scale.std) < 0.01
    assert torch.isfinite(scale(torch.tensor([0.0, 2.0, 9.0]))).all()


def test_without_a_depth_label_or_with_given_statistics_nothing_is_measured() -> None:
    hidden, given = JTR(problem(), ae_width=1).double(), method()
    hidden.prepare(iter([batch(hidden.problem, [[1, 0, 0]], views=2)]))
    given.prepare(iter([batch(given.problem, [[1, 1, 1]], views=2)]))
    assert (float(hidden.joint.scales["depth"].mean), float(hidden.joint.scales["depth"].std)) == (0, 1)
    assert float(given.joint.scales["depth"].mean) == pytest.approx(MEAN)
    assert not JTR(problem(("semseg", "edge")), ae_width=1).joint.scales


def test_the_published_auto_encoder_has_as_many_parameters_and_operations() -> None:
    with torch.device("meta"):
        parts, stack = (StackEncoder(17, 64, 1), StackDecoder(17, 64, 1)), torch.empty(1, 17, 288, 384)
    unused = 2 * 17  # a BatchNorm that the published network holds and never calls
    assert sum(p.numel() for part in parts for p in part.parameters()) + unused == 24_989_427
    with FlopCounterMode(display=False) as counter:
        features = parts[0](stack)
        assert round(counter.get_total_flops() / 1e9, 1) == 69.4
        assert parts[1](features).shape == stack.shape
    assert round(counter.get_total_flops() / 1e9, 1) == 122.7
    assert features[-1].shape == (1, 512, 9, 12)


@pytest.mark.parametrize(("size", "stride"), [((50, 70), 1), ((50, 70), 4), ((97, 33), 2), ((33, 40), 16)])
def test_a_stack_is_rebuilt_on_its_own_grid(size: tuple[int, int], stride: int) -> None:
    height, width = (-(-n // stride) for n in size)
    features = StackEncoder(5, 1, stride)(torch.randn(2, 5, height, width))
    assert features[-1].shape == (2, 8, -(-size[0] // 32), -(-size[1] // 32))
    assert StackDecoder(5, 1, stride)(features).shape == (2, 5, height, width)
