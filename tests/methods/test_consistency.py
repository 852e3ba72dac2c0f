"""Consistency of two views and the mean teacher against loops over samples and pixels."""

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmark.training.build import initialise
from benchmark.training.step import Step
from methods.consistency import Consistency
from methods.mean_teacher import MeanTeacher
from tests.helpers import assert_same, tiny_protocol
from tests.methods.cases import THREE, names, problem
from tests.methods.pseudo_reference import KEYWORDS, check_pseudo, cropped, sure


def method(kind: type = MeanTeacher, tasks: tuple[str, ...] = THREE, **keywords: float) -> MeanTeacher:
    """As it is when training starts."""
    torch.manual_seed(3)
    made = kind(problem(tasks, (16, 32)), **KEYWORDS | keywords)
    initialise(made, 0)
    sure(made.double())
    made.prepare(iter(()))
    return made


@pytest.mark.parametrize("kind", [Consistency, MeanTeacher])
@pytest.mark.parametrize(
    ("labelled", "progress"), [("one", 0.0), ("mixed", 0.3), ("full", 0.8), ("nothing", 0.8), ("six", 0.8)]
)
def test_losses_equal_the_loop(kind: type, labelled: str, progress: float) -> None:
    """And their gradients: what labels is a constant."""
    made = method(kind, names(labelled))
    given, taught = cropped(made.problem, labelled), None
    if kind is MeanTeacher:  # that is not the student, as after some steps
        for p in made.teacher.parameters():
            p += 0.03 * torch.randn_like(p)
        with torch.no_grad():
            taught = copy.deepcopy(made).teacher.predict(given.images)
    if labelled == "six":
        shares = {name: float(d.array) for name, d in copy.deepcopy(made).diagnostics(given).items()}
        assert len(shares) == 6 and all(0 < share < 1 for share in shares.values()), shares
    check_pseudo(made, given, progress, taught)


def state(module: nn.Module, of: tuple[str, ...] = ()) -> dict[str, Tensor]:
    found = module.state_dict().items()
    return {name: value.clone() for name, value in found if not of or name.split(".")[0] in of}


STUDENT = ("encoder", "decoders", "heads")


def test_the_teacher_starts_as_the_student_and_is_another_network() -> None:
    made = MeanTeacher(problem())
    initialise(made, 0)
    assert any(not torch.equal(v, made.teacher.state_dict()[n]) for n, v in state(made, STUDENT).items())
    made.encoder.trunk.stem[1].running_mean += 0.5  # buffers too
    made.prepare(iter(()))
    assert_same(state(made, STUDENT), state(made.teacher))
    assert not {id(p) for p in made.teacher.parameters()} & {id(p) for p in made.encoder.parameters()}


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_the_average_and_the_statistics_equal_a_loop(decay: float) -> None:
    """Of six steps; the teacher's BatchNorm saw the first views, with the teacher's own weights."""
    made = method(decay=decay)
    shadow = copy.deepcopy(made.teacher)
    step, decays = Step(made, tiny_protocol(lr=1e-2), 6), []
    for k in range(6):
        given = cropped(made.problem, "mixed", seed=k)
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
    moved = [name for name, value in state(made, STUDENT).items() if not torch.equal(value, taught[name])]
    assert any("running_mean" in name for name in moved) and any("weight" in name for name in moved)
