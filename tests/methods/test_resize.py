"""Resizing by matrix products: torch's own values and gradients, in both layouts."""

import pytest
import torch
import torch.nn.functional as F

from methods.networks.resize import resized

FORMS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("old", "new"),
    [((3, 5), (24, 40)), ((8, 6), (4, 3)), ((5, 7), (11, 7)), ((1, 1), (4, 2)), ((4, 6), (4, 6))],
)
def test_values_and_gradients_are_torchs(form: str, old: tuple[int, int], new: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *old, dtype=torch.float64).contiguous(memory_format=FORMS[form]).requires_grad_()
    weights = torch.randn(2, 3, *new, dtype=torch.float64)
    ours, theirs = resized(x, new), F.interpolate(x, new, mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    found = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    assert old == (1, 1) or ours.is_contiguous(memory_format=FORMS[form])  # one pixel lies in both layouts
