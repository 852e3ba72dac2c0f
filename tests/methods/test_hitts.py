"""HiTTs against loops over samples, positions and tasks, in float64."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.training.build import initialise
from methods.base import Batch
from methods.hitts import HiTTs
from methods.networks.task_tokens import GlobalTokens, TokenHead
from methods.networks.token_network import State
from tests.methods.cases import THREE, check_losses, names, problem, supervised
from tests.methods.pseudo_reference import cropped, sampled, slow_pseudo_loss, slow_ramp
from tests.methods.test_bins import slow_bins_loss


def drawn(module: nn.Module) -> nn.Module:
    """In float64, with offsets and token norms that are not 0 or 1."""
    torch.manual_seed(5)
    for p in module.parameters():
        p.data = torch.randn_like(p) * 0.4
    return module.double()


def normalised(conv: nn.Sequential, x: Tensor) -> Tensor:
    """Convolution, BatchNorm over the batch, ReLU."""
    norm = conv[1]
    return F.batch_norm(conv[0](x), None, None, norm.weight, norm.bias, True, eps=norm.eps).clamp_min(0)


def test_global_tokens_equal_the_loop() -> None:
    """Every task's gated feature is made first, then tasks are mixed, as published."""
    module = drawn(GlobalTokens(6, 3))
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    features, tokens = module(x)
    g, scale, offset = module.table.values, module.reduce.weight.flatten(), module.reduce.bias
    gated = torch.zeros(3, *x.shape, dtype=torch.float64)
    for t, b, i, j in itertools.product(*map(range, (3, 2, 4, 5))):
        gate = torch.sigmoid(((x[b, :, i, j] * scale + offset) * g[t]).sum())
        gated[t, b, :, i, j] = x[b, :, i, j] * gate
    q, k = g @ module.query.weight.T + module.query.bias, g @ module.key.weight.T + module.key.bias
    for t in range(3):
        powers = torch.stack([(q[t] @ k[s] / math.sqrt(6)).exp() for s in range(3)])
        shares = powers / powers.sum()
        mixed = sum(shares[s] * gated[s] for s in range(3))
        torch.testing.assert_close(features[t], normalised(module.mix[t], mixed), rtol=1e-8, atol=1e-10)
        moved = sum(shares[s] * g[s] for s in range(3))
        out = module.out[t]
        torch.testing.assert_close(tokens[t], out.weight @ moved + out.bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 6), (3, 5)])
