"""What every kind of task of a plug-in must keep, checked on maps that are made up here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from benchmark.contract import metrics
from benchmark.contract.checks import Finding, NoHost, NoSync, findings, require
from datasets import tasks
from datasets.kinds import OwnKind
from methods.losses import per_sample_loss

Subject = metrics.Subject  # four images whose last has no label; the others have none in a corner, or all


def check(name: str, kind: type[OwnKind]) -> Iterator[Finding]:
    """Yield the findings of all checks of the kind, then those of its metrics."""
    first = next(iter(kind.metrics.values()))
    yield from findings(CHECKS, Subject(first(tasks.own(name))), first=(a_loss_a_sample,))
    for metric, of in kind.metrics.items():
        yield from (replace(each, check=f"{metric}: {each.check}") for each in metrics.check(metric, of))


def _loss(subject: Subject, prediction: Tensor, target: Tensor | None = None) -> Tensor:
    return per_sample_loss(subject.task, prediction, subject.target if target is None else target)


def _gradient(subject: Subject) -> Tensor:
    prediction = subject.wrong.clone().requires_grad_()
    _loss(subject, prediction).sum().backward()
    require(prediction.grad is not None, "the loss has no gradient; compute it of the prediction")
    assert prediction.grad is not None
    return prediction.grad


def a_loss_a_sample(subject: Subject) -> None:
    """loss() gives one finite number a sample, in whatever precision a prediction is."""
    for words, prediction in {"the truth": subject.perfect, **subject.others}.items():
        for kind in (torch.float32, torch.bfloat16):
            loss = _loss(subject, prediction.to(kind))
            fits = loss.shape == (len(prediction),) and torch.isfinite(loss).all()
            require(fits, f"it gives {loss.tolist()} where the prediction is {words}, {kind}")


def no_label(subject: Subject) -> None:
    """A sample without a label has a loss and a gradient of exactly 0."""
    loss, gradient = _loss(subject, subject.wrong)[3], _gradient(subject)[3]
    require(loss == 0, f"the loss of a sample without a label is {loss:g}; multiply by valid")
    require(not gradient.any(), "a sample without a label has a gradient that is not 0; multiply by valid")


def unlabelled_pixels(subject: Subject) -> None:
    """A pixel without a label has no gradient, and what is predicted there moves no loss."""
    known = subject.task.valid(subject.target)
    there = torch.where(known, 0, _gradient(subject))
    require(not there.any(), "a pixel without a label has a gradient; multiply by valid")
    mixed = torch.where(known, subject.perfect, subject.wrong.roll(1, 2) + 1)
    same = torch.equal(_loss(subject, subject.perfect), _loss(subject, mixed))
    require(same, "other predictions at pixels without a label give another loss; multiply by valid")


def samples_apart(subject: Subject) -> None:
    """The loss of a sample depends neither on the others of a batch nor on their order."""
    for words, prediction in subject.others.items():
        whole = _loss(subject, prediction)
        pairs = zip(prediction.split(1), subject.target.split(1), strict=True)
        alone = torch.cat([_loss(subject, *pair) for pair in pairs])
        turned = _loss(subject, prediction.flip(0), subject.target.flip(0)).flip(0)
        same = torch.allclose(whole, alone, rtol=1e-5) and torch.allclose(whole, turned, rtol=1e-5)
        require(same, f"a sample has another loss in another batch (the prediction is {words})")


def perfect_prediction(subject: Subject) -> None:
    """The truth as the prediction has the least loss, and what is all wrong has more and a gradient."""
    best, wrong = _loss(subject, subject.perfect), _loss(subject, subject.wrong)
    for words, prediction in subject.others.items():
        loss = _loss(subject, prediction)
        least = bool((best <= loss + 1e-6).all())
        require(least, f"the truth itself has a loss of {best.tolist()} and {words} one of {loss.tolist()}")
    learns = bool((best < wrong)[:3].all()) and bool(_gradient(subject)[:3].flatten(1).any(1).all())
    require(learns, "what is all wrong has no more loss than the truth, or no gradient, so nothing is learnt")


def views(subject: Subject) -> None:
    """moved() changes nothing without a zoom and a flip, flips back, and keeps which pixels have a label."""
    target, one, moved = subject.target, torch.ones(4, 1, 1, 1), subject.task.maps.moved
    same = torch.allclose(moved(target, one, one, False), target, equal_nan=True)
    require(same, "moved() changes values where a view neither zooms nor mirrors")
    back = moved(moved(target, one, -one, False), one, -one, False)
    require(torch.allclose(back, target, equal_nan=True), "moved() twice mirrored gives other values")
    known = subject.task.valid(moved(target, 1.5 * one, -one, False))
    require(torch.equal(known, subject.task.valid(target)), "moved() adds labels, or takes some away")


def no_look_at_data(subject: Subject) -> None:
    """It waits for no number of the device, and no shape depends on data."""
    prediction, target = subject.wrong, subject.target
    with NoHost(), NoSync():
        _loss(subject, prediction, target)
        subject.task.maps.moved(target, torch.ones(4, 1, 1, 1), torch.ones(4, 1, 1, 1), False)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    a_loss_a_sample, no_label, unlabelled_pixels, samples_apart, perfect_prediction, views, no_look_at_data,
)  # fmt: skip
