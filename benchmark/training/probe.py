"""What a run says of itself at any time, without a trace in it: the diagnostics of its method and its
balancing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from benchmark.training.device import autocast
from methods.base import Diagnostic, Method

if TYPE_CHECKING:
    from benchmark.training.loop import Run


@contextmanager
def _untouched(method: Method) -> Iterator[None]:
    """Leave random generators, buffers (in place, as a CUDA graph holds their addresses) and modes as they
    are now.
    """
    device = next(method.parameters()).device
    modes = [(module, module.training) for module in method.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        try:
            yield
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)
            for module, mode in modes:
                module.training = mode


def diagnostics(run: Run) -> dict[str, Diagnostic]:
    """The balancing's diagnostics, and the method's on a fixed probe: the first training batch, its hidden
    labels hidden.
    """
    with _untouched(run.method), autocast(run.options.device, run.spec.protocol.precision):
        run.method.eval()
        torch.manual_seed(0)
        return {**run.method.diagnostics(run.feed.batch(0)), **run.stepper.balancing.diagnostics()}
