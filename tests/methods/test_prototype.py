"""The prototype method against loops over samples, tasks and positions, and the anchors of its losses."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base import Batch
from methods.networks.prototypes import task_consistency
from methods.prototype import Prototype
from tests.methods.cases import THREE, Labelled, batch, problem, reached, slow_retrieved, supervised

SMALL: dict[str, Any] = {"codes": 12, "proto_dim": 6, "width": 8, "heads": 2, "blocks": 2}
ONE = [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
FIVE = [[1, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 1, 1, 0, 0]]


def method(names: tuple[str, ...] = THREE, size: tuple[int, int] = (32, 64), **given: Any) -> Prototype:
    torch.manual_seed(3)
    return Prototype(problem(names, size), **(SMALL | given)).double()


def unit(v: Tensor) -> Tensor:
    return v / max(float(v.norm()), 1e-6)


# The references: one sample, one task, one position at a time.


def slow_affinity(made: Prototype, features: Tensor) -> Tensor:
    """A (B, T, slots, N) from f^t (B, T, C, h, w), every f_hat built."""
    prototypes = made.prototypes
    assert prototypes is not None
    b, t, c = features.shape[:3]
    flat = features.reshape(b, t, c, -1)
    if prototypes.level == "pooled":
        flat = flat.mean(-1, keepdim=True)
    out = torch.zeros(b, t, t, flat.shape[-1], dtype=torch.float64)
    for i, k, n in itertools.product(range(b), range(t), range(flat.shape[-1])):
        projected = prototypes.projections[k if len(prototypes.projections) > 1 else 0](flat[i, k, :, n])
        scores = [float(unit(projected) @ unit(v)) / prototypes.kappa for v in prototypes.values]
        total = sum(math.exp(s) for s in scores)
        out[i, k, :, n] = torch.tensor([math.exp(s) / total for s in scores], dtype=torch.float64)
    return out


def slow_retrieval(made: Prototype, features: Tensor, affinity: Tensor | None) -> Tensor:
    """f^tr, one sample and task at a time, with f^ta of d channels at every position."""
    network = made.retrieval
    assert network is not None
    out = torch.zeros_like(features)
    for i, k in itertools.product(range(features.shape[0]), range(features.shape[1])):
        f, y = features[i, k], None
        if affinity is not None:
            a, values, level = affinity[i, k], made.prototypes.values, made.prototypes.level
            if level == "pixel":
                full = [sum(a[s, n] * values[s] for s in range(len(values))) for n in range(a.shape[1])]
                full = torch.stack(full, 1).view(1, -1, *f.shape[1:])
                known = F.avg_pool2d(full, 4, ceil_mode=True)[0].flatten(1).t()
            elif level == "pooled":
                known = sum(a[s] * values[s] for s in range(len(values)))[None]
            else:
                known = torch.stack([a[s].mean() * values[s] for s in range(len(values))])
            y = network.embed(known)
        out[i, k] = slow_retrieved(network, f, y)
    return out


def slow_consistency(made: Prototype, features: Tensor, mask: Tensor) -> tuple[float, float]:
    """Mean over triplets of the hinge, and the share of active ones, from f^t (B, T, C, h, w)."""
    p, (b, t) = made.prototypes.projections, features.shape[:2]
    rows = [[p[k if len(p) > 1 else 0](f.mean((1, 2))) for k, f in enumerate(s)] for s in features]
    vectors = torch.stack([torch.stack(row) for row in rows])
    found: list[float] = []
    for i, k in itertools.product(range(b), range(t)):
        others = [vectors[j, k] for j in range(b) if j != i and mask[j, k]]
        if not mask[i, k] or not others:
            continue
        positive = unit(torch.stack(others).mean(0))
        for j, m in itertools.product(range(b), range(t)):
            if m != k and mask[j, m]:
                near = 1 - float(unit(vectors[i, k]) @ positive)
                far = 1 - float(unit(vectors[i, k]) @ unit(vectors[j, m]))
                found.append(max(0.0, near - far + made.tc_margin))
    return (sum(found) / len(found), sum(f > 0 for f in found) / len(found)) if found else (0.0, 0.0)


@torch.no_grad()
def check(made: Prototype, data: Batch, scale: dict[str, float]) -> None:
    """Every loss of a training step against the references, from a copy of the method."""
    twin, weight = copy.deepcopy(made), scale
    found = made.losses(data, torch.tensor(0.5))
    shared = twin.encoder(data.images)
    expected: dict[str, float] = {}
    if twin.codebook is not None:
        quantised = torch.zeros_like(shared)
        for i, y, x in itertools.product(range(len(shared)), range(shared.shape[2]), range(shared.shape[3])):
            distances = [float((shared[i, :, y, x] - code).norm()) for code in twin.codebook.codes]
            quantised[i, :, y, x] = twin.codebook.codes[distances.index(min(distances))]
        error = float(((shared - quantised) ** 2).mean())
        mode = twin.codebook.mode
        expected |= {"lookup": {}, "vqvae": {"vq": 1.25 * error}, "ema": {"vq": 0.25 * error}}[mode]
        shared = shared + quantised
    if twin.image_decoder is not None:
        apart = (twin.image_decoder(shared) - data.images).abs()
        expected["tae"] = float(torch.where(apart < 1, 0.5 * apart**2, apart - 0.5).mean())
    names = list(twin.problem.tasks)
    features = torch.stack([twin.decoders[name](shared) for name in names], 1)
    mask = data.labelled if twin.akg_tasks == "labelled" else torch.ones_like(data.labelled)
    chosen = [(int(b), int(t)) for b, t in mask.nonzero()]
    slots = twin.prototypes is not None and twin.prototypes.slots is not None
    affinity = slow_affinity(twin, features) if slots else None
    if twin.tke and affinity is not None:
        logs = [-math.log(float(a)) for b, t in chosen for a in affinity[b, t, t]]
        expected["tke"] = sum(logs) / len(logs)
    if twin.tc:
        expected["tc"] = slow_consistency(twin, features, mask)[0]
    refined = features
    if twin.retrieval is not None:
        refined = slow_retrieval(twin, features, affinity if twin.retrieves else None)
    if twin.aux_heads:
        expected["aux"] = float(sum(predicted(twin, twin.aux_heads, features, data).values()))
    assert set(found.extra) == set(expected)
    for name, value in expected.items():
        assert float(found.extra[name]) == pytest.approx(weight.get(name, 1.0) * value, rel=1e-7), name
    for name, value in predicted(twin, twin.heads, refined, data).items():
        assert float(found.tasks[name]) == pytest.approx(float(value), rel=1e-7), name


def predicted(made: Prototype, heads: Any, features: Tensor, data: Batch) -> dict[str, Tensor]:
    predictions = {name: heads[name](features[:, t]) for t, name in enumerate(made.problem.tasks)}
    return supervised(made.problem, predictions, data)


@pytest.mark.parametrize(
    ("given", "labelled"),
    [
        ({}, "mixed"),
        ({}, ONE),
        ({"kappa": 0.5, "tc_margin": 0.3, "projection": "per_task"}, ONE),
        ({"akg_tasks": "labelled", "proto_dim": 12}, "mixed"),
        ({"affinity_level": "pooled", "vq_mode": "vqvae"}, ONE),
        ({"affinity_level": "slots", "vq_mode": "ema"}, ONE),
        ({"cross_attention": "constant", "aux_weight": 0.5}, "mixed"),
        ({"tke": False, "tc": False, "detach_affinity": True}, ONE),
        ({"vq": False, "tae": False, "lambda_akg": 0.25}, "mixed"),
        ({"names": ("semseg", "depth", "edge", "saliency", "parts"), "size": (44, 72)}, FIVE),
    ],
)  # fmt: skip
def test_losses_equal_the_loops(given: dict[str, Any], labelled: Labelled) -> None:
    made = method(**given)
    akg = given.get("lambda_akg", 1.0)
    data = batch(made.problem, labelled, empty=((0, "semseg"),) if labelled is FIVE else ())
    made.prepare(iter([data]))
    if given.get("cross_attention") == "constant":
        for block in made.retrieval.blocks:
            torch.nn.init.normal_(block.retrieve.value)
    check(made, data, {"tke": akg, "tc": akg, "aux": given.get("aux_weight", 0.0)})


def test_a_hidden_task_gets_no_supervised_gradient_but_is_shaped_by_tke() -> None:
    made = method()
    losses = made.losses(batch(made.problem, [[1, 0, 0]] * 3), torch.tensor(0.0))
    sum(losses.tasks.values()).backward(retain_graph=True)
    assert not any(reached(m[name]) for m in (made.heads, made.decoders) for name in ("depth", "normals"))
    made.zero_grad()
    losses.extra["tc"].backward(retain_graph=True)
    assert not reached(made.prototypes.slots), "consistency does not reach the prototypes"
    losses.extra["tke"].backward()
    assert not reached(made.heads) and all(reached(made.decoders[name]) for name in THREE)
    assert reached(made.prototypes.slots)


def test_detach_affinity_keeps_the_values_and_stops_the_gradient() -> None:
    plain, detached = method(), method(detach_affinity=True)
    data = batch(plain.problem, ONE)
    for made in (plain, detached):
        losses = made.losses(data, torch.tensor(0.0))
        torch.stack(list(losses.tasks.values())).sum().backward()
        assert reached(made.prototypes.projections) == (made is plain) and reached(made.prototypes.slots)
    found, expected = (made.eval().predict(data.images) for made in (detached, plain))
    assert all(torch.equal(found[name], expected[name]) for name in THREE)


def test_consistency_of_one_sample_or_one_task_is_zero() -> None:
    for shape in ((1, 3, 4), (4, 1, 4)):
        vectors = torch.randn(shape, requires_grad=True)
        loss, active = task_consistency(vectors, torch.ones(shape[:2]), 1.0)
        assert loss == 0 and active == 0
        loss.backward()
        assert vectors.grad is not None and (vectors.grad == 0).all()


@pytest.mark.parametrize(
    ("given", "gone", "terms"),
    [
        ({"vq": False}, ["codebook"], {"tae", "tke", "tc"}),
        ({"tae": False}, ["image_decoder"], {"tke", "tc"}),
        ({"tke": False}, [], {"tae", "tc"}),
        ({"tc": False}, [], {"tae", "tke"}),
        ({"retrieval": False}, ["retrieval"], {"tae", "tke", "tc"}),
        ({"tke": False, "tc": False}, [], {"tae"}),
        ({"tke": False, "tc": False, "retrieval": False}, ["prototypes", "retrieval"], {"tae"}),
        ({"tke": False, "retrieval": False}, ["prototypes.slots", "retrieval"], {"tae", "tc"}),
        ({"cross_attention": "constant", "tke": False, "tc": False}, ["prototypes", "embed"], {"tae"}),
    ],
)
def test_each_part_can_be_switched_off_alone(given: dict[str, Any], gone: list[str], terms: set[str]) -> None:
    made = method(**given)
    left = [name for name, _ in made.named_parameters()]
    assert not [name for name in left if any(part in name for part in gone)]
    losses = made.losses(batch(made.problem, "mixed"), torch.tensor(0.0))
    assert set(losses.extra) == terms
    losses.total().backward()
    unused = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not [name for name in unused if "bias" not in name], "no parameter is left without a use"


def test_prepare_puts_codes_on_features_and_leaves_the_encoder_alone() -> None:
    made = method(codes=40)
    data = batch(made.problem, ONE)
    before = {name: value.clone() for name, value in made.state_dict().items() if "codebook" not in name}
    made.prepare(iter([data]))
    assert all(torch.equal(made.state_dict()[name], value) for name, value in before.items())
    features = made.train().encoder(data.images).permute(0, 2, 3, 1).flatten(0, 2).detach()
    nearest = torch.cdist(made.codebook.codes.detach(), features).min(1).values
    assert float(nearest.max()) < 0.1 * float(features.norm(dim=1).mean())
    made.eval()
    assert float(made.train().diagnostics(data)["codes used"].array) > 0.5


def test_diagnostics() -> None:
    made = method(tc_margin=0.1)
    data = batch(made.problem, "mixed")
    made.prepare(iter([data]))
    made.eval()
    with torch.no_grad():
        found = made.diagnostics(data)
        state = made.run(data.images)
        affinity = slow_affinity(made, state.features)
    assert found["affinity"].labels == (THREE, THREE)
    assert found["affinity"].array == pytest.approx(affinity.mean((0, 3)).numpy(), rel=1e-9)
    spread = float(affinity.std(3, correction=0).mean())
    assert float(found["affinity spatial sd"].array) == pytest.approx(spread)
    counts = torch.bincount(state.quantised.indices.flatten(), minlength=12).tolist()
    shares = [c / sum(counts) for c in counts if c]
    assert float(found["codes used"].array) == pytest.approx(len(shares) / 12)
    entropy = -sum(s * math.log(s) for s in shares)
    assert float(found["code perplexity"].array) == pytest.approx(math.exp(entropy))
    encoded = state.shared - state.quantised.features
    ratio = (state.quantised.features.norm(dim=1) / encoded.norm(dim=1)).mean()
    assert float(found["quantised to encoded norm"].array) == pytest.approx(ratio.item())
    entropies = [float(found[f"cross-attention entropy, block {n}"].array) for n in (1, 2)]
    assert all(0.5 < e <= 1.0 + 1e-9 for e in entropies), "two keys that are nearly equal"
    with torch.no_grad():
        active = slow_consistency(made, state.features, torch.ones_like(data.labelled))[1]
    assert float(found["active triplets"].array) == pytest.approx(active) and 0 < active < 1
    losses = made.losses(data, torch.tensor(0.0)).extra
    shown = {name: float(d.array) for name, d in found.items() if name.endswith(" loss")}
    assert shown == pytest.approx({f"{name} loss": float(x.detach()) for name, x in losses.items()})
