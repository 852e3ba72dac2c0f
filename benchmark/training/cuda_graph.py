"""A run's steps by their number: launched kernel by kernel or, on a GPU, repeated as one CUDA graph.

At these sizes a GPU waits for the host, which launches hundreds of kernels a step. A graph is launched once.
It holds the whole step: gathering the batch, augmentation, losses, backward, balancing, clip, update, moving
averages. What changes from step to step is on the device: the number of the step, and through it samples,
crops, learning rates and progress; the global generator, which is registered with the graph, is seeded by the
host before each step as it is without one.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmark.spec import weighting as balance
from benchmark.training.batches import Feed, Gathered
from benchmark.training.step import Step

WARM = 3  # steps before capture: libraries make their handles and workspaces, the optimiser its state


class HostSyncError(Exception):
    """The step asks the host for what it knows of one batch, which a graph would repeat for all."""


class _Absent:
    """Stands for `Batch.labelled_host` while a graph is captured."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise HostSyncError("it looks at labelled_host, which differs from batch to batch")

    __getattr__ = __getitem__ = __len__ = __iter__ = __bool__ = __invert__ = __and__ = __or__ = _refuse
    __torch_function__ = _refuse


class Loop:
    """Call it with the numbers of steps in order. reason: why no graph is captured, or None."""

    def __init__(self, feed: Feed, stepper: Step, name: str = balance.EQUAL, wanted: bool = True) -> None:
        """name: of the balancing. wanted: False for kernel by kernel."""
        self.feed, self.stepper = feed, stepper
        self.reason = None if wanted else "it was asked to run kernel by kernel"
        if stepper.device.type != "cuda":
            self.reason = f"there are no CUDA graphs on {stepper.device.type}"
        elif balance.BALANCES[name].kind == "gradients":
            self.reason = f"balance {name} runs eagerly: {balance.EAGER}"
        self._replay: Callable[[], None] | None = None
        self._samples: Gathered | None = None
        self._warm = 0

    @property
    def captured(self) -> bool:
        """Whether a graph is in use."""
        return self._replay is not None

    def __call__(self, number: int) -> None:
        """Make a step, captured where that can be."""
        if self._replay is None and (self.reason is not None or self._warm < WARM):
            self._warm += 1
            batch = self.feed.batch(number)
            if self._warm == WARM and self.reason is None and self.stepper.device.type == "cuda":
                self.reason = waits(lambda: self.stepper(batch, number))
            else:
                self.stepper(batch, number)
            return
        self.stepper.at.fill_(number)
        if not self.feed.samples.resident:
            self._samples = self._samples or self.feed.samples.empty()
            _copy(self._samples, self.feed.samples(number))
        if self._replay is None:
            self._capture()
        if self._replay is not None:
            self._replay()
        else:
            self.stepper.advance(
                self.feed.batch_at(self.stepper.at, self._samples, self.feed.labelled_host(number))
            )

    def _capture(self) -> None:
        """Record the step without computing it; where that cannot be, `reason` says so and all goes on."""
        host: Any = _Absent()
        try:
            self._replay = record(
                lambda: self.stepper.advance(self.feed.batch_at(self.stepper.at, self._samples, host))
            )
        except torch.OutOfMemoryError:
            raise
        except (HostSyncError, RuntimeError, TypeError, ValueError) as error:
            # A capture that the device broke off hides what broke it.
            cause = error.__context__ or error
            self.reason = (str(cause).splitlines() or [type(cause).__name__])[0]


def waits(step: Callable[[], None]) -> str | None:
    """Take a step; return a sentence where it waited for the device, which no graph may hold, or None.

    Asked before a capture, as one that is broken off may leave its generator unusable.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    synced = [w for w in found if "synchronizing CUDA operation" in str(w.message)]
    for warning in found:
        if warning not in synced and "Synchronization debug mode" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not synced:
        return None
    return f"it waits for the device ({Path(synced[0].filename).name}, line {synced[0].lineno})"


def record(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step as a CUDA graph on the current stream, without computing it; return what repeats it."""
    gc.collect()  # a graph of an earlier run, freed during a capture, would break it off
    graph = torch.cuda.CUDAGraph()
    try:
        # Thread-local: another thread may pin memory for the batches to come meanwhile.
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            step()
    finally:
        torch.cuda.synchronize()
    return graph.replay


def _copy(to: Gathered, source: Gathered) -> None:
    to.images.copy_(source.images)
    for name, target in to.targets.items():
        target.copy_(source.targets[name])
    if to.extents is not None and source.extents is not None:
        to.extents.copy_(source.extents)
