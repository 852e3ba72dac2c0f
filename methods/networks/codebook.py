"""Vector quantisation of the shared feature (prototype paper): nearest code, three ways to train codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mode = Literal["lookup", "vqvae", "ema"]
COMMITMENT = 0.25  # beta of VQ-VAE (van den Oord et al., 2017)
DECAY = 0.99  # of the moving averages of "ema"
DEAD = 0.01  # a code is dead when its moving count is below this share of the mean count
DISTANCES = 2**24  # distances held at a time, 64 MiB in float32


def nearest(features: Tensor, codes: Tensor) -> Tensor:
    """Find the code (K, c) nearest to each feature (N, c); (N,).

    In float32 or better: reduced precision picks another code at several per cent of the positions, so
    autocast and TF32 are off in here.
    """
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False), _full_precision():
        dtype = torch.promote_types(features.dtype, torch.float32)
        features, codes = features.to(dtype), codes.to(dtype)
        # |x|^2 is the same for all codes and does not move the minimum.
        squares = codes.square().sum(1)
        rows = max(1, DISTANCES // len(codes))
        chunks = torch.split(features, rows)
        return torch.cat([torch.addmm(squares, chunk, codes.t(), alpha=-2).argmin(1) for chunk in chunks])


@contextmanager
def _full_precision() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


class Quantised(NamedTuple):
    """Hold f^q (B, c, h, w), each position's code, and the codebook's loss."""

    features: Tensor
    indices: Tensor
    loss: Tensor | None


class Codebook(nn.Module):
    """Replace every position of a feature by the nearest of K codes.

    lookup: codes learn from whatever is computed from them; the feature's gradient takes the identity path of
    f^e + f^q alone (the paper names neither a straight-through estimator nor a commitment term). vqvae:
    straight-through estimator, and a loss of its own that pulls codes to features and features to codes. ema:
    as vqvae, but codes are moving averages of the features they stand for, not parameters; `update` moves
    them and restarts dead ones.
    """

    count: Tensor
    total: Tensor
    step_count: Tensor
    step_total: Tensor
    candidates: Tensor

    def __init__(self, codes: int, width: int, mode: Mode) -> None:
        super().__init__()
        self.mode = mode
        self.codes: Tensor
        if mode == "ema":
            self.register_buffer("codes", torch.empty(codes, width))
            self.register_buffer("count", torch.empty(codes))
            self.register_buffer("total", torch.empty(codes, width))
            # What one step leaves for `update`; shapes do not depend on the batch, and a resumed run does not
            # need them.
            self.register_buffer("step_count", torch.zeros(codes), persistent=False)
            self.register_buffer("step_total", torch.zeros(codes, width), persistent=False)
            self.register_buffer("candidates", torch.zeros(codes, width), persistent=False)
        else:
            self.codes = nn.Parameter(torch.empty(codes, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw codes from N(0, 1), until `place` has seen features."""
        nn.init.normal_(self.codes)
        self._reset_averages()

    @torch.no_grad()
    def place(self, features: Tensor) -> None:
        """Put the codes on features (N, c), plus 1 % noise.

        Drawn with replacement from the global CPU generator. Random codes far from the features stay unused:
        nearly every position would share a handful of them.
        """
        chosen = torch.randint(len(features), (len(self.codes),), device="cpu").to(features.device)
        noise = torch.randn(self.codes.shape, device="cpu").to(features)
        self.codes.copy_(features[chosen] + 0.01 * features.std(0) * noise)
        self._reset_averages()

    def _reset_averages(self) -> None:
        if self.mode == "ema":
            self.count.fill_(1.0)
            self.total.copy_(self.codes)

    def forward(self, features: Tensor) -> Quantised:
        """Quantise f^e (B, c, h, w) to f^q of that shape."""
        b, c, h, w = features.shape
        flat = features.permute(0, 2, 3, 1).reshape(-1, c)
        indices = nearest(flat, self.codes)
        if self.mode == "ema" and self.training:
            self._observe(flat.detach(), indices)
        quantised = F.embedding(indices, self.codes).view(b, h, w, c).permute(0, 3, 1, 2)
        loss = None
        if self.mode != "lookup":
            wide = features.to(quantised.dtype)
            loss = COMMITMENT * (wide - quantised.detach()).square().mean()
            if self.mode == "vqvae":
                loss = loss + (wide.detach() - quantised).square().mean()
            quantised = wide + (quantised - wide).detach()
        return Quantised(quantised, indices.view(b, h, w), loss)

    @torch.no_grad()
    def _observe(self, features: Tensor, indices: Tensor) -> None:
        features = features.to(self.codes.dtype)
        self.step_count.zero_().index_add_(0, indices, torch.ones_like(features[:, 0]))
        self.step_total.zero_().index_add_(0, indices, features)
        spread = torch.arange(len(self.codes), device=features.device) * len(features) // len(self.codes)
        self.candidates.copy_(features[spread])

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages by one step ("ema" only).

        Dead code k restarts at the last batch's feature k N / K. The rule draws nothing, so a resumed run
        restarts the same codes; N is the number of positions in the batch.
        """
        self.count.lerp_(self.step_count, 1 - DECAY)
        self.total.lerp_(self.step_total, 1 - DECAY)
        mean = self.count.mean()
        dead = self.count < DEAD * mean
        self.count.copy_(torch.where(dead, mean, self.count))
        self.total.copy_(torch.where(dead[:, None], mean * self.candidates, self.total))
        self.codes.copy_(self.total / self.count[:, None])
