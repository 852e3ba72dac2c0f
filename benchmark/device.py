"""What a device is told before a run: which arithmetic, and how networks lie in its memory."""

from __future__ import annotations

import torch
from torch import nn


def arithmetic(device: str, precision: str) -> None:
    """Deterministic on a CPU. On a GPU, matrix products and convolutions of float32 are IEEE's unless `precision` is "tf32":
    torch's own default for convolutions is not; and the fastest of cuDNN's algorithms is searched for each shape, of which a
    run has few."""
    torch.use_deterministic_algorithms(device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True


def on_device(network: nn.Module, device: str) -> None:
    """Move a network. On a GPU: with channels last, which its kernels are made for; on a stream of the process's own, as
    CUDA graphs ask for; and with the peak of memory counted anew."""
    if not device.startswith("cuda"):
        network.to(device)
        return
    torch.cuda.set_device(torch.device(device))
    if torch.cuda.current_stream() == torch.cuda.default_stream():
        torch.cuda.set_stream(torch.cuda.Stream())
    network.to(device)
    network.to(memory_format=torch.channels_last)
    torch.cuda.reset_peak_memory_stats(device)
