"""From a split and a label mask to the batches of a run: which samples, in which order, how augmented."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark import streams
from benchmark.spec.protocol import Protocol
from benchmark.training.device import laid_out
from benchmark.training.residence import Gathered, Samples
from datasets import augment, labels
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Batch, View, ViewKind, view_kinds


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
    ) -> None:
        """mask: (N, T) bool over the protocol's whole task set; `tasks` may be a part of it. labelled_only:
        leave out the images without a visible label of `tasks`, which teach a network of one task nothing."""
        columns = [protocol.tasks.index(name) for name in tasks]
        labelled = labels.restrict(mask, columns)
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
        self.samples = Samples(split, tasks, positions, self.batch_size, device)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        at = torch.full((1,), step, device=self._ids.device)
        return self._batch(at, self.samples(step), self.labelled_host(step))

    def labelled_host(self, step: int) -> Tensor:
        """Return (B, T) bool on the host: the visible labels of a step's batch."""
        return self._labelled_host[step * self.batch_size : (step + 1) * self.batch_size]

    def batch_at(self, at: Tensor, samples: Gathered | None, host: Tensor) -> Batch:
        """Return the batch of the step that `at` (1,) counts, whose number the host need not know.

        samples: what `self.samples` gives for it, or None where they lie on the device; host: what takes the
        place of its `labelled_host`.
        """
        return self._batch(at, samples or self.samples.at(at), host)

    def _batch(self, at: Tensor, samples: Gathered, host: Tensor) -> Batch:
        rows = at * self.batch_size + torch.arange(self.batch_size, device=at.device)
        labelled = self._labelled.index_select(0, rows)
        images, targets, extents = samples
        targets = dict(targets)
        for t, (name, task) in enumerate(self.tasks.items()):
            targets[name] = targets[name].masked_fill(~labelled[:, t].view(-1, 1, 1, 1), task.ignore)
        draws = [d.index_select(0, rows) for d in self._draws]
        first, *more = augment.apply(
            images, targets, self.tasks, draws, *self.normalisation, extents, self._padded
        )
        return Batch(
            images=laid_out(first[0], self._encoder),
            targets=first[1],
            labelled=labelled,
            labelled_host=host,
            index=self._ids.index_select(0, rows),
            views=tuple(View(laid_out(view[0], self._encoder), *view[1:]) for view in more),
        )


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
