"""Maps of unlabelled tasks' predictions and labelled tasks' labels into the spaces of their pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from datasets.tasks import Task
from methods.base import Problem
from methods.multi_task import MultiTask
from methods.networks.mapper import PairMapper, active_pairs, label_input, prediction_input


class PairMapped(MultiTask):
    """Hold what methods share that train a mapper of task pairs beside `multi_task`'s network."""

    own_kinds = False
    mapper: PairMapper
    film_lr_scale: float

    def param_groups(self) -> list[dict[str, Any]]:
        """Set the mapper's FiLM apart, with its own learning rate."""
        film = self.mapper.film()
        ids = {id(p) for p in film}
        rest = [p for p in self.parameters() if id(p) not in ids]
        return [{"params": rest}, {"params": film, "lr_scale": self.film_lr_scale}]

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return None if len(tasks) > 1 else "it maps pairs of tasks, so it needs at least two"

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        return [self.encoder, self.decoders, self.heads]


def pair_maps(
    mapper: PairMapper,
    problem: Problem,
    predictions: dict[str, Tensor],
    targets: dict[str, Tensor],
    labelled: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Map the prediction of s and the label of t for each sample's pairs (s, t).

    stride: every so many pixels are read. Returns maps (2 B S, c, h, w), those of predictions first, and of
    `active_pairs` the pairs (B, S) and which of them are taken (B, S).

    T B maps, one of each sample and task, go through what does not depend on the pair, then 2 B S through the
    trunk, S = `most_pairs`: what the fullest samples need, 2 for T = 3, which one-label and random-label
    samples have. Under complete labels every task is a source and a target: 2 T B maps, and all 6 pairs.
    """
    tasks, s = problem.tasks, stride
    targets = {name: targets[name][..., ::s, ::s] for name in tasks}
    valid = [task.valid(targets[name]).flatten(1).any(1) for name, task in tasks.items()]
    place, taken = active_pairs(mapper.pairs, labelled, labelled & torch.stack(valid, 1), problem.complete)
    predicted = {
        name: prediction_input(task, predictions[name][..., ::s, ::s]) for name, task in tasks.items()
    }
    known = {name: label_input(task, targets[name], predicted[name].dtype) for name, task in tasks.items()}
    rows = (
        len(labelled) * mapper.pairs[place]
        + torch.arange(len(labelled), device=labelled.device)[:, None, None]
    )
    if problem.complete:
        entered = torch.cat([mapper.enter(predicted), mapper.enter(known)])
        rows = rows + len(tasks) * len(labelled) * torch.arange(2, device=rows.device)
    # A task is a source without a label and a target with one: a sample needs one map of each.
    else:
        there = dict(zip(tasks, labelled.T[..., None, None, None], strict=True))
        entered = mapper.enter(
            {name: torch.where(there[name], known[name], predicted[name]) for name in tasks}
        )
    maps: Tensor = mapper(entered, rows.permute(2, 0, 1).flatten(), place.flatten().repeat(2))
    return maps, place, taken