def test_a_head_equals_the_loop(size: tuple[int, int]) -> None:
    """Attention query by query, fine-grained tokens class by class; an odd size repeats its border."""
    height, width = size
    module = drawn(TokenHead(6, 4))
    x, token = torch.randn(2, 6, height, width, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    logits, refined, score = module(x, token)
    rows, columns = math.ceil(height / 2), math.ceil(width / 2)
    before = torch.zeros(2, 6, height, width, dtype=torch.float64)
    own = []
    for b in range(2):
        parts = []
        for reduce, project in zip(module.reduce, module.project, strict=True):
            whole = F.pad(x[b], (0, width % 2, 0, height % 2), "replicate")
            windows = whole.unfold(1, 2, 2).unfold(2, 2, 2)  # (6, rows, columns, 2, 2)
            vectors = (windows * reduce.weight[:, :, None]).sum((3, 4)).flatten(1).T
            parts.append(torch.cat([vectors, token[None]]) @ project.weight.T + project.bias)
        query, key, value = parts
        found = []
        for n in range(len(query)):
            powers = torch.stack([(query[n] @ key[m] / math.sqrt(6)).exp() for m in range(len(key))])
            found.append((powers / powers.sum()) @ value)
        maps = torch.stack([module.to_feature(v) for v in found[:-1]], 1).view(1, 6, rows, columns)
        large = F.interpolate(maps, (2 * rows, 2 * columns), mode="bilinear", align_corners=False)
        before[b] = large[0, :, :height, :width] + x[b]
        own.append(module.to_token(found[-1]))
    feature = normalised(module.feed, before)
    torch.testing.assert_close(refined, feature, rtol=1e-8, atol=1e-10)
    for b in range(2):
        fine = torch.stack([own[b] + module.embed.weight[:, p] + module.embed.bias for p in range(4)], 1)
        fine = torch.stack([module.along(fine[c]) for c in range(6)])
        scaled = feature[b] * module.channel.weight.view(6, 1, 1) + module.channel.bias.view(6, 1, 1)
        likely = torch.stack([F.softplus((scaled * fine[:, p, None, None]).sum(0)) for p in range(4)])
        plain = torch.einsum("chw,pc->phw", feature[b], module.score.weight[:, :, 0, 0])
        expected = module.refine(((plain + module.score.bias.view(-1, 1, 1)) * likely)[None])[0]
        torch.testing.assert_close(logits[b], expected, rtol=1e-8, atol=1e-9)
        where = torch.sigmoid((feature[b] * own[b][:, None, None]).sum(0))
        torch.testing.assert_close(score[b, 0], where, rtol=1e-8, atol=1e-10)


def hitts(names: tuple[str, ...] = THREE, **keywords: Any) -> HiTTs:
    """Sure of much, and with a teacher that is not the student."""
    torch.manual_seed(3)
    made = HiTTs(problem(names, (16, 32)), confidence=0.6, certainty=0.2, weight=1.7, ramp_up=0.5, **keywords)
    initialise(made, 0)
    made.double()
    for head in made.heads.values():
        (head.refine if hasattr(head, "refine") else getattr(head, "conv", head)).weight.data *= 5
    made.prepare(iter([cropped(made.problem, [[1] * len(names)] * 2)]))
    for p in made.teacher.parameters() if made.teacher is not None else ():
        p += 0.03 * torch.randn_like(p)
    return made


def slow_features(made: HiTTs, online: State, taught: State, data: Batch) -> Tensor:
    """Position by position of each sample's view; the teacher's feature is sampled where the view looks."""
    total = torch.zeros((), dtype=torch.float64)
    for t, name in enumerate(made.problem.tasks):
        for b, ((a, _, c), (_, e, f)) in enumerate(data.views[0].geometry.tolist()):
            own, apart, weights = online.features[name][b], [], []
            shown = (data.views[0].images[b] != 0).any(0)
            maps = torch.cat([taught.features[name], taught.scores[name]], 1)[b].tolist()
            height, width = own.shape[-2:]
            rows, columns = (n // m for n, m in zip(shown.shape, own.shape[1:], strict=True))
            for i, j in itertools.product(range(height), range(width)):
                x, y = (2 * j + 1) / width - 1, (2 * i + 1) / height - 1
                *feature, score = sampled(maps, a * x + c, e * y + f)
                share = 1.0 if data.labelled[b, t] else score
                difference = own[:, i, j] - torch.tensor(feature, dtype=torch.float64)
                apart.append(share * (difference**2).mean())
                block = shown[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                weights.append(block.double().mean())
            total = total + (torch.stack(apart) * torch.stack(weights)).sum() / sum(weights)
    return total / len(data.images)


@pytest.mark.parametrize(
    ("labelled", "progress", "parts"),
    [
        ("one", 0.0, {}), ("mixed", 0.3, {}), ("full", 0.8, {}), ("nothing", 0.8, {}), ("six", 0.8, {}),
        ("mixed", 0.8, {"bins": False, "agreement": 0.2}), ("mixed", 0.3, {"pseudo": False}),
        ("mixed", 0.8, {"tokens": False, "features": False}),
        ("six", 0.3, {"window": True, "feature_weight": 0.5}),
    ],
)  # fmt: skip
def test_losses_equal_the_loop(labelled: str, progress: float, parts: dict[str, Any]) -> None:
    made = hitts(names(labelled), **parts)
    data = cropped(made.problem, labelled)
    data.views[0].images[0, :, 11:] = 0  # outside the first image, from within a row of features
    with torch.no_grad():
        taught = copy.deepcopy(made).taught(data.images)
    first, second = made.run(torch.cat([data.images, data.views[0].images])).chunk()
    extra = {}
    if made.bins:
        extra["bins"] = 0.1 * slow_bins_loss(made.problem, made.bins, first.logits, data)
    grown = slow_ramp(progress, 0.5)
    if parts.get("pseudo", True):
        scores = (made.confidences(taught), 0.2) if made.bins else None
        given = (taught.predictions, second.predictions, data.views[0], data.labelled, 0.6)
        least = parts.get("agreement", 0.1)
        pseudo = slow_pseudo_loss(made.problem, *given, least, scores, edge=(0.95, 0.05))
        assert (pseudo > 0) != bool(data.labelled.all())
        extra["pseudo"] = 1.7 * grown * pseudo
    if parts.get("features", True):
        weight = parts.get("feature_weight", 1.0)
        extra["features"] = weight * grown * slow_features(made, second, taught, data)
    found = made.losses(data, torch.tensor(progress, dtype=torch.float64))
    check_losses(made, found, extra, supervised(made.problem, first.predictions, data))
