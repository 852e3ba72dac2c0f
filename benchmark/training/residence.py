"""Samples of a split in use: on the device where they fit, else in host memory and sent ahead of time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from datasets.base import Split
from datasets.tasks import Task

# of a GPU's free memory that a split may take, train first; networks and their activations need the rest
SHARE = 0.4
AHEAD = 2  # batches gathered in advance


class Gathered(NamedTuple):
    """Images (B, 3, H, W) uint8, compact targets {task: (B, C, H, W)} and extents (B, 2) or None."""

    images: Tensor
    targets: dict[str, Tensor]
    extents: Tensor | None


class Samples:
    """Samples of a split in a given order, in batches of one size.

    Every batch is a pure function of its number and the caller's own copy. order: (S,) int64 positions in the
    split on the host, S a multiple of `batch`. resident: whether the split lies on the device; otherwise a
    thread gathers the batches to come in pinned memory, from where they are copied beside the computing.
    """

    def __init__(self, split: Split, tasks: dict[str, Task], order: Tensor, batch: int, device: str) -> None:
        self.batch, self.device = batch, device
        self._parts = {"": split.images} | {name: split.targets[name] for name in tasks}
        if split.extents is not None:
            self._parts["extents"] = split.extents
        self.order = order
        self.resident = _fits(self._parts, device)
        self._pool = None if self.resident else ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[dict[str, Tensor]]] = {}
        if self.resident:
            self._parts = {name: part.to(device) for name, part in self._parts.items()}
            self._order = order.to(device)

    def __call__(self, number: int) -> Gathered:
        """Return batch `number`, counted from 0, on the device."""
        if self._pool is None:
            return _gathered(self._rows(self._order[number * self.batch : (number + 1) * self.batch]))
        last = len(self.order) // self.batch
        for n in range(number, min(number + 1 + AHEAD, last)):
            if n not in self._ahead:
                self._ahead[n] = self._pool.submit(self._gather, n)
        parts = {k: v.to(self.device, non_blocking=True) for k, v in self._ahead.pop(number).result().items()}
        self._ahead = {n: batch for n, batch in self._ahead.items() if n > number}
        return _gathered(parts)

    def at(self, number: Tensor) -> Gathered:
        """Return batch `number` (1,), which the host need not know, of samples on the device."""
        rows = number * self.batch + torch.arange(self.batch, device=number.device)
        return _gathered(self._rows(self._order.index_select(0, rows)))

    def empty(self) -> Gathered:
        """Return room on the device for one batch."""
        shaped = {name: (p, (self.batch, *p.shape[1:])) for name, p in self._parts.items()}
        return _gathered(
            {n: torch.empty(s, dtype=p.dtype, device=self.device) for n, (p, s) in shaped.items()}
        )

    def _rows(self, here: Tensor) -> dict[str, Tensor]:
        return {name: part.index_select(0, here) for name, part in self._parts.items()}

    def _gather(self, number: int) -> dict[str, Tensor]:
        parts = self._rows(self.order[number * self.batch : (number + 1) * self.batch])
        if not self.device.startswith("cuda"):
            return parts
        # The pinned copies go back to torch's own pool when the copy to the device is done with them.
        return {name: part.pin_memory() for name, part in parts.items()}


def _gathered(parts: dict[str, Tensor]) -> Gathered:
    return Gathered(parts.pop(""), parts, parts.pop("extents", None))


def _fits(parts: dict[str, Tensor], device: str) -> bool:
    """Whether the samples may lie on the device, which the host's processor is already."""
    if not device.startswith("cuda"):
        return True
    torch.cuda.empty_cache()  # what torch keeps of earlier runs counts as taken otherwise
    taken = sum(part.numel() * part.element_size() for part in parts.values())
    return taken <= SHARE * torch.cuda.mem_get_info(device)[0]
