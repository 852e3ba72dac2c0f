"""Task prototypes: one learned vector a task, and the affinity of task features to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.retrieval import DOWN

Level = Literal["pixel", "pooled", "slots"]
EPS = 1e-6  # below this norm a feature has no direction: its cosines are 0


class Slots(nn.Module):
    """Hold the prototypes V (T, d), drawn from N(0, 1)."""

    def __init__(self, tasks: int, dim: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.empty(tasks, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw them."""
        nn.init.normal_(self.values)


class Prototypes(nn.Module):
    """Hold V and the projection f^t -> f_hat^t (C to d) into its space.

    One map for all tasks or one a task, without bias: a per-task bias alone could point at the task's own
    prototype and leave the decoder unshaped. The maps f_hat^t (d, N) themselves are never built; what is
    needed of them follows from the C-dimensional features, which matters because d is the larger (1024
    against 32 to 256 in cheap runs).

    level: "pixel" has one affinity a position, for "slots" too, whose keys alone differ; "pooled" averages
    features over the image first. with_slots = False keeps the projection alone, for TC without the rest.
    """

    def __init__(
        self,
        channels: int,
        tasks: int,
        dim: int,
        maps: int,
        kappa: float,
        level: Level,
        with_slots: bool = True,
    ) -> None:
        super().__init__()
        self.kappa, self.level = kappa, level
        self.projections = nn.ModuleList(nn.Linear(channels, dim, bias=False) for _ in range(maps))
        self.slots = Slots(tasks, dim) if with_slots else None

    @property
    def values(self) -> Tensor:
        """Return V (T, d)."""
        assert self.slots is not None
        return self.slots.values

    def _weight(self) -> Tensor:
        return torch.stack(list(self.projections.parameters()))  # (1 or T, d, C)

    def vectors(self, features: Tensor) -> Tensor:
        """Project task features (B, T, C, h, w), averaged; x (B, T, d)."""
        with torch.autocast(features.device.type, enabled=False):
            return (self._weight() @ wide(features).mean((3, 4))[..., None]).squeeze(-1)

    def log_affinity(self, features: Tensor, detach: bool = False) -> Tensor:
        """Compute log A (B, T, slots, N), in float32 or better.

        log softmax over slots of cos(f_hat^t, v) / kappa. features: (B, T, C, h, w); N is h w, or 1 for
        "pooled". The cosine takes <P f, v> = f . P'v and |P f|^2 = f . P'P f. detach: f_hat is a constant for
        the gradient, the prototypes are not.
        """
        with torch.autocast(features.device.type, enabled=False):
            flat, weight = wide(features).flatten(3), self._weight()
            if self.level == "pooled":
                flat = flat.mean(3, keepdim=True)
            if detach:
                flat, weight = flat.detach(), weight.detach()
            dots = (F.normalize(self.values, dim=1, eps=EPS) @ weight) @ flat
            squares = (flat * ((weight.mT @ weight) @ flat)).sum(2, keepdim=True)
            return (dots * squares.clamp_min(EPS**2).rsqrt() / self.kappa).log_softmax(2)

    def key_weights(self, log_affinity: Tensor, size: Sequence[int]) -> Tensor:
        """Compute what the retrieval's keys are made of; (B T, keys, slots).

        f^ta = weights @ V; features are of size (h, w). "pixel": a key for each token of the retrieval;
        "pooled": one key; "slots": T keys, each a prototype times its mean affinity in the image.
        """
        affinity = log_affinity.exp().flatten(0, 1)
        if self.level == "pixel":
            return F.avg_pool2d(affinity.view(*affinity.shape[:2], *size), DOWN, ceil_mode=True).flatten(2).mT
        return affinity.mT if self.level == "pooled" else torch.diag_embed(affinity.mean(2))


def wide(x: Tensor) -> Tensor:
    """Widen to float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def task_embedding(log_affinity: Tensor) -> Tensor:
    """Compute TKE: the affinity's cross-entropy with the task; (B, T).

    Mean over positions. log_affinity: (B, T, T, N), log-softmax over the slots (third axis).
    """
    return -log_affinity.diagonal(dim1=1, dim2=2).mean(1)


def task_consistency(vectors: Tensor, mask: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Compute TC: mean triplet loss and the share of active triplets.

    Both 0 when there is no triplet. max(0, D(a, p) - D(a, n) + margin) with D = 1 - cosine, mean over the
    triplets of an anchor (b, t), its positive (the mean of task t over the other samples) and a negative
    (b'', t'' != t), any sample's. vectors: (B, T, d), one a sample and task; mask (B, T) in {0, 1}: which of
    them take part. An anchor whose task no other sample has makes no triplet.
    """
    b, t, _ = vectors.shape
    weighted = vectors * mask[..., None]
    others = mask.sum(0) - mask
    positive = F.normalize(weighted.sum(0) - weighted, dim=-1, eps=EPS)
    unit = F.normalize(vectors, dim=-1, eps=EPS)
    to_positive = 1 - (unit * positive).sum(-1)
    flat = unit.flatten(0, 1)
    to_negative = 1 - flat @ flat.t()
    task = torch.arange(t, device=vectors.device).repeat(b)
    anchor = (mask * (others > 0)).flatten()
    triplets = anchor[:, None] * mask.flatten() * (task[:, None] != task)
    hinge = F.relu(to_positive.flatten()[:, None] - to_negative + margin)
    number = triplets.sum().clamp_min(1)
    return (hinge * triplets).sum() / number, ((hinge > 0) * triplets).sum() / number
