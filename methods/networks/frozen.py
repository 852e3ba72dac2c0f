"""A module as a constant of the loss: gradients pass through it, and none reaches its parameters."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.func import functional_call


def frozen(module: nn.Module, *inputs: Any) -> Any:
    """Call a module with its parameters detached; nothing is copied."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)
