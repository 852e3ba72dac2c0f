"""Diagnostics of this folder's blocks: affinity, attention and codebook on a fixed batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from methods.base import Diagnostic
from methods.networks.codebook import Codebook, Quantised
from methods.networks.retrieval import Attention, RetrievalBlock


def scalars(values: dict[str, Tensor]) -> dict[str, Diagnostic]:
    """Turn {name: scalar} into diagnostics."""
    return {name: Diagnostic("scalar", np.asarray(float(value.detach()))) for name, value in values.items()}


def affinity(log_affinity: Tensor | None, tasks: tuple[str, ...]) -> dict[str, Diagnostic]:
    """Measure mean affinity (target tasks by slots) and its spatial spread.

    log_affinity: log A (B, T, T, N).
    """
    if log_affinity is None:
        return {}
    values = log_affinity.detach().exp()
    matrix = values.mean((0, 3)).double().cpu().numpy()
    spread = values.std(3, correction=0).mean()
    return {
        "affinity": Diagnostic("matrix", matrix, (tasks, tasks), ("target task", "prototype")),
        **scalars({"affinity spatial sd": spread}),
    }


def codes(codebook: Codebook | None, quantised: Quantised | None, shared: Tensor) -> dict[str, Diagnostic]:
    """Measure the share of codes in use, perplexity, and |f^q| / |f^e|.

    shared: f^i = f^e + f^q (B, C, h, w).
    """
    if codebook is None or quantised is None:
        return {}
    share = (
        torch.bincount(quantised.indices.flatten(), minlength=len(codebook.codes)).double()
        / quantised.indices.numel()
    )
    ratio = quantised.features.norm(dim=1) / (shared - quantised.features).norm(dim=1).clamp_min(1e-12)
    used, perplexity = (share > 0).double().mean(), torch.special.entr(share).sum().exp()
    return scalars(
        {"codes used": used, "code perplexity": perplexity, "quantised to encoded norm": ratio.mean()}
    )


@contextmanager
def cross_attention(retrieval: nn.Module | None) -> Iterator[dict[str, Diagnostic]]:
    """Collect each block's cross-attention entropy while a retrieval runs."""
    found: dict[str, Diagnostic] = {}

    def observe(module: nn.Module, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
        if isinstance(module, Attention):
            found.update(
                scalars({f"cross-attention entropy, block {len(found) + 1}": module.entropy(*inputs)})
            )

    blocks = [] if retrieval is None else [m for m in retrieval.modules() if isinstance(m, RetrievalBlock)]
    handles = [block.retrieve.register_forward_hook(observe) for block in blocks]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
