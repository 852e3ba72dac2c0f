"""From a split and a label mask to the batches of a run: which samples, in which order, how augmented.

Samples of a split in use lie on the device where they fit, else in host memory and are sent ahead of time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark import streams
from benchmark.spec.protocol import Protocol
from benchmark.training.device import laid_out
from datasets import augment
from datasets.base import Split
from datasets.layouts.base import TEACHER
from datasets.tasks import Task
from methods.base import Batch, View, ViewKind, view_kinds
from methods.networks.taught import TaughtBatch

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

    Every batch is a pure function of its number and the caller's own copy. teacher: tasks whose teacher's
    maps are targets too, under `TEACHER` and the task's name. order: (S,) int64 positions in the
    split on the host, S a multiple of `batch`. resident: whether the split lies on the device; otherwise a
    thread gathers the batches to come in pinned memory, from where they are copied beside the computing.
    """

    def __init__(
        self, split: Split, tasks: Iterable[str], order: Tensor, batch: int, device: str,
        teacher: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.batch, self.device = batch, device
        self._parts = {"": split.images} | {name: split.targets[name] for name in tasks}
        self._parts |= {TEACHER + name: split.teacher[name] for name in teacher}
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


class Feed:
    """Batches of one run, each a pure function of its step.

    The budget is one long sequence of samples, epoch after epoch, cut into batches of equal size; an epoch's
    order is the restriction of the whole data set's order to the images that the run may use. Under equal
    sampling the sources of joined data sets take turns instead, each with such a sequence of its own. Labels
    that the mask hides are replaced by the ignore value as samples are gathered, before anything else looks
    at them.
    """

    def __init__(
        self,
        split: Split,
        mask: Tensor,
        tasks: dict[str, Task],
        protocol: Protocol,
        *,
        seed: int,
        views: int | tuple[ViewKind, ...],
        normalisation: tuple[Sequence[float], Sequence[float]],
        device: str,
        labelled_only: bool = False,
        with_teacher: bool = False,
    ) -> None:
        """mask: (N, T) bool over the protocol's whole task set; `tasks` may be a part of it. labelled_only:
        leave out the images without a visible label of `tasks`, which teach a network of one task nothing.
        with_teacher: give what the split has of a teacher's maps."""
        columns = [protocol.tasks.index(name) for name in tasks]
        labelled = mask[:, columns]
        usable = labelled.any(1) if labelled_only else torch.ones(len(split), dtype=torch.bool)
        self.images = int(usable.sum())
        self.steps = total_steps(protocol, len(split), self.images)
        self.batch_size, self.tasks, self.normalisation = protocol.batch, tasks, normalisation
        count = self.steps * self.batch_size
        groups = [split.ids[usable]]
        if protocol.sampling == "equal" and split.source is not None:
            of_sources = (split.ids[usable & (split.source == i)] for i in range(len(split.sources)))
            groups = [ids for ids in of_sources if len(ids)] or groups
        drawn = [_passes(ids, -(-count // len(groups)), seed) for ids in groups]
        # Sources in turn: a batch's numbers of their images differ by one at most.
        sequence, epoch = (torch.stack(part, 1).flatten()[:count] for part in zip(*drawn, strict=True))
        uniform = protocol.scale_draw == "uniform"
        config = augment.Augmentation(protocol.scales, protocol.flip, protocol.colour, uniform=uniform)
        configs = [config, *(kind.augmentation(config) for kind in view_kinds(views))]
        draws = [augment.draw(each, seed, epoch, sequence, view) for view, each in enumerate(configs)]
        by_id = torch.argsort(split.ids)
        positions = by_id[torch.searchsorted(split.ids[by_id], sequence)]
        # Comparable across methods: the first epoch's order, and its crops listed by sample.
        first = slice(0, min(self.images, count))
        crops = draws[0][first][torch.argsort(sequence[first])]
        self.hashes = {"order": _hash(sequence[first]), "crops": _hash(crops)}

        self._labelled_host = labelled[positions]
        self._labelled = self._labelled_host.to(device)
        self._ids = sequence.to(device)
        self._draws = [d.to(device) for d in draws]
        self._encoder = protocol.encoder
        self._padded = config.shrinks or split.extents is not None
        taught = [name for name in tasks if with_teacher and name in split.teacher]
        self._taught = taught if with_teacher else None
        self._maps = tasks | {TEACHER + name: tasks[name] for name in taught}
        self.samples = Samples(split, tasks, positions, self.batch_size, device, taught)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        at = torch.full((1,), step, device=self._ids.device)
        return self.batch_at(at, self.samples(step), self.labelled_host(step))

    def labelled_host(self, step: int) -> Tensor:
        """Return (B, T) bool on the host: the visible labels of a step's batch."""
        return self._labelled_host[step * self.batch_size : (step + 1) * self.batch_size]

    def batch_at(self, at: Tensor, samples: Gathered | None, host: Tensor) -> Batch:
        """Return the batch of the step that `at` (1,) counts, whose number the host need not know.

        samples: what `self.samples` gives for it, or None where they lie on the device; host: what takes the
        place of its `labelled_host`.
        """
        rows = at * self.batch_size + torch.arange(self.batch_size, device=at.device)
        labelled = self._labelled.index_select(0, rows)
        images, targets, extents = samples or self.samples.at(at)
        targets = dict(targets)
        for t, (name, task) in enumerate(self.tasks.items()):
            targets[name] = targets[name].masked_fill(~labelled[:, t].view(-1, 1, 1, 1), task.ignore)
        draws = [d.index_select(0, rows) for d in self._draws]
        first, *more = augment.apply(
            images, targets, self._maps, draws, *self.normalisation, extents, self._padded
        )
        seen = Batch(
            images=laid_out(first[0], self._encoder),
            targets=self._own(first[1]),
            labelled=labelled,
            labelled_host=host,
            index=self._ids.index_select(0, rows),
            views=tuple(
                View(laid_out(view[0], self._encoder), self._own(view[1]), *view[2:]) for view in more
            ),
        )
        if self._taught is None:
            return seen
        return TaughtBatch(**vars(seen), teacher={name: first[1][TEACHER + name] for name in self._taught})

    def _own(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: maps[name] for name in self.tasks}


def _passes(ids: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `count` sample numbers, pass after pass over `ids` in random order, and the pass of each."""
    passes = -(-count // max(1, len(ids)))
    orders = [streams.order(seed, "order", ids, number) for number in range(passes)]
    sequence = torch.cat(orders)[:count] if orders else ids
    return sequence, torch.arange(passes).repeat_interleave(len(ids))[:count]


def total_steps(protocol: Protocol, images: int, usable: int) -> int:
    """Return the steps of a run that may use so many of the train images."""
    epoch_images = images if protocol.budget == "steps" else usable
    return max(1, round(protocol.epochs * epoch_images / protocol.batch)) if usable else 0


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:12]
