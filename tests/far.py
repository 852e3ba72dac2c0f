"""A device that is not there, to find on a CPU what would break, or wait, on a GPU.

Its tensors have no content; they know shape, type and where they lie. Real tensors of the host stay real. An
operator that meets one from there and one from the device is what a GPU refuses, or copies from pageable
memory, which waits and which no CUDA graph may hold; so is a read of what lies on the device.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ, LIFTED = torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default
JOINS = (torch.ops.aten.cat.default, torch.ops.aten.stack.default)  # these take no scalar of the host either
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten.copy.default)


class Crossed(Exception):
    """An operator that takes from the host what the device needs, or the other way round."""


class Far(TorchDispatchMode):
    """device: its type, one that torch knows; 'meta' is torch's own of no content, and three times as fast.
    strict: whether copies are refused too."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.strict = device, False
        meta = device == "meta"
        self.fake = contextlib.nullcontext() if meta else FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        wanted = any(isinstance(leaf, torch.device) and leaf.type == self.device for leaf in leaves)
        if not wanted and not any(isinstance(t, FakeTensor) or t.device.type == self.device for t in tensors):
            return function(*args, **kwargs)
        if self.strict and function in (READ, LIFTED):
            raise Crossed(f"{function} reads what lies on the device, or sends it a number")
        near = [t for t in tensors if t.device.type == "cpu" and (t.dim() or function in JOINS + COPIES)]
        if near and (self.strict or function not in COPIES):
            raise Crossed(
                f"{function} takes from the host a tensor of shape {tuple(near[0].shape)}, {near[0].dtype}"
            )
        try:
            with self.fake:
                result = function(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException, NotImplementedError) as error:
            raise Crossed(f"{function} depends on values of the device") from error
        if self.strict and any(isinstance(t, Tensor) and t.device.type == "cpu" for t in tree_leaves(result)):
            raise Crossed(f"{function} gives the host something of the device")
        return result
