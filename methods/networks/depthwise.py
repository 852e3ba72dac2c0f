"""5x5 depthwise convolutions whose weight gradient a CPU finds several times faster than torch's kernel.

oneDNN's kernel for the gradient of a 5x5 depthwise weight takes 3 to 9 times as long as the same sum written
as one grouped convolution: sample n and channel c are a group, whose input is x_nc, whose kernel is the
output's gradient and whose output is the k x k gradient. At 96x128 it was a seventh of the backward pass of
EfficientNet-Lite0.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input


class _Convolve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        return F.conv2d(x, weight, padding=padding, groups=len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, tuple[int, int]], output: Tensor) -> None:
        x, weight, ctx.padding = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_x = conv2d_input(list(x.shape), weight, gradient, padding=ctx.padding, groups=len(weight))
        if ctx.needs_input_grad[1]:
            n, c, h, w = x.shape
            images, kernels = x.reshape(1, n * c, h, w), gradient.reshape(n * c, 1, *gradient.shape[2:])
            each = F.conv2d(images, kernels, padding=ctx.padding, groups=n * c)
            of_weight = each.view(n, *weight.shape).sum(0)
        return of_x, of_weight, None


class Depthwise(nn.Conv2d):
    """Convolve with one filter a channel, of stride 1, as `nn.Conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """The same numbers as `nn.Conv2d`, up to rounding."""
        if x.is_cuda or not torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        convolved: Tensor = _Convolve.apply(x, self.weight, self.padding)
        return convolved


def quicken(network: nn.Module) -> None:
    """Turn a network's large depthwise convolutions into `Depthwise`, and some activations out of place.

    Of convolutions those of 5x5 and larger, stride 1 and no bias; of activations those whose gradient needs
    the input, for which autograd copies before it lets them write in place.
    """
    for module in network.modules():
        if isinstance(module, nn.ReLU6 | nn.SiLU | nn.Hardswish):
            module.inplace = False
        if (
            type(module) is nn.Conv2d
            and module.groups == module.in_channels == module.out_channels
            and module.bias is None
        ):
            plain = module.stride == (1, 1) and module.dilation == (1, 1) and module.padding_mode == "zeros"
            if plain and min(module.kernel_size) >= 5 and not isinstance(module.padding, str):
                module.__class__ = Depthwise
