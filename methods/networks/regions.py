"""Regions of images, Gaussians of features over them, and a contrast of their Wasserstein distances (RDC)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

COMPACTNESS, ROUNDS = 0.5, 5  # of superpixels
LEAST = 10  # cells of a region that counts, as published
SIDE = 5  # cells of a seed's least height and width, so that a region has LEAST of them with some to spare
EPSILON = 1e-6  # of a variance
RIDGE, NEWTON = 1e-3, 15  # of a covariance, whose roots these rounds find to .03 % at 32 channels


def seeds(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Count rows and columns of seeds on h x w cells: `side`, fewer where one would be below 5 cells."""
    return min(side, max(1, size[0] // SIDE)), min(side, max(1, size[1] // SIDE))


def grid(size: tuple[int, int], count: tuple[int, int], like: Tensor) -> Tensor:
    """Cut h x w cells into rows and columns of equal rectangles: (1, K, h w) of 0 and 1."""
    row, column = (torch.arange(n, device=like.device) * k // n for n, k in zip(size, count, strict=True))
    number = (row[:, None] * count[1] + column).flatten()
    return _one_hot(number[None], count[0] * count[1]).to(like)


@torch.no_grad()
def superpixels(images: Tensor, count: tuple[int, int]) -> Tensor:
    """Cluster the cells of images (B, 3, h, w) by colour and place: (B, K, h w) of 0 and 1.

    Of the kind of SLIC (Achanta et al., TPAMI 2012), but with every cell compared with all K means: from the
    means of a grid, 5 rounds of assigning and averaging [colour, (0.5 / S) place], S the seeds' spacing in
    cells; the regions are those of the last. In float64: what decides is which mean is nearer, and autocast
    leaves it alone.
    """
    height, width = images.shape[-2:]
    spacing = (height * width / (count[0] * count[1])) ** 0.5
    y, x = (torch.arange(n, device=images.device, dtype=torch.float64) for n in (height, width))
    place = torch.stack(torch.meshgrid(y, x, indexing="ij")) * (COMPACTNESS / spacing)
    features = torch.cat([images.double(), place.expand(len(images), -1, -1, -1)], 1)
    points, regions = features.flatten(2), grid((height, width), count, features)
    centres = points @ regions.mT / regions.sum(2)
    for _ in range(ROUNDS):
        # |centre|^2 - 2 centre . point: the point's own square is the same for all centres.
        apart = centres.square().sum(1)[:, :, None] - 2 * centres.mT @ points
        regions = _one_hot(apart.argmin(1), centres.shape[2]).double()
        cells = regions.sum(2)[:, None]
        centres = torch.where(cells > 0, points @ regions.mT / cells.clamp_min(1), centres)
    return regions


def _one_hot(number: Tensor, count: int) -> Tensor:
    """(B, N) whole numbers to (B, count, N) bool."""
    return number[:, None] == torch.arange(count, device=number.device)[:, None]


class Gaussians(NamedTuple):
    """Those of M regions: mean, var (M, d), and cov (M, d, d) where it was asked for."""

    mean: Tensor
    var: Tensor
    cov: Tensor | None


def gaussians(regions: Tensor, maps: Tensor, cells: Tensor, full: bool) -> Gaussians:
    """Fit a Gaussian to the features of each region.

    regions: (B, K, N) of 0 and 1; maps: (B, S, d, N); cells: (B, S, N), 0 where a cell does not count. There
    are M = B S K. A region without a cell has mean and variance 0.
    """
    inside = cells[:, :, None]
    count = torch.einsum("bkn,bsn->bsk", regions, cells).clamp_min(1)[..., None]
    mean = torch.einsum("bkn,bsdn->bskd", regions, maps * inside) / count
    centred = (maps - torch.einsum("bkn,bskd->bsdn", regions, mean)) * inside
    var = torch.einsum("bkn,bsdn->bskd", regions, centred.square()) / count
    cov = None
    if full:  # a row at a time: all products at once would hold d times the maps
        rows = [torch.einsum("bkn,bsdn->bskd", regions, centred * x[:, :, None]) for x in centred.unbind(2)]
        cov = (torch.stack(rows, -2) / count[..., None]).flatten(0, 2)
    return Gaussians(mean.flatten(0, 2), var.flatten(0, 2), cov)


def distances(p: Gaussians, q: Gaussians) -> Tensor:
    """Compute W2^2 of Gaussians with diagonal covariances, each with each: (M, M).

    |mu_p - mu_q|^2 + |sigma_p - sigma_q|^2. With full ones, those of p_i with q_i, on the diagonal, are

        |mu_p - mu_q|^2 + tr(S_p + S_q - 2 (S_p^1/2 S_q S_p^1/2)^1/2),

    roots by Newton and Schulz, of covariances to which 1e-3 is added on the diagonal.
    """
    a, b = (torch.cat([g.mean, (g.var + EPSILON).sqrt()], 1) for g in (p, q))
    apart = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    if p.cov is None or q.cov is None:
        return apart
    s, t = (g + RIDGE * torch.eye(g.shape[-1], dtype=g.dtype, device=g.device) for g in (p.cov, q.cov))
    half = root(s)
    traces = [x.diagonal(dim1=-2, dim2=-1).sum(-1) for x in (s, t, root(half @ t @ half))]
    own = (p.mean - q.mean).square().sum(1) + traces[0] + traces[1] - 2 * traces[2]
    same = torch.eye(len(own), dtype=torch.bool, device=own.device)
    return torch.where(same, own, apart)


def root(matrices: Tensor) -> Tensor:
    """Compute square roots of symmetric positive matrices (M, d, d), by 15 rounds of Newton and Schulz."""
    norm = matrices.square().sum((-2, -1), keepdim=True).sqrt()
    one = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    y, z = matrices / norm, one.expand_as(matrices)
    for _ in range(NEWTON):
        step = (3 * one - z @ y) / 2
        y, z = y @ step, step @ z
    return y * norm.sqrt()


def contrast(apart: Tensor, valid: Tensor, same: Tensor, kappa: float) -> Tensor:
    """Compute the cross-entropy of -D / kappa, each region's own partner being the right one; (M,).

    apart: (M, M) distances D of regions in predictions from regions in labels; valid: (M,) bool, regions that
    count, 0 is the loss of others; same: (M, M) bool, pairs of which neither attracts nor repels the other.
    """
    own = torch.eye(len(apart), dtype=torch.bool, device=apart.device)
    logits = torch.where(own | (valid & ~same), -apart / kappa, -torch.inf)
    return torch.where(valid, logits.logsumexp(1) - logits.diagonal(), 0)
