"""Five float64 steps of every method, pinned. When a method's numbers move, its version must.

After a bump, or a new method, write the file anew: `python -m tests.methods.test_golden`.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import streams
from benchmark.spec import registry
from benchmark.training.build import initialise
from benchmark.training.step import Step
from tests.helpers import CASES, SMALL, THREE, tiny_batch, tiny_problem, tiny_protocol

FILE = Path(__file__).parent / "golden.json"
STEPS = 5


def trajectory(
    case: str, form: Any = torch.contiguous_format, steps: int = STEPS, chosen: tuple[str, ...] = THREE
) -> dict[str, Any]:
    """Loss terms of each step, and the sum and the sum of squares of the final parameters. form: how weights
    and images lie in memory. chosen: three tasks, of which a method of one task takes the second.
    """
    name, keywords = CASES[case]
    kind = registry.method(name)
    tasks = chosen[1:2] if kind.one_task else chosen
    with streams.seeded(0, "init"):
        method = kind(tiny_problem(tasks), **SMALL.get(name, {}) | keywords)
    initialise(method, 0)
    method.double().to(memory_format=form)
    labelled = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)[:, -len(tasks) :]
    batches = [tiny_batch(tasks, labelled.roll(i, 0), seed=i, views=kind.views) for i in range(STEPS)]
    batches = [replace(b, images=b.images.contiguous(memory_format=form)) for b in batches]
    with streams.seeded(0, "init", 1), torch.no_grad():
        method.prepare(iter(batches))
    step = Step(method, tiny_protocol(lr=1e-3), STEPS)
    losses = []
    for i, batch in enumerate(batches[:steps]):
        torch.manual_seed(streams.seed_of(0, "method", i))
        step(batch, i)
        losses.append(step.read(1))
    final = torch.cat([p.detach().flatten() for p in method.parameters()])
    total, squares = float(final.sum()), float(final.square().sum())
    return {"version": kind.version, "losses": losses, "sum": total, "squares": squares}


@pytest.mark.parametrize("name", CASES)
def test_numbers_have_not_changed(name: str) -> None:
    pinned, now = json.loads(FILE.read_text())[name], trajectory(name)
    assert now["version"] == pinned["version"], f"{name} has another version: write {FILE.name} anew"
    message = f"the numbers of {name} changed: bump its version, then write {FILE.name} anew"
    for a, b in zip(now["losses"], pinned["losses"], strict=True):
        assert a.keys() == b.keys(), message
        for term in a:
            assert a[term] == pytest.approx(b[term], rel=1e-7, abs=1e-12), message
    for key in ("sum", "squares"):
        assert now[key] == pytest.approx(pinned[key], rel=1e-7), message


@pytest.mark.parametrize("name", CASES)
def test_a_layout_changes_nothing_beyond_rounding(name: str) -> None:
    pinned = json.loads(FILE.read_text())[name]["losses"][:2]
    for a, b in zip(trajectory(name, form=torch.channels_last, steps=2)["losses"], pinned, strict=True):
        assert a == pytest.approx(b, rel=1e-7, abs=1e-12)


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps({name: trajectory(name) for name in CASES}, indent=1) + "\n")
