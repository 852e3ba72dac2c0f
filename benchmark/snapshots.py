"""Scalar and matrix diagnostics of a run while it trains, at a few points, taken between two steps without a trace in the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from methods.base import Diagnostic, Method

if TYPE_CHECKING:
    from benchmark.train import Run

POINTS = 8  # of a run at most, the ends of its first and of its last step among them
EPOCHS = "snapshot_epochs"  # in an array file: (P,)
PREFIX = "snapshots/"  # in an array file, before the name of a diagnostic: (P, *shape)

Snapshot = dict[str, Any]  # {"epoch": number, "values": {diagnostic: nested lists of float32}}; plain, for checkpoints


def due(steps: int, every: int) -> frozenset[int]:
    """After how many of the `steps` a snapshot is taken: after the first, and at those multiples of `every` that are next to even
    parts of the training. The one after the last step is made of what the record holds."""
    gaps = POINTS - 1
    even = (-(-steps * part // (gaps * every)) * every for part in range(1, gaps))
    return frozenset(step for step in (1, *even) if step < steps)


@contextmanager
def _untouched(method: Method) -> Iterator[None]:
    """Leave random generators, buffers (in place, as a CUDA graph holds their addresses) and modes as they are now."""
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
    """The balancing's diagnostics, and the method's on a fixed probe: the first training batch, its hidden labels hidden."""
    with _untouched(run.method):
        run.method.eval()
        torch.manual_seed(0)
        return {**run.method.diagnostics(run.feed.batch(0)), **run.stepper.balancing.diagnostics()}


def snapshot(epoch: float, found: Mapping[str, Diagnostic]) -> Snapshot:
    """What is kept of the diagnostics at one point."""
    values = {name: np.asarray(d.array, np.float32).tolist() for name, d in found.items() if d.kind in ("scalar", "matrix")}
    return {"epoch": epoch, "values": values}


def arrays(points: Sequence[Snapshot]) -> dict[str, np.ndarray]:
    """{name in an array file: array} of the diagnostics that are there, in one shape, at every point; nothing without any."""
    found = {}
    for name in points[0]["values"]:
        held = [np.array(point["values"][name], np.float32) for point in points if name in point["values"]]
        if len(held) == len(points) and len({array.shape for array in held}) == 1:
            found[PREFIX + name] = np.stack(held)
    return {EPOCHS: np.array([point["epoch"] for point in points], np.float32)} | found if found else {}
