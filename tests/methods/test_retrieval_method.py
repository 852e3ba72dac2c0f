"""Retrieval from task tokens against a loop over samples, tasks, heads and queries; and how it lies to the
prototype model.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base import Batch
from methods.prototype import Prototype
from methods.retrieval import Retrieval
from tests.methods.cases import (
    ALL,
    FULL,
    MIXED,
    NOTHING,
    ONE,
    SIX,
    THREE,
    batch,
    check_losses,
    problem,
    slow_attention,
    supervised,
)

SMALL: dict[str, Any] = {"token_dim": 6, "width": 8, "heads": 2}


def method(names: tuple[str, ...] = THREE, size: tuple[int, int] = (32, 64), **given: Any) -> Retrieval:
    torch.manual_seed(3)
    return Retrieval(problem(names, size), **(SMALL | given)).double()


def slow_refined(made: Retrieval, feature: Tensor, t: int) -> Tensor:
    """(C, h, w) of one sample and task t: its T tokens are keys t T ... t T + T - 1 of the table."""
    network, tasks = made.retrieval, len(made.problem.tasks)
    small = F.avg_pool2d(feature[None], 4, ceil_mode=True)[0]
    x = network.enter(small.flatten(1).t())
    y = torch.stack([network.embed(made.tokens.values[t * tasks + other]) for other in range(tasks)])
    for block in network.blocks:
        z = block.norm1(x)
        x = x + slow_attention(block.attend, z, z)
        x = x + slow_attention(block.retrieve, block.norm2(x), y)
        x = x + block.feed(block.norm3(x))
    back = network.leave(x).t().reshape(1, -1, *small.shape[1:])
    return feature + F.interpolate(back, feature.shape[1:], mode="bilinear", align_corners=False)[0]


def check(made: Retrieval, data: Batch) -> None:
    shared, predictions = made.encoder(data.images), dict[str, Tensor]()
    for t, name in enumerate(made.problem.tasks):
        features = made.decoders[name](shared)
        predictions[name] = made.heads[name](torch.stack([slow_refined(made, f, t) for f in features]))
    found = made.losses(data, torch.tensor(0.5))
    check_losses(made, found, {}, supervised(made.problem, predictions, data))


@pytest.mark.parametrize("labelled", [ONE, MIXED, FULL, NOTHING, SIX])
def test_losses_equal_the_loop(labelled: list[list[int]]) -> None:
    made = method(tuple(ALL), (40, 72), blocks=1) if labelled is SIX else method()
    check(made, batch(made.problem, labelled))


def test_with_a_prototype_models_weighted_slots_for_tokens_it_is_that_model_on_that_image() -> None:
    torch.manual_seed(4)
    off: dict[str, Any] = {"vq": False, "tae": False, "tke": False, "tc": False, "affinity_level": "slots"}
    model = Prototype(problem(), proto_dim=6, width=8, heads=2, **off).double().eval()
    made = method().eval()
    shared = model.state_dict().keys() & made.state_dict().keys()
    assert set(made.state_dict()) - shared == {"tokens.values"}
    assert set(model.state_dict()) - shared == {"prototypes.slots.values", "prototypes.projections.0.weight"}
    made.load_state_dict({name: model.state_dict()[name] for name in shared}, strict=False)
    images = torch.randn(2, 3, 32, 64, dtype=torch.float64)
    with torch.no_grad():
        log_affinity = model.run(images[:1]).log_affinity
        assert log_affinity is not None and model.prototypes is not None
        affinity = log_affinity.exp().mean(3)[0]  # (T, T), of the first image
        made.tokens.values.copy_((affinity[..., None] * model.prototypes.values).flatten(0, 1))
        for name, prediction in model.predict(images).items():
            torch.testing.assert_close(made.predict(images)[name][0], prediction[0], rtol=1e-10, atol=1e-12)
            assert not torch.allclose(made.predict(images)[name][1], prediction[1], rtol=1e-10, atol=1e-12)


def test_diagnostics_are_the_entropies_of_the_attention() -> None:
    made = method()
    with torch.no_grad():
        found = made.diagnostics(batch(made.problem, ONE))
        made.tokens.values.fill_(1.0)  # equal tokens cannot be told apart
        equal = made.diagnostics(batch(made.problem, ONE))
    assert list(found) == ["cross-attention entropy, block 1", "cross-attention entropy, block 2"]
    assert all(0 < float(d.array) < 1 for d in found.values())
    assert all(float(d.array) == pytest.approx(1.0) for d in equal.values())
