"""The maps of all tasks as one stack of channels, and how well it is rebuilt (JTR, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.tasks import Task
from methods.networks.mapper import label_input, prediction_input


class DepthScale(nn.Module):
    """Scale depth to (0, 1): Phi((d - mean) / std), the normal's function."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def measure(self, values: Tensor) -> None:
        """Take mean and standard deviation from labelled depths (N,).

        Fewer than two tell nothing and change nothing.
        """
        if len(values) > 1:
            self.mean.copy_(values.mean())
            self.std.copy_(values.std().clamp_min(1e-3 * values.abs().max()))

    def forward(self, depth: Tensor) -> Tensor:
        """Scale depths of any shape."""
        return torch.special.ndtr((depth - self.mean) / self.std)


class Stacks(NamedTuple):
    """Hold Y, with labels where there are any, and Y^ of predictions alone.

    Both (B, C, h, w), and where they count (B, 1, h, w) bool. Channels are those of the tasks, in order:
    classes, binary maps and scaled depth in [0, 1], normals as (n + 1) / 2. Where they do not count, they are
    what a map of zeros becomes: 0, Phi(-mean / std) of depth, 1/2 of normals.
    """

    known: Tensor
    predicted: Tensor
    mask: Tensor


class Joint(nn.Module):
    """Build stacks and judge rebuilt ones; the scales of depth are its state."""

    def __init__(self, tasks: dict[str, Task], depth_mean: float, depth_std: float) -> None:
        super().__init__()
        self.tasks = tasks
        depths = [name for name, task in tasks.items() if task.kind == "depth"]
        self.scales = nn.ModuleDict({name: DepthScale(depth_mean, depth_std) for name in depths})
        self.channels = [task.channels for task in tasks.values()]

    def measure(self, targets: Iterable[dict[str, Tensor]]) -> None:
        """Set the scales from labels, {task: (B, C', H, W)} each."""
        found: dict[str, list[Tensor]] = {name: [] for name in self.scales}
        for maps in targets:
            for name, values in found.items():
                values.append(maps[name][self.tasks[name].valid(maps[name])])
        for name, scale in self.scales.items():
            if found[name] and isinstance(scale, DepthScale):
                scale.measure(torch.cat(found[name]))

    def stack(
        self, predictions: dict[str, Tensor], targets: dict[str, Tensor], labelled: Tensor, soft: bool
    ) -> Stacks:
        """Stack {task: (B, C, h, w)} and {task: (B, C', h, w)}.

        A prediction that has a label is a constant. Pixels count where every label of the sample is known.
        Classes of both stacks are one and the same hard Gumbel sample; soft: those of Y^ are probabilities
        instead.
        """
        has_label = {name: labelled[:, t].view(-1, 1, 1, 1) for t, name in enumerate(self.tasks)}
        valid = [task.valid(targets[name]) | ~has_label[name] for name, task in self.tasks.items()]
        mask = torch.stack(valid).all(0)
        known, predicted = [], []
        for name, task in self.tasks.items():
            drawn, chances = self._of_prediction(name, task, predictions[name])
            label = self._of_label(name, task, targets[name], drawn.dtype)
            shown = chances if soft else drawn
            blank = self._blank(name, task, drawn)
            known.append(torch.where(mask, torch.where(has_label[name], label, drawn), blank))
            predicted.append(torch.where(mask, torch.where(has_label[name], shown.detach(), shown), blank))
        return Stacks(torch.cat(known, 1), torch.cat(predicted, 1), mask)

    def _blank(self, name: str, task: Task, like: Tensor) -> Tensor | float:
        if task.kind == "depth":
            scaled: Tensor = self.scales[name](like.new_zeros(()))
            return scaled
        return 0.5 if task.kind == "normals" else 0.0

    def _of_prediction(self, name: str, task: Task, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """(hard sample, probabilities) of classes and binary maps; twice the same of the others."""
        if task.kind == "depth":
            scaled = self.scales[name](prediction.to(torch.promote_types(prediction.dtype, torch.float32)))
            return scaled, scaled
        drawn = prediction_input(task, prediction)
        if task.kind == "normals":
            return drawn, drawn
        return drawn, prediction.to(drawn.dtype).softmax(1) if task.kind == "classes" else prediction.to(
            drawn.dtype
        ).sigmoid()

    def _of_label(self, name: str, task: Task, target: Tensor, dtype: torch.dtype) -> Tensor:
        if task.kind != "depth":
            return label_input(task, target, dtype)
        scaled: Tensor = self.scales[name](target.to(dtype))  # of a pixel without depth, blanked by the mask
        return scaled

    def rebuilding(self, rebuilt: Tensor, stack: Tensor, mask: Tensor) -> Tensor:
        """Measure how far a rebuilt stack (B, C, h, w) is from the stack; (B,).

        The sum over tasks of means over the pixels that count: binary cross-entropy with logits, summed over
        channels, for classes and binary maps; L1 of sigmoid and scaled depth; 1 - cosine of normals.
        """
        rebuilt = rebuilt.to(stack.dtype)
        parts = zip(
            self.tasks.values(), rebuilt.split(self.channels, 1), stack.split(self.channels, 1), strict=True
        )
        errors = []
        for task, x, wanted in parts:
            if task.kind == "depth":
                errors.append((x.sigmoid() - wanted).abs())
            elif task.kind == "normals":
                unit = x * x.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
                errors.append(1 - (unit * (2 * wanted - 1)).sum(1, keepdim=True))
            else:
                errors.append(
                    F.binary_cross_entropy_with_logits(x, wanted, reduction="none").sum(1, keepdim=True)
                )
        total = torch.cat(errors, 1).sum(1, keepdim=True) * mask
        return total.flatten(1).sum(1) / mask.flatten(1).sum(1).clamp_min(1)
