"""What is timed: a bare step does what a run's step does, and a graph of either stands in for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmark.cli.performance import case as cases
from benchmark.cli.performance.case import Case, Splits, bare, build
from benchmark.cli.performance.subject import Subject
from benchmark.spec.registry import method as method_class
from benchmark.training import cuda_graph as capture
from benchmark.training.batches import Feed
from benchmark.training.cuda_graph import Loop
from tests import tape
from tests.helpers import TASKS, tiny_spec
from tests.test_contract import METHODS, specs


def subject(method: str = "multi_task", **changes: Any) -> Subject:
    return Subject(method, tuple(specs(method, labels="one", epochs=20.0, **changes)))


def make(method: str = "multi_task", **changes: Any) -> Case:
    made = subject(method, **changes)
    return Case(made, TASKS, "cpu", Splits().of(made.protocol, TASKS))


@pytest.mark.parametrize("method", METHODS)
def test_a_bare_step_leaves_nothing_of_the_work_out(method: str) -> None:
    """The gradients, clipped, of the same batch under the same draws are those of the step of a run."""
    run = make(method, lr=1e-30).runs[0]
    batch = run.feed.batch(0)

    def gradients(step: Any) -> list[torch.Tensor]:
        before = {name: value.clone() for name, value in run.method.state_dict().items()}
        torch.manual_seed(0)
        step()
        found = [p.grad.clone() for p in run.method.parameters() if p.grad is not None]
        run.method.load_state_dict(before)
        return found

    one, two = gradients(lambda: run.stepper(batch, 0)), gradients(lambda: bare(run, batch))
    assert len(one) == len(two) > 3
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert run.spec.protocol.clip and any(bool(g.any()) for g in one)


def test_variants_on_a_cpu_and_why_there_is_no_graph() -> None:
    case = make("single_task")
    assert (
        list(case.variants()) == ["feed", "bare", "eager"]
        and case.reason == "there are no CUDA graphs on cpu"
    )
    assert case.peak_gib is None and len(case.runs) == 3
    for call in case.variants().values():
        call()
    case.step()


def test_steps_take_one_of_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make("single_task")
    seen: list[tuple[str, ...]] = []
    original = Feed.batch

    def batch(self: Feed, step: int) -> Any:
        seen.append(tuple(self.tasks))
        return original(self, step)

    monkeypatch.setattr(Feed, "batch", batch)
    case.variants()["eager"]()
    assert seen == [("semseg",), ("depth",), ("normals",)]


def test_batches_come_again_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make(batch=16)
    run = case.runs[0]
    numbers: list[int] = []
    monkeypatch.setattr(run.feed, "batch", lambda step: numbers.append(step))
    feed = case.variants()["feed"]
    for _ in range(run.feed.steps + 1):
        feed()
    assert numbers == [*range(1, run.feed.steps), 0, 1]


def test_with_a_graph_a_step_is_the_captured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tape stands for the graph, as in the tests of capture."""
    original = Loop.__init__

    def allowed(self: Loop, feed: Any, stepper: Any, name: str = "equal", wanted: bool = True) -> None:
        original(self, feed, stepper, name, wanted)
        if wanted:
            self.reason = None

    monkeypatch.setattr(Loop, "__init__", allowed)
    monkeypatch.setattr(capture, "record", tape.record)
    case = make("mtpsl")
    assert case.reason is None and list(case.variants()) == [
        "feed",
        "bare",
        "eager",
        "captured",
        "bare captured",
    ]
    run = case.runs[0]
    assert run.loop.captured
    case.variants()["bare captured"]()
    before = run.stepper.sums.clone()
    case.step()
    assert not torch.equal(run.stepper.sums, before)  # a step of a run sums its losses, a bare one does not


def test_a_subject_under_other_tasks() -> None:
    four = (*tiny_spec().protocol.tasks, "edge")
    several, single = subject().under(tasks=four), subject("single_task").under(tasks=four)
    assert several.specs[0].tasks == four and [s.tasks for s in single.specs] == [(t,) for t in four]
    balanced = Subject("x", (replace(tiny_spec(), balance="famo"),))
    assert (
        balanced.under(tasks=four).specs[0].balance == "famo"
        and balanced.under(tasks=("depth",)).specs[0].balance == "equal"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("no\nmore"), "no"), (MemoryError(), "out of memory"), (KeyError(), "KeyError")],
)
def test_what_cannot_be_built_is_a_note(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(method_class("multi_task"), "losses", fail)
    notes: list[str] = []
    assert build(subject(), TASKS, "cpu", Splits(), notes, "batch 2") is None
    assert notes == [f"multi_task at batch 2 could not be measured: {said}"]


def test_splits_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    original = cases.synthetic.split
    monkeypatch.setattr(cases.synthetic, "split", lambda *a: made.append(a) or original(*a))
    splits, protocol = Splits(), tiny_spec().protocol
    assert splits.of(protocol, TASKS) is splits.of(protocol, TASKS) and len(made) == 1
    assert len(splits.of(replace(protocol, batch=64), TASKS)) == 128 and len(made) == 2


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_on_a_gpu_every_variant_runs(method: str) -> None:
    made = subject(method)
    case = Case(made, TASKS, "cuda", Splits().of(made.protocol, TASKS))
    assert case.reason is None and case.peak_gib is not None and case.peak_gib > 0
    for call in case.variants().values():
        call()
    torch.cuda.synchronize()
