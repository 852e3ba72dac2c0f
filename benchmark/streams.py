"""Named, counter-based random streams: a number depends on its name and counters alone, not on earlier draws.

One 32-bit integer hash in int64 tensor arithmetic (murmur3's finaliser over the absorbed words), which gives
the same bits on every device. Nothing here has state, so nothing needs saving for a resumed run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def _finalise(h: Any) -> Any:
    h = h ^ (h >> 16)
    h = (h * 0x85EBCA6B) & _MASK
    h = h ^ (h >> 13)
    h = (h * 0xC2B2AE35) & _MASK
    return h ^ (h >> 16)


def name_hash(name: str) -> int:
    """Return the first 32 bits of the SHA-256 of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def bits(seed: int, name: str, *counters: int | Tensor) -> Tensor:
    """Return 32 random bits, as int64 in [0, 2^32), for every element of the broadcast `counters`.

    counters: integers or int64 tensors.
    """
    words: list[int | Tensor] = [seed & _MASK, (seed >> 32) & _MASK, name_hash(name), *counters]
    state: Any = 0  # of the host until a tensor comes in, so that nothing is sent to its device
    for position, word in enumerate(words):
        # 0x9E3779B9 (the golden ratio) times the position keeps (a, b) and (b, a) apart.
        state = _finalise(
            ((state * 5 + 0xE6546B64) ^ _finalise((word + 0x9E3779B9 * (position + 1)) & _MASK)) & _MASK
        )
    return torch.as_tensor(state, dtype=torch.int64)


def uniform(seed: int, name: str, *counters: int | Tensor) -> Tensor:
    """Return uniform numbers in [0, 1), float64, for every element of the broadcast `counters`."""
    return bits(seed, name, *counters).to(torch.float64) / 2.0**32


def order(seed: int, name: str, ids: Tensor, *counters: int) -> Tensor:
    """Return `ids` (N,) int64 in a random order; that of a subset is the restriction of that of the whole."""
    key = (bits(seed, name, *counters, ids, 0) << 31) | (bits(seed, name, *counters, ids, 1) >> 1)
    by_id = torch.argsort(ids)  # ties between equal keys must not depend on the order ids came in
    return ids[by_id][torch.argsort(key[by_id], stable=True)]


def seed_of(seed: int, name: str, *counters: int) -> int:
    """Return a 63-bit seed for a `torch.Generator` or for the global generators."""
    high, low = (int(bits(seed, name, *counters, lane)) for lane in (0, 1))
    return ((high << 32) | low) & 0x7FFFFFFFFFFFFFFF


@contextmanager
def seeded(seed: int, name: str, *counters: int) -> Iterator[None]:
    """Seed torch's global CPU generator for a block and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(seed, name, *counters))
        yield
