"""Consistency of two views and the mean teacher against loops over samples and pixels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmark.training.build import initialise
from benchmark.training.step import Step
from methods.consistency import Consistency
from methods.mean_teacher import MeanTeacher
from tests.helpers import tiny_protocol
from tests.methods.cases import ALL, FULL, MIXED, NOTHING, ONE, SIX, THREE, problem
from tests.methods.pseudo_reference import KEYWORDS, check_pseudo, cropped, sure

LOSSES = pytest.mark.parametrize(
    ("labelled", "progress"), [(ONE, 0.0), (MIXED, 0.3), (FULL, 0.8), (NOTHING, 0.8), (SIX, 0.8)]
)


def teacher(names: tuple[str, ...] = THREE, **keywords: float) -> MeanTeacher:
    """As it is when training starts."""
    torch.manual_seed(3)
    made = MeanTeacher(problem(names), **KEYWORDS | keywords)
    initialise(made, 0)
    sure(made.double())
    made.prepare(iter(()))
    return made


@LOSSES
def test_losses_of_consistency_equal_the_loop(labelled: list[list[int]], progress: float) -> None:
    """And their gradients: the first view's prediction is a constant."""
    torch.manual_seed(3)
    made = sure(Consistency(problem(tuple(ALL)[: len(labelled[0])]), **KEYWORDS).double())
    given = cropped(made.problem, labelled)
    if labelled is SIX:
        shares = {name: float(d.array) for name, d in made.diagnostics(given).items()}
        assert len(shares) == 6 and all(0 < share < 1 for share in shares.values()), shares
    check_pseudo(made, given, progress)


@LOSSES
def test_losses_of_the_mean_teacher_equal_the_loop(labelled: list[list[int]], progress: float) -> None:
    made = teacher(tuple(ALL)[: len(labelled[0])])
    for p in made.teacher.parameters():  # a teacher that is not the student, as after some steps
        p += 0.03 * torch.randn_like(p)
    given = cropped(made.problem, labelled)
    if labelled is SIX:
        shares = {name: float(d.array) for name, d in copy.deepcopy(made).diagnostics(given).items()}
        assert len(shares) == 6 and all(0 < share < 1 for share in shares.values()), shares
    with torch.no_grad():
        taught = copy.deepcopy(made).teacher.predict(given.images)
    check_pseudo(made, given, progress, taught)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def student_state(made: MeanTeacher) -> dict[str, Tensor]:
    own = ("encoder", "decoders", "heads")
    return {name: value for name, value in state(made).items() if name.split(".")[0] in own}


def test_the_teacher_starts_as_the_student_and_is_another_network() -> None:
    made = MeanTeacher(problem())
    initialise(made, 0)
    assert any(not torch.equal(v, made.teacher.state_dict()[n]) for n, v in student_state(made).items())
    made.encoder.trunk.stem[1].running_mean += 0.5  # buffers too
    made.prepare(iter(()))
    assert state(made.teacher).keys() == student_state(made).keys()
    assert all(torch.equal(v, made.teacher.state_dict()[n]) for n, v in student_state(made).items())
    assert not {id(p) for p in made.teacher.parameters()} & {id(p) for p in made.encoder.parameters()}


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_the_average_and_the_statistics_equal_a_loop(decay: float) -> None:
    """Six steps of the harness; the teacher's BatchNorm saw the first views, with the teacher's own
    weights.
    """
    made = teacher(decay=decay)
    shadow = copy.deepcopy(made.teacher)
    step, decays = Step(made, tiny_protocol(lr=1e-2), 6), []
    for k in range(6):
        given = cropped(made.problem, MIXED, seed=k)
        with torch.no_grad():
            shadow.predict(given.images)
        step(given, k)
        a = min(decay, (k + 1) / (k + 10))
        decays.append(a)
        for name, value in shadow.named_parameters():
            value.copy_(torch.tensor(a * value.numpy() + (1 - a) * made.get_parameter(name).detach().numpy()))
    assert step.failure() is None
    assert int(made.updates) == 6 and decays[0] == 0.1 and (decays[-1] == decay) == (decay == 0.3)
    taught = state(made.teacher)
    for name, value in state(shadow).items():
        torch.testing.assert_close(taught[name], value, rtol=1e-12, atol=1e-14)
    moved = [name for name, value in student_state(made).items() if not torch.equal(value, taught[name])]
    assert any("running_mean" in name for name in moved) and any("weight" in name for name in moved)


def test_the_warm_up_holds_over_a_resumed_run() -> None:
    made, fresh = teacher(), teacher()
    for _ in range(3):
        made.after_step()
    fresh.load_state_dict(made.state_dict())
    assert int(fresh.updates) == 3
    for one in (made, fresh):
        for p in one.encoder.parameters():
            p.data += 1
        one.after_step()
    assert all(torch.equal(value, state(fresh)[name]) for name, value in state(made).items())


def test_evaluation_moves_nothing() -> None:
    made = teacher().eval()
    before = state(made)
    with torch.no_grad():
        made.predict(cropped(made.problem, ONE).images)
        made.diagnostics(cropped(made.problem, ONE))
    assert all(torch.equal(value, before[name]) for name, value in state(made).items())
