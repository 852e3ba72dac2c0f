"""Times of variants that take turns, so that what else the machine does strikes all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

CUDA_BLOCK = 5  # steps between two looks at the clock, each of which empties the GPU's queue


@dataclass(frozen=True)
class Timing:
    """Milliseconds a call: one number each time that a variant's turn came."""

    ms: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.percentile(self.ms, [25, 75])
        return float(low), float(high)

    def row(self, key: str) -> dict[str, Any]:
        """Median, quartiles and every single value, as `KEY_ms`, `KEY_q1`, `KEY_q3` and `KEY_all`."""
        low, high = self.quartiles
        values: dict[str, Any] = {f"{key}_ms": self.median, f"{key}_q1": low, f"{key}_q3": high}
        return values | {f"{key}_all": list(self.ms)}


def ratio(of: Timing, to: Timing) -> float:
    """How many times as long one variant took as another: the median over the turns that they took one after
    the other.
    """
    return statistics.median(a / b for a, b in zip(of.ms, to.ms, strict=True))


def interleaved(variants: Mapping[str, Callable[[], None]], repeats: int, device: str) -> dict[str, Timing]:
    """Each variant's time over `repeats` calls or, on a GPU, some more. The variants take turns: A B C A B C
    ...

    They are warm already. On a GPU a turn is several calls, and the clock is read when the device has done
    them.
    """
    cuda = device.startswith("cuda")
    calls = CUDA_BLOCK if cuda else 1
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(-(-repeats // calls)):
        for name, call in variants.items():
            if cuda:
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            for _ in range(calls):
                call()
            if cuda:
                torch.cuda.synchronize(device)
            found[name].append((time.perf_counter() - began) / calls * 1e3)
    return {name: Timing(tuple(values)) for name, values in found.items()}


def exponent(x: Sequence[float], y: Sequence[float]) -> float | None:
    """The p of y = c x^p that fits best, by least squares of the logarithms; None for fewer than two
    points.
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(x) > 1 else None
