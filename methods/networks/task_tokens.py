"""Task tokens in two levels (HiTTs, ACM MM 2025): global ones gate features, fine-grained ones predict.

As the published code has it, but for what it gets wrong: the global tokens are parameters here and their
scale is C^-1/2, or the gates saturate; a task's token is a sample's own, not the mean over the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.resize import resized

HIDDEN = 128  # units along the axis of fine-grained tokens
DOWN = 2  # token attention runs at half the feature's size


class XavierConv(nn.Conv2d):
    """Convolve, from Xavier's normal distribution and no bias, as the published code starts."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class XavierLinear(nn.Linear):
    """Map linearly, from Xavier's normal distribution and no bias."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)


class TokenTable(nn.Module):
    """Hold one global token a task, (T, C), drawn from N(0, 1 / C)."""

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.empty(tasks, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw them."""
        nn.init.normal_(self.values, std=self.values.shape[1] ** -0.5)


class GlobalTokens(nn.Module):
    """Turn the shared feature into one a task, by gates that tasks mix by their tokens' affinity.

    gate_t = sigmoid(<d(x), g_t>), d one scale and offset a channel; A = softmax(q(g) k(g)' / sqrt C), the
    same in every image; F_t = conv_t(sum_s A_ts gate_s x), g_t <- sum_s A_ts g_s, then a linear map.
    """

    def __init__(self, width: int, tasks: int) -> None:
        super().__init__()
        self.table = TokenTable(tasks, width)
        self.reduce = XavierConv(width, width, 1, groups=width)
        self.query, self.key = XavierLinear(width, width), XavierLinear(width, width)
        self.mix = nn.ModuleList(
            nn.Sequential(XavierConv(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            for _ in range(tasks)
        )
        self.out = nn.ModuleList(XavierLinear(width, width) for _ in range(tasks))

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, C, h, w) to T features (B, C, h, w) and T tokens (C,)."""
        tokens = self.table.values
        gates = torch.einsum("bchw,tc->bthw", self.reduce(x), tokens.to(x)).sigmoid()
        scale = tokens.shape[1] ** -0.5
        affinity = (self.query(tokens) @ self.key(tokens).mT * scale).softmax(-1)
        # sum_s A_ts (gate_s x) = x (sum_s A_ts gate_s): one gate a task instead of T features.
        mixed = torch.einsum("ts,bshw->bthw", affinity.to(gates), gates)
        features = [conv(x * gate[:, None]) for conv, gate in zip(self.mix, mixed.unbind(1), strict=True)]
        moved = affinity @ tokens.to(affinity)
        return features, [out(token) for out, token in zip(self.out, moved.unbind(0), strict=True)]


class TokenHead(nn.Module):
    """Refine a task's feature and token by attention over both, and predict by fine-grained tokens.

    Attention of one head at half the feature's size, over its positions and the token: f' = conv(up(f) + f),
    r the token. E (C, P) = MLP(r + e_p) along P; logits = conv3x3(conv1x1(f') softplus(<d(f'), E_p>)). The
    score sigmoid(<f', r>) says where the feature is the task's.
    """

    def __init__(self, width: int, predicted: int) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            XavierConv(width, width, DOWN, stride=DOWN, groups=width, bias=False) for _ in range(3)
        )
        self.project = nn.ModuleList(XavierLinear(width, width) for _ in range(3))
        self.to_feature, self.to_token = XavierLinear(width, width), XavierLinear(width, width)
        self.feed = nn.Sequential(XavierConv(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.embed = XavierLinear(predicted, width)
        self.along = nn.Sequential(
            XavierLinear(predicted, HIDDEN), nn.LayerNorm(HIDDEN), nn.GELU(),
            XavierLinear(HIDDEN, HIDDEN), nn.LayerNorm(HIDDEN), nn.GELU(), XavierLinear(HIDDEN, predicted),
        )  # fmt: skip
        self.channel = XavierConv(width, width, 1, groups=width)
        self.score, self.refine = (
            XavierConv(width, predicted, 1),
            XavierConv(predicted, predicted, 3, padding=1),
        )

    def forward(self, feature: Tensor, token: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, h, w) and (C,) to logits (B, P, h, w), f' (B, C, h, w) and its score (B, 1, h, w)."""
        feature, token = self.attend(feature, token)
        # e_p is the map of a one-hot vector: a column of the weight, and the bias.
        fine = self.along(token[:, :, None] + self.embed.weight + self.embed.bias[:, None])  # (B, C, P)
        likely = torch.einsum("bchw,bcp->bphw", self.channel(feature), fine.to(feature))
        logits = self.refine(self.score(feature) * F.softplus(likely))
        own = torch.einsum("bchw,bc->bhw", feature, token.to(feature)).sigmoid()[:, None]
        return logits, feature, own

    def attend(self, feature: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Compute f' (B, C, h, w) and the sample's own token r (B, C)."""
        height, width = feature.shape[-2:]
        even = feature
        if height % DOWN or width % DOWN:
            even = F.pad(feature, (0, width % DOWN, 0, height % DOWN), mode="replicate")
        rows = []
        for reduce, project in zip(self.reduce, self.project, strict=True):
            small = reduce(even).flatten(2).mT  # (B, N, C)
            rows.append(project(torch.cat([small, token.to(small).expand(len(small), 1, -1)], 1)))
        mixed = F.scaled_dot_product_attention(*rows)
        shape = (len(feature), -1, even.shape[-2] // DOWN, even.shape[-1] // DOWN)
        moved = self.to_feature(mixed[:, :-1]).mT.reshape(shape)
        large = resized(moved, (even.shape[-2], even.shape[-1]))[..., :height, :width]
        return self.feed(large + feature), self.to_token(mixed[:, -1])
