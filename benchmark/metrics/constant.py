"""The constant predictor: the best answer that ignores the image, and so the floor below every board.

It sees exactly the labels that a run may see, and the same meters judge it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.tasks import Task

CHUNK = 64  # images widened at a time: splits may be larger than memory in the dtypes that metrics take
POSITIVE = 10.0  # a logit above every threshold that metrics cut at


def constant_predictions(
    tasks: dict[str, Task], targets: dict[str, Tensor], labelled: Tensor
) -> dict[str, Tensor]:
    """Return {task: (C,)}, the raw prediction of one pixel, from the visible training labels alone.

    targets: {task: (N, C', H, W)} of a training split, in its compact dtypes. labelled: (N, T) bool, tasks in
    the order of `tasks`. By kind: the most frequent class (greatest mIoU of a constant), the median depth
    (least absErr), the mean of the unit normals, and for binary tasks always positive, which has recall 1
    (always negative has F = 0); the mean for a kind of one's own. Zeros for a task without one visible
    labelled pixel.
    """
    return {name: _best(task, targets[name], labelled[:, t]) for t, (name, task) in enumerate(tasks.items())}


def _best(task: Task, target: Tensor, labelled: Tensor) -> Tensor:
    if task.kind in ("saliency", "edge"):
        return torch.tensor([POSITIVE])
    found = []
    for images in labelled.nonzero()[:, 0].to(target.device).split(CHUNK):
        wide = task.maps.widen(target[images])
        pixels = wide.movedim(1, -1)[task.valid(wide)[:, 0]]
        if task.kind == "classes":
            found.append(torch.bincount(pixels[:, 0], minlength=task.channels))
        elif task.kind == "depth":
            found.append(pixels[:, 0])
        elif task.kind == "normals":
            found.append(pixels.sum(0, dtype=torch.float64))
        else:  # the sum of each channel, and the number of pixels
            found.append(F.pad(pixels.double(), (0, 1), value=1.0).sum(0))
    values = torch.cat(found)
    if not values.any():
        return torch.zeros(task.channels)
    if task.kind == "classes":
        return F.one_hot(values.view(-1, task.channels).sum(0).argmax(), task.channels).float()
    if task.kind == "depth":
        return values.median().view(1)
    if task.kind == "normals":
        return F.normalize(values.view(-1, 3).sum(0), dim=0).float()
    total = values.view(-1, task.channels + 1).sum(0)
    return (total[:-1] / total[-1]).float()
