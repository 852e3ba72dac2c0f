"""Region-aware distribution contrast (RDC: Li et al., ECCV 2024)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import UserError
from methods.base import Batch, Diagnostic, Losses, Problem, View
from methods.networks import inspection, regions
from methods.networks.mapper import PairMapper
from methods.networks.pair_maps import PairMapped, pair_maps
from methods.networks.prototypes import wide
from methods.networks.pseudo_labels import ramp

CONVS = (2, 2, 6)  # of the mapper, at strides 1, 2 and 4: the published four stages without two poolings


class RDC(PairMapped):
    """Contrast regions of unlabelled predictions with those of labels, as Gaussians, by pairs.

    For sample b, task s without label and task t with one, a mapper takes the prediction of s and the label
    of t to features of stride 4 in the space of the pair (s, t). Each region k of the image has a Gaussian in
    either; D = W2^2 is their distance, and the loss is the cross-entropy of -D / kappa,

        mean_k [ D(p_k, q_k) / kappa + log sum_j exp(-D(p_k, q_j) / kappa) ],

    over the label's regions of all samples and pairs in the batch, summed over the pairs of a sample,
    averaged over the batch, times weight ramp(progress). Regions of fewer than 10 cells with a label do not
    count. It is taken on a second view; the supervised loss is on the first; both go through the network as
    one batch. With weight 0 it is `mtpsl` with consistency_weight 0.

    Departures:
        RDC's code: regions from SAM, by grey values that segments may share; here superpixels of the image,
            or a grid as the control.
        RDC's code: computed in numpy, so that nothing learns from it; here differentiable.
        RDC's code: the positive is divided by itself and cancels; here it is in numerator and denominator.
        RDC's code: negatives are the two oldest of a bank of 1000; here all regions of the batch but the same
            one in other pairs, and no bank.
        RDC's code: full covariances; here diagonal ones, or full ones for positives only.
        RDC's code: a mapper that ends at stride 16, resized to stride 2; here it ends at stride 4, two
            poolings fewer.
        RDC's code: a linear ramp over all of training; here exp(-5 (1 - x)^2) over a quarter of it.
        RDC's code: cells without a label take part; here only those that have one, inside the image.
        RDC: its paper's own formula and numbers were not found, so none is compared.
    """

    summary = "multi_task, and a contrast of regions of unlabelled predictions with regions of labels"
    paper = (
        "Li et al.: Region-aware Distribution Contrast: A Novel Approach to Multi-Task Partially Supervised "
        "Learning, ECCV 2024"
    )
    views: ClassVar[int] = 1
    search: ClassVar[dict[str, tuple[Any, ...]]] = {
        "weight": (0.0375, 0.075, 0.15, 0.3, 0.6),
        "kappa": (1.35, 2.7, 5.4, 10.8, 21.6),
        "ramp_up": (0.0, 0.125, 0.25, 0.5, 1.0),
    }

    def __init__(
        self,
        problem: Problem,
        *,
        weight: float = 0.15,
        kappa: float = 5.4,
        ramp_up: float = 0.25,
        regions: Literal["superpixels", "grid"] = "superpixels",
        side: int = 8,
        covariance: Literal["diagonal", "full"] = "diagonal",
        mapper_width: int = 16,
        mapper_stride: Literal[1, 2, 4] = 1,
        film_lr_scale: float = 2.0,
    ) -> None:
        """Raise `UserError` for a value out of range, and for images too small for the mapper.

        Args:
            weight: weight of the contrast beside the supervised losses, at its full height.
            kappa: temperature of the distances.
            ramp_up: share of training over which the weight grows.
            regions: superpixels of the image by colour and place, or rectangles, which know nothing of it.
            side: rows and columns of seeds; fewer on small images, where a region would have below 5 x 5
                cells of 4 x 4 pixels.
            covariance: of the Gaussians; full ones for a region and its partner only, at d times the memory.
            mapper_width: channels of the mapper's first stage; the features have d = twice as many, 32 as
                published.
            mapper_stride: s has the mapper read every s-th pixel, with as much less pooling; 1 as published.
            film_lr_scale: learning rate of the mapper's FiLM over the rest's.
        """
        super().__init__(problem)
        if not 0 <= ramp_up <= 1 or min(weight, film_lr_scale) < 0 or not kappa > 0:
            raise UserError(
                "rdc: kappa must be above 0, ramp_up in [0, 1], and no weight or scale negative; change the "
                "hyper-parameter."
            )
        if min(side, mapper_width) < 1:
            raise UserError("rdc: side and mapper_width must be at least 1; change the hyper-parameter.")
        if min(problem.size) < 32:
            raise UserError(
                f"rdc: images must be at least 32 pixels high and wide, not {problem.size}; raise the size."
            )
        self.weight, self.kappa, self.ramp_up, self.film_lr_scale = weight, kappa, ramp_up, film_lr_scale
        self.regions, self.side, self.full = regions, side, covariance == "full"
        self.stride = mapper_stride
        w = (mapper_width, 3 * mapper_width // 2, 2 * mapper_width)
        trunk = [width for width, convs in zip(w, CONVS, strict=True) for _ in range(convs)]
        self.mapper = PairMapper(problem.tasks, [w[0], *trunk], {1: (2, 4), 2: (4,), 4: ()}[mapper_stride])

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        first, second = self.both(batch)
        supervised = self.problem.task_losses(first, batch, batch.labelled)
        apart, valid, same = self.distances(second, batch.views[0], batch.labelled)
        each = regions.contrast(apart, valid.flatten(), same, self.kappa).view_as(valid)
        contrast = (each.sum(2) / valid.sum(2).clamp_min(1)).sum(1).mean()
        return Losses(supervised, {"contrast": self.weight * ramp(progress, self.ramp_up) * contrast})

    def both(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Predict for both views, as one batch."""
        found = self.predict(torch.cat([batch.images, batch.views[0].images]))
        first, second = ({name: p.chunk(2)[v] for name, p in found.items()} for v in range(2))
        return first, second

    def distances(
        self, predictions: dict[str, Tensor], view: View, labelled: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute distances (M, M) of regions in predictions from regions in labels; M = B S K.

        And which regions count (B, S, K), and which pairs are the same region in two pairs of tasks (M, M).
        """
        problem, targets = self.problem, view.targets
        maps, place, taken = pair_maps(self.mapper, problem, predictions, targets, labelled, self.stride)
        size, (b, s) = (maps.shape[2], maps.shape[3]), place.shape
        with torch.autocast(maps.device.type, enabled=False):
            maps = wide(maps).flatten(2).view(2, b, s, maps.shape[1], -1)
            cut = self.cut(view.images, size).to(maps)
            known = torch.stack([t.valid(targets[n]) for n, t in problem.tasks.items()], 1).squeeze(2)
            seen = (known & (view.images != 0).any(1, keepdim=True)).to(maps)
            cells = (F.adaptive_avg_pool2d(seen, size) > 0.5).to(maps).flatten(2)  # (B, T, N)
            number = torch.arange(b, device=place.device)[:, None]
            cells = cells[number, self.mapper.pairs[place][:, :, 1]]
            count = torch.einsum("bkn,bsn->bsk", cut.expand(b, -1, -1), cells)
            p, q = (regions.gaussians(cut.expand(b, -1, -1), x, cells, self.full) for x in maps.unbind(0))
            apart = regions.distances(p, q)
        k = cut.shape[1]
        which = (number * k)[:, :, None] + torch.arange(k, device=place.device)  # (B, 1, K): a region of b
        which = which.expand(b, s, k).flatten()
        own = torch.eye(len(which), dtype=torch.bool, device=place.device)
        same = (which[:, None] == which) & ~own
        return apart, (count >= regions.LEAST) & taken[:, :, None], same

    def cut(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Cut images (B, 3, H, W) into regions of h x w cells: (B or 1, K, h w) of 0 and 1."""
        count = regions.seeds(size, self.side)
        if self.regions == "grid":
            return regions.grid(size, count, images)
        return regions.superpixels(F.adaptive_avg_pool2d(wide(images), size), count)

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure distances to a region's own partner and to others, and how often it is the nearest."""
        apart, valid, same = self.distances(self.both(batch)[1], batch.views[0], batch.labelled)
        mask = valid.flatten()
        own = torch.eye(len(mask), dtype=torch.bool, device=mask.device)
        others = mask[:, None] & mask & ~same & ~own
        nearest = torch.where(own | others, apart, torch.inf).argmin(1) == torch.arange(
            len(mask), device=mask.device
        )
        found = {
            "regions that count, of all": valid.float().mean(),
            "distance, own partner": (apart.diagonal() * mask).sum() / mask.sum().clamp_min(1),
            "distance, others": (apart * others).sum() / others.sum().clamp_min(1),
            "regions nearest to their partner": (nearest & mask).sum() / mask.sum().clamp_min(1),
        }
        return inspection.scalars(found)
