"""The knowledge-retrieval transformer (prototype paper): tasks ask what the prototypes know."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.resize import resized

DOWN = 4  # attention runs at a quarter of the feature's size, as in DiffusionMTL's denoiser


class Attention(nn.Module):
    """Attend, with queries from x (M, n, e), keys and values from y (M, k, e)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x (M, n, e), y (M, k, e) to (M, n, e)."""
        key, value = self.key_value(y).chunk(2, -1)
        message = F.scaled_dot_product_attention(
            self._split(self.query(x)), self._split(key), self._split(value)
        )
        mixed: Tensor = self.out(message.transpose(1, 2).flatten(2))
        return mixed

    def entropy(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure the weights' mean entropy over the log of the number of keys.

        1 is an average over all keys.
        """
        query, key = self._split(self.query(x)), self._split(self.key_value(y).chunk(2, -1)[0])
        log_weights = (query @ key.mT / math.sqrt(query.shape[-1])).log_softmax(-1)
        return -(log_weights.exp() * log_weights).sum(-1).mean() / math.log(max(2, y.shape[1]))


class Constant(nn.Module):
    """Give a learned vector (e,) in place of the cross-attention's output.

    The control: the same at every token of every task.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set it to 0."""
        nn.init.zeros_(self.value)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Expand it to the shape of x."""
        return self.value.expand_as(x)


class RetrievalBlock(nn.Module):
    """Attend to itself and across, then a GELU network of ratio 4; pre-norm."""

    def __init__(self, width: int, heads: int, constant: bool) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm2 = nn.Identity() if constant else nn.LayerNorm(width)  # a constant has no query
        self.attend = Attention(width, heads)
        self.retrieve = Constant(width) if constant else Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """x (M, n, e), y (M, k, e) to (M, n, e)."""
        z = self.norm1(x)
        x = x + self.attend(z, z)
        x = x + self.retrieve(self.norm2(x), y)
        refined: Tensor = x + self.feed(self.norm3(x))
        return refined


class Retrieval(nn.Module):
    """Compute f^tr = f^t + up(W_out blocks(W_in down(f^t), W_y f^ta)).

    With one set of weights for all tasks. width: e of the tokens. dim: d of the prototypes, or None for the
    control without them.
    """

    def __init__(self, channels: int, dim: int | None, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.embed = None if dim is None else nn.Linear(dim, width, bias=False)
        self.blocks = nn.ModuleList(RetrievalBlock(width, heads, dim is None) for _ in range(blocks))
        self.leave = nn.Linear(width, channels)

    def forward(self, features: Tensor, weights: Tensor | None, slots: Tensor | None) -> Tensor:
        """Refine task features (M, C, h, w), tasks folded into M.

        The keys are f^ta = weights @ slots, with weights (M, keys, T) and the prototypes (T, d), embedded
        before they are mixed: the embedding is linear, so nothing of d channels a position is ever built.
        """
        height, width = features.shape[-2:]
        small = F.avg_pool2d(features, DOWN, ceil_mode=True)
        x = self.enter(small.flatten(2).mT)
        y = None if weights is None or self.embed is None else weights @ self.embed(slots)
        for block in self.blocks:
            x = block(x, y)
        back = self.leave(x).mT.reshape(small.shape)
        return features + resized(back, (height, width))
