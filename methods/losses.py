"""The supervised losses and their one reduction, which belong to the protocol and not to a method."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.kinds import OwnKind
from datasets.tasks import IGNORE, Task

EDGE_POSITIVE_WEIGHT = 0.95  # of boundary pixels in the binary cross-entropy (ATRC, DiffusionMTL)


def per_sample_loss(task: Task, prediction: Tensor, target: Tensor) -> Tensor:
    """Compute each sample's supervised loss, over its labelled pixels; (B,).

    Exactly 0, with zero gradient, where there is none. prediction: (B, C, H, W); target: (B, C', H, W) as
    `datasets.tasks` describes it. Cross-entropy for class maps, binary cross-entropy for edge (positives
    weighted 0.95) and saliency (classes balanced within the sample), L1 in metres for depth, L1 summed over
    the components of unit vectors for normals (as in DiffusionMTL, CVPR 2024, and the prototype model, AAAI
    2026), `loss` of a kind of one's own.
    """
    prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    valid = task.valid(target)
    pixels = valid.flatten(1).sum(1).clamp_min(1)
    if task.kind == "classes":
        error = F.cross_entropy(prediction, target[:, 0], ignore_index=IGNORE, reduction="none")[:, None]
    elif task.kind in ("edge", "saliency"):
        positive = (target == 1).to(prediction.dtype)
        weight = valid * binary_weight(task, positive, valid)
        error = weight * F.binary_cross_entropy_with_logits(prediction, positive, reduction="none")
    elif task.kind == "depth":
        error = (prediction - torch.where(valid, target, 0)).abs() * valid
    elif isinstance(own := task.maps, OwnKind):
        return own.loss(prediction, torch.where(valid, target, 0), valid)
    else:
        # Not F.normalize: its norm over a strided dimension takes ten times as long on a CPU.
        unit = prediction * prediction.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
        error = (unit - torch.where(valid, target, 0)).abs().sum(1, keepdim=True) * valid
    return error.flatten(1).sum(1) / pixels


def binary_weight(task: Task, positive: Tensor, valid: Tensor) -> Tensor:
    """Weigh the pixels of a binary task: fixed for edge, by the sample's class frequency for saliency."""
    if task.kind == "edge":
        share = torch.full_like(positive, EDGE_POSITIVE_WEIGHT)
    else:
        negatives = ((1 - positive) * valid).flatten(1).sum(1)
        share = (negatives / valid.flatten(1).sum(1).clamp_min(1)).view(-1, 1, 1, 1)
    return torch.where(positive == 1, share, 1 - share)


def sample_weights(labelled: Tensor, shares: Tensor | None) -> Tensor:
    """Weigh each sample's loss of each task before the mean; (B, T).

    labelled: (B, T) bool. T / |T_b| where sample b carries |T_b| labels, 0 where it carries none
    (DiffusionMTL's loss scale); with `shares` (T,), the share p_t of images labelled for each task, 1 / p_t
    instead.
    """
    mask = labelled.to(torch.get_default_dtype())
    if shares is not None:
        return mask / shares.to(mask)
    return mask * labelled.shape[1] / mask.sum(1, keepdim=True).clamp_min(1)
