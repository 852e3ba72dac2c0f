"""The noise schedule and the denoiser of DiffusionMTL (Ye and Xu, CVPR 2024)."""

from __future__ import annotations

import itertools
import math
import operator

import torch
from torch import Tensor, nn

from methods.networks.resize import resized
from methods.networks.retrieval import DOWN, Attention

FREQUENCIES = 128  # of the embedding of t, a sine and a cosine each, down to 1 / 10000
RATIO = 4  # hidden width of the blocks' networks over their width


class Schedule:
    """Hold noise levels beta_0 ... beta_(T-1), whose roots are evenly spaced.

    x_t = sqrt(kept_t) x_0 + sqrt(1 - kept_t) noise, with kept_t the product of 1 - beta_0 ... 1 - beta_t (Ho,
    Jain and Abbeel, NeurIPS 2020).
    """

    def __init__(self, steps: int, beta_start: float, beta_end: float) -> None:
        first, last = math.sqrt(beta_start), math.sqrt(beta_end)
        self.betas = [(first + (last - first) * t / max(1, steps - 1)) ** 2 for t in range(steps)]
        self.kept = list(itertools.accumulate((1 - beta for beta in self.betas), operator.mul))

    def diffuse(self, clean: Tensor, t: int, noise: Tensor) -> Tensor:
        """Compute x_t of a clean state x_0."""
        return math.sqrt(self.kept[t]) * clean + math.sqrt(1 - self.kept[t]) * noise

    def reverse(self, clean: Tensor, state: Tensor, t: int, noise: Tensor) -> Tensor:
        """Draw x_(t-1) from the posterior given x_t and the estimate of x_0.

        `state` is x_t, `clean` the estimate; t >= 1.
        """
        beta, kept, before = self.betas[t], self.kept[t], self.kept[t - 1]
        of_clean = beta * math.sqrt(before) / (1 - kept)
        of_state = (1 - before) * math.sqrt(1 - beta) / (1 - kept)
        deviation = math.sqrt(beta * (1 - before) / (1 - kept))
        return of_clean * clean + of_state * state + deviation * noise


class XavierLinear(nn.Linear):
    """Map linearly, starting from Xavier's uniform weights and biases of 0."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class TimeLinear(nn.Linear):
    """Map linearly, starting from normal weights of deviation 0.02."""

    def reset_parameters(self) -> None:
        """Draw the weights; biases as torch does."""
        super().reset_parameters()
        nn.init.normal_(self.weight, std=0.02)


class ConditionConv(nn.Conv2d):
    """Convolve, starting from Kaiming's normal weights by fan-out and biases of 0."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class BareAttention(Attention):
    """Attend with queries, keys and values that have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.query = XavierLinear(width, width, bias=False)
        self.key_value = XavierLinear(width, 2 * width, bias=False)
        self.out = XavierLinear(width, width)


class CrossBlock(nn.Module):
    """Let the conditioning tokens attend to the noisy ones; pre-norm.

    The noisy tokens pass a GELU network first, the conditioning tokens one of their own last. Linear layers
    start from Xavier's uniform weights and biases of 0.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_noisy, self.feed_noisy = nn.LayerNorm(width), _network(width)
        self.norm_query, self.norm_key, self.attend = (
            nn.LayerNorm(width),
            nn.LayerNorm(width),
            BareAttention(width, heads),
        )
        self.norm_known, self.feed_known = nn.LayerNorm(width), _network(width)

    def forward(self, known: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Both (M, n, e)."""
        noisy = noisy + self.feed_noisy(self.norm_noisy(noisy))
        known = known + self.attend(self.norm_query(known), self.norm_key(noisy))
        return known + self.feed_known(self.norm_known(known)), noisy


class Denoiser(nn.Module):
    """Estimate every task's clean state from its noisy one.

    And from what the preliminary predictions of all tasks say. For each task: a 3x3 convolution of its own to
    `width`, plus an embedding of t; at a quarter of the size, `blocks` blocks shared by the tasks, whose
    conditioning tokens take up the noisy ones; back to full size, plus the first convolution's output; a
    task's own 1x1 and three 3x3 convolutions, a ReLU behind each 3x3. Samples and tasks go through the shared
    part as one batch: nothing is normalised over the batch, so each gets what it would get alone. channels:
    of each task's state. predicted: channels of all tasks' predictions together. signed: without the last
    ReLU, for states that may be negative.
    """

    def __init__(
        self, channels: list[int], predicted: int, width: int, blocks: int, heads: int, signed: bool
    ) -> None:
        super().__init__()
        self.channels = channels
        self.condition = ConditionConv(predicted, width, 3, padding=1)
        self.time = nn.Sequential(TimeLinear(2 * FREQUENCIES, width), nn.SiLU(), TimeLinear(width, width))
        self.enter = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1) for c in channels)
        self.blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(blocks))
        self.leave = nn.ModuleList(_leave(width, c, signed) for c in channels)

    def known(self, predictions: Tensor) -> Tensor:
        """Make conditioning tokens (B, n, e) of predictions (B, C, h, w).

        They are the same at every step.
        """
        return _tokens(self.condition(predictions))

    def forward(self, state: Tensor, known: Tensor, t: int) -> list[Tensor]:
        """Estimate (B, channels, h, w) for each task from states (B, S, h, w).

        The states' channels are the tasks', one after another.
        """
        tasks = len(self.channels)
        parts = zip(self.enter, state.split(self.channels, 1), strict=True)
        entered = (
            torch.stack([enter(part) for enter, part in parts], 1)
            + self.time(_embedding(t, state))[:, None, None]
        )
        flat = entered.flatten(0, 1)
        noisy = _tokens(flat)
        known = known[:, None].expand(-1, tasks, -1, -1).flatten(0, 1)
        for block in self.blocks:
            known, noisy = block(known, noisy)
        small = known.mT.unflatten(2, (-1, _quarter(state.shape[-1])))
        refined = (
            (flat + resized(small, (state.shape[-2], state.shape[-1]))).unflatten(0, (-1, tasks)).unbind(1)
        )
        return [leave(x) for leave, x in zip(self.leave, refined, strict=True)]


def _network(width: int) -> nn.Sequential:
    return nn.Sequential(XavierLinear(width, RATIO * width), nn.GELU(), XavierLinear(RATIO * width, width))


def _leave(width: int, channels: int, signed: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(width, width, 1)]
    for outputs in (width, width, channels):
        layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1] if signed else layers)


def _quarter(size: int) -> int:
    return -(-size // DOWN)


def _tokens(x: Tensor) -> Tensor:
    """(M, e, h, w) to (M, n, e) at a quarter of the size, rounded up, bilinear.

    Contiguous: else every linear layer behind would copy what it reads.
    """
    return resized(x, (_quarter(x.shape[-2]), _quarter(x.shape[-1]))).flatten(2).mT.contiguous()


def _embedding(t: int, like: Tensor) -> Tensor:
    """Cosines and sines (256,) of t at frequencies 1 to 1 / 10000 (Vaswani et al., NeurIPS 2017)."""
    falling = torch.arange(FREQUENCIES, device=like.device, dtype=like.dtype) / FREQUENCIES
    angles = t * torch.exp(-math.log(10000) * falling)
    return torch.cat([angles.cos(), angles.sin()])
