"""Find out whether a step waits for numbers of the device, on a CPU too."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.contract.checks import Broken, require


class NoHost(TorchFunctionMode):
    """Refuse methods of tensors that give their numbers to the host, which on a CPU needs no operator."""

    FORBIDDEN = (
        "numpy",
        "tolist",
        "item",
        "cpu",
        "__array__",
        "__bool__",
        "__float__",
        "__int__",
        "__index__",
    )

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out a function, or raise `Broken`."""
        name = getattr(function, "__name__", "")
        if name in self.FORBIDDEN:
            said = f"a tensor's {name}() waits for the device and ends a CUDA graph"
            raise Broken(f"{said}; compute with tensors, and keep numbers for diagnostics()")
        return function(*args, **(kwargs or {}))


class NoSync(TorchDispatchMode):
    """Refuse operators that read a value on the host, copy one from it, or whose shape depends on data."""

    FORBIDDEN = (
        "_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "bincount", "equal.",
        "is_nonzero",
    )  # fmt: skip

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out an operator, or raise `Broken`."""
        name = str(function)
        looks = any(f"aten.{word}" in name for word in self.FORBIDDEN)
        require(
            not looks, f"{name} needs the host, or has a shape that depends on data; mask and average instead"
        )
        indexes = args[1] if name.startswith(("aten.index.", "aten.index_put")) else ()
        masks = any(index is not None and index.dtype == torch.bool for index in indexes)
        require(
            not masks, "it indexes with booleans, whose shape depends on data; multiply by the mask instead"
        )
        return function(*args, **(kwargs or {}))
