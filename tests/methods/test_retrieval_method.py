"""Retrieval from task tokens against a loop over samples, tasks, heads and queries."""

from typing import Any

import pytest
import torch
from torch import Tensor

from methods.base import Batch
from methods.retrieval import Retrieval
from tests.methods.cases import ALL, THREE, batch, check_losses, problem, slow_retrieved, supervised

SMALL: dict[str, Any] = {"token_dim": 6, "width": 8, "heads": 2}


def method(names: tuple[str, ...] = THREE, size: tuple[int, int] = (32, 64), **given: Any) -> Retrieval:
    torch.manual_seed(3)
    return Retrieval(problem(names, size), **(SMALL | given)).double()


def slow_refined(made: Retrieval, feature: Tensor, t: int) -> Tensor:
    """(C, h, w) of one sample and task t: its T tokens are keys t T ... t T + T - 1 of the table."""
    embed, tasks = made.retrieval.embed, len(made.problem.tasks)
    keys = torch.stack([embed(made.tokens.values[t * tasks + other]) for other in range(tasks)])
    return slow_retrieved(made.retrieval, feature, keys)


def check(made: Retrieval, data: Batch) -> None:
    shared, predictions = made.encoder(data.images), dict[str, Tensor]()
    for t, name in enumerate(made.problem.tasks):
        features = made.decoders[name](shared)
        predictions[name] = made.heads[name](torch.stack([slow_refined(made, f, t) for f in features]))
    found = made.losses(data, torch.tensor(0.5))
    check_losses(made, found, {}, supervised(made.problem, predictions, data))


@pytest.mark.parametrize("labelled", ["one", "mixed", "full", "nothing", "six"])
def test_losses_equal_the_loop(labelled: str) -> None:
    made = method(tuple(ALL), (40, 72), blocks=1) if labelled == "six" else method()
    check(made, batch(made.problem, labelled))


def test_diagnostics_are_the_entropies_of_the_attention() -> None:
    made = method()
    with torch.no_grad():
        found = made.diagnostics(batch(made.problem, "one"))
        made.tokens.values.fill_(1.0)  # equal tokens cannot be told apart
        equal = made.diagnostics(batch(made.problem, "one"))
    assert list(found) == ["cross-attention entropy, block 1", "cross-attention entropy, block 2"]
    assert all(0 < float(d.array) < 1 for d in found.values())
    assert all(float(d.array) == pytest.approx(1.0) for d in equal.values())
