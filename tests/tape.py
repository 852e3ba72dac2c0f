"""What a CUDA graph does, on a CPU: record a step's operators with the memory that they read and write, and
repeat those alone.

Nothing of Python runs again. A value that the step took from the host, a branch, a shape or a tensor made
anew would be repeated as it was, and end in other numbers than the step itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record(step: Callable[[], None]) -> Callable[[], None]:
    """Stands for `cuda_graph.record`. Recording computes the step: the first repetition does nothing."""
    tape = Tape()
    with tape:
        step()
    repetitions = 0

    def replay() -> None:
        nonlocal repetitions
        if repetitions:
            tape.replay()
        repetitions += 1

    return replay
