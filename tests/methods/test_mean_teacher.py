"""The mean teacher: its average and its statistics against loops, its loss against a loop, and what it may
touch.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.training.build import initialise
from benchmark.training.step import Step
from methods.base import Batch
from methods.mean_teacher import MeanTeacher
from tests.helpers import tiny_protocol
from tests.methods.cases import ALL, FULL, MIXED, NOTHING, ONE, SIX, THREE, problem
from tests.methods.pseudo_reference import KEYWORDS, check_pseudo, cropped

PARTS = ("encoder", "decoders", "heads")


def method(names: tuple[str, ...] = THREE, **keywords: Any) -> MeanTeacher:
    """As it is when training starts."""
    torch.manual_seed(3)
    made = MeanTeacher(problem(names), **KEYWORDS | keywords)
    initialise(made, 0)
    made.double()
    for name, head in made.heads.items():
        head.conv.weight.data *= 20 if made.problem.tasks[name].is_map_of_integers else 1
    made.prepare(iter(()))
    return made


def data(made: MeanTeacher, labelled: list[list[int]], seed: int = 0) -> Batch:
    return cropped(made.problem, labelled, seed)


def away(made: MeanTeacher) -> MeanTeacher:
    """With a teacher that is not the student, as after some steps."""
    for p in made.teacher.parameters():
        p += 0.03 * torch.randn_like(p)
    return made


def run(parts: nn.Module, images: Tensor) -> dict[str, Tensor]:
    shared = parts.encoder(images)
    return {name: parts.heads[name](parts.decoders[name](shared)) for name in parts.problem.tasks}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def student_state(made: MeanTeacher) -> dict[str, Tensor]:
    return {name: value for name, value in state(made).items() if name.split(".")[0] in PARTS}


def check(made: MeanTeacher, given: Batch, progress: float) -> None:
    twin, b = copy.deepcopy(made), len(given.images)
    predictions = run(made, torch.cat([given.images, given.views[0].images]))
    with torch.no_grad():
        taught = run(twin.teacher, given.images)
    first, second = (
        {name: p[part] for name, p in predictions.items()} for part in (slice(b), slice(b, None))
    )
    found = made.losses(given, torch.tensor(progress, dtype=torch.float64))
    check_pseudo(found, made, given, progress, first, second, source=taught)


@pytest.mark.parametrize(("labelled", "progress"), [(ONE, 0.0), (MIXED, 0.3), (FULL, 0.8), (NOTHING, 0.8)])
def test_losses_equal_the_loop(labelled: list[list[int]], progress: float) -> None:
    made = away(method())
    check(made, data(made, labelled), progress)


def test_losses_equal_the_loop_for_every_kind_of_task() -> None:
    made = away(method(tuple(ALL)))
    given = data(made, SIX)
    shares = {name: float(d.array) for name, d in copy.deepcopy(made).diagnostics(given).items()}
    assert len(shares) == 6 and all(0 < share < 1 for share in shares.values()), shares
    check(made, given, 0.8)


def test_the_teacher_starts_as_the_student_and_is_another_network() -> None:
    made = MeanTeacher(problem())
    initialise(made, 0)
    assert any(not torch.equal(v, made.teacher.state_dict()[n]) for n, v in student_state(made).items())
    made.encoder.trunk.stem[1].running_mean += 0.5  # buffers too
    made.prepare(iter(()))
    assert state(made.teacher).keys() == student_state(made).keys()
    assert all(torch.equal(v, made.teacher.state_dict()[n]) for n, v in student_state(made).items())
    ids = {id(p) for p in made.teacher.parameters()} & {id(p) for p in made.encoder.parameters()}
    assert not ids


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_the_average_and_the_statistics_equal_a_loop(decay: float) -> None:
    """Six steps of the harness; the teacher's BatchNorm saw the first views, with the teacher's own
    weights.
    """
    made = method(decay=decay)
    shadow = copy.deepcopy(made.teacher)
    step, decays = Step(made, tiny_protocol(lr=1e-2), 6), []
    for k in range(6):
        given = data(made, MIXED, seed=k)
        with torch.no_grad():
            shadow.predict(given.images)
        step(given, k)
        a = min(decay, (k + 1) / (k + 10))
        decays.append(a)
        for name, value in shadow.named_parameters():
            value.copy_(torch.tensor(a * value.numpy() + (1 - a) * made.get_parameter(name).detach().numpy()))
    assert step.failure() is None
    assert int(made.updates) == 6 and decays[0] == 0.1 and (decays[-1] == decay) == (decay == 0.3)
    for name, value in state(shadow).items():
        torch.testing.assert_close(made.teacher.state_dict()[name], value, rtol=1e-12, atol=1e-14)
    moved = [
        name
        for name, value in student_state(made).items()
        if not torch.equal(value, made.teacher.state_dict()[name])
    ]
    assert any("running_mean" in name for name in moved) and any("weight" in name for name in moved)


def test_the_warm_up_holds_over_a_resumed_run() -> None:
    made = method()
    for _ in range(3):
        made.after_step()
    fresh = method()
    fresh.load_state_dict(made.state_dict())
    assert int(fresh.updates) == 3
    for one in (made, fresh):
        for p in one.encoder.parameters():
            p.data += 1
        one.after_step()
    assert all(torch.equal(value, state(fresh)[name]) for name, value in state(made).items())


def test_gradients_reach_what_they_should() -> None:
    made = away(method())
    losses = made.losses(data(made, [[1, 0, 0]] * 3), torch.tensor(1.0))
    losses.extra["consistency"].backward()
    for name, p in made.named_parameters():
        reached = p.grad is not None and bool((p.grad != 0).any())
        assert p.grad is None or p.grad.isfinite().all()
        assert reached == (not name.startswith("teacher.") and "s.semseg." not in name), name


def test_evaluation_moves_nothing() -> None:
    made = method().eval()
    before = state(made)
    with torch.no_grad():
        made.predict(data(made, ONE).images)
        made.diagnostics(data(made, ONE))
    assert all(torch.equal(value, before[name]) for name, value in state(made).items())
