"""The supervised losses against loops over pixels; their reduction: `check_losses` of every method's test."""

import pytest
import torch

from methods.losses import per_sample_loss, sample_weights
from tests.methods.cases import ALL, batch, problem, sample_loss, slow_loss


@pytest.mark.parametrize("name", ALL)
def test_each_loss_equals_a_loop_over_pixels(name: str) -> None:
    task, case = ALL[name], problem(tuple(ALL), size=(8, 12))
    target = batch(case, [[1] * 6] * 3, empty=((1, name),)).targets[name]
    prediction = torch.randn(3, task.channels, 8, 12, dtype=torch.float64, requires_grad=True)
    found = per_sample_loss(task, prediction, target)
    expected = [slow_loss(task, p, t) for p, t in zip(prediction.detach(), target, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-10, abs=0)
    assert found[1] == 0 and found[0] > 0
    again = torch.stack([sample_loss(task, p, t) for p, t in zip(prediction, target, strict=True)])
    torch.testing.assert_close(again, found, rtol=1e-10, atol=0)
    (expected_gradient,) = torch.autograd.grad(again.sum(), prediction)
    found.sum().backward()
    gradient = prediction.grad
    assert gradient is not None and gradient.isfinite().all()
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-15)
    assert (gradient[1] == 0).all() and (gradient[0] != 0).any()
    unknown = ~task.valid(target).expand_as(gradient)
    assert (gradient[unknown] == 0).all(), "a pixel without a label gives no gradient"


def test_sample_weights() -> None:
    labelled = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    expected = torch.tensor([[3, 0, 0], [1.5, 1.5, 0], [1, 1, 1], [0, 0, 0]])
    torch.testing.assert_close(sample_weights(labelled, None), expected)
    by_share = sample_weights(labelled, torch.tensor([0.5, 0.25, 1.0]))
    torch.testing.assert_close(by_share, labelled * torch.tensor([2.0, 4.0, 1.0]))
