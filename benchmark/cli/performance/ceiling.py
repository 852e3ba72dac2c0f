"""What the device can do at best: the rate of its own matrix product, to hold the rate of a step against."""

from __future__ import annotations

import torch

from benchmark.cli.performance.measure import interleaved
from benchmark.training.device import arithmetic

SIZES = {"cpu": (256, 512, 1024), "cuda": (2048, 4096, 8192)}


def ceiling(device: str, precision: str, threads: int, repeats: int = 10) -> dict[str, float]:
    """{"gflops": GFLOP/s of the fastest of a few square products of matrices, "n": its side}, in a run's
    arithmetic.

    gflops is the median over `repeats` products, of 2 n^3 operations each. A convolution may be somewhat
    faster on a CPU.
    """
    torch.set_num_threads(threads)
    arithmetic(device, precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    found = {}
    for n in SIZES[torch.device(device).type]:
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))

        def product(a: torch.Tensor = a, b: torch.Tensor = b) -> None:
            torch.mm(a, b)

        product()
        found[n] = 2 * n**3 / interleaved({"": product}, repeats, device)[""].median / 1e6
    best = max(found, key=lambda n: found[n])
    return {"gflops": found[best], "n": best}
