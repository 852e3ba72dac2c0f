"""Count the kernels that a training step would launch on a GPU, without one.

    python -m tests.performance.launches [METHOD ...]

The step runs on tensors without data ('meta'), for which code takes the paths of a GPU, under a tape of
operators. Counted is every operator that reads or writes data, once; not those that only look at the same
memory in another way or set it aside. It is a stand-in: a library's operator may be several kernels, as the
fused optimiser is one for so many parameters, so the numbers compare a step with itself before and after.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmark.spec import registry
from benchmark.training.step import Step
from methods.base import view_kinds
from tests.helpers import SMALL, THREE, tiny_batch, tiny_problem, tiny_protocol

# Of these no kernel comes: they give a view or memory that nothing is written to.
SILENT = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_unsafe_view",
    "is_same_size", "_reshape_alias", "promote_types", "_record_function_enter_new", "_record_function_exit",
}  # fmt: skip


class Launches(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.partition("::")[2]
        outputs = function._schema.returns
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in outputs)
        if not is_view and name not in SILENT:
            self.counts[name] += 1
        if name.startswith("_fused_"):  # of the optimiser; without data it does nothing, nor can it
            return None
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def without_data() -> Iterator[None]:
    """Make tensors on 'meta', and take it for a device with torch's fused kernels and autocast."""
    devices = [*_foreach_utils._get_fused_kernels_supported_devices(), "meta"]
    deterministic = torch.are_deterministic_algorithms_enabled()
    with contextlib.ExitStack() as stack:
        stack.callback(torch.use_deterministic_algorithms, deterministic)
        torch.use_deterministic_algorithms(False)  # as on a GPU
        for where, value in (
            ("torch.utils._foreach_utils._get_foreach_kernels_supported_devices", lambda: devices),
            ("torch.optim.optimizer._get_fused_kernels_supported_devices", lambda: devices),
            ("torch.autocast", lambda *_, **__: contextlib.nullcontext()),
        ):
            stack.enter_context(mock.patch(where, value))
        stack.enter_context(torch.device("meta"))
        yield


def launches(name: str) -> Counter[str]:
    """Count the operators of a method's second step: losses, backward, clip and optimiser."""
    kind = registry.method(name)
    tasks = ("depth",) if kind.one_task else THREE
    labelled = torch.eye(3, dtype=torch.bool)[[0, 1, 2, 0]][:, -len(tasks) :]
    real = tiny_batch(tasks, labelled, views=len(view_kinds(kind.views)), dtype=torch.float32)
    views = [replace(view, **_moved(view, "images", "targets", "geometry")) for view in real.views]
    batch = replace(
        real, views=tuple(views), **_moved(real, "images", "targets", "teacher", "labelled", "index")
    )
    with without_data():
        method = kind(tiny_problem(tasks), **SMALL.get(name, {}))
        step = Step(method, tiny_protocol(clip=10.0), 2)
        with Launches() as tape:
            step(batch, 0)  # in which gradients and the optimiser's state are made
            tape.counts.clear()
            step(batch, 1)
    return tape.counts


def _moved(of: Any, *names: str) -> dict[str, Any]:
    """Tensors, and tables of them, without their data."""
    return {name: tree_map(lambda tensor: tensor.to("meta"), getattr(of, name)) for name in names}


if __name__ == "__main__":
    for given in sys.argv[1:] or registry.method_names():
        counts = launches(given)
        print(f"{given:15} {counts.total():6}", ", ".join(f"{n} {c}" for n, c in counts.most_common(60)))
