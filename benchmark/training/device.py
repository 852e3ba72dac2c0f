"""What a device is told before a run: which arithmetic, and how networks lie in its memory."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

# Encoders that a CPU trains faster with channels last: most of all those of depthwise convolutions, whose
# gradients are slow in the other layout. Everything else stays as torch has it. `tests/performance` measures
# an encoder in both.
CHANNELS_LAST = ("segnet", "timm:tf_efficientnet_lite0")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def arithmetic(device: str, precision: str) -> None:
    """Choose deterministic operators on a CPU, and the precision of float32 on a GPU.

    There, matrix products and convolutions are IEEE's unless `precision` is "tf32": torch's own default for
    convolutions is not; and the fastest of cuDNN's algorithms is searched for each shape, of which a run has
    few.
    """
    torch.use_deterministic_algorithms(device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device == "cpu":
        _keep_freed_memory()
    if device.startswith("cuda"):
        for kernels in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):  # type: ignore[attr-defined]
            kernels.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        torch.backends.cudnn.benchmark = True


@cache
def _keep_freed_memory() -> None:
    """Let the process keep the memory of activations from step to step: glibc gives large blocks back at
    once, and the kernel clears every page of them anew, thousands a step."""
    mallopt: Any = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # not so in musl
        for option, size in ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, size)


def autocast(device: str, precision: str) -> torch.autocast:
    """Return the context of a method's forward passes: bfloat16 where `precision` is "bf16"."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


def layout(device: str, encoder: str) -> torch.memory_format:
    """Return how images and weights lie in memory: channels last on a GPU, whose kernels are made for it."""
    last = device.startswith("cuda") or encoder in CHANNELS_LAST
    return torch.channels_last if last else torch.contiguous_format


def laid_out(images: Tensor, encoder: str) -> Tensor:
    """Return images (B, 3, H, W) in the layout of their device and encoder."""
    return images.contiguous(memory_format=layout(images.device.type, encoder))


def on_device(network: nn.Module, device: str, encoder: str) -> None:
    """Move a network, in the layout of the device and of its encoder.

    On a GPU: on a stream of the process's own, as CUDA graphs ask for, the peak of memory counted anew.
    """
    network.to(memory_format=layout(device, encoder))
    if not device.startswith("cuda"):
        network.to(device)
        return
    gc.collect()  # what an earlier run of the process left in circles still holds memory of the device
    torch.cuda.set_device(torch.device(device).index or 0)  # it takes no device without a number
    if torch.cuda.current_stream() == torch.cuda.default_stream():
        torch.cuda.set_stream(torch.cuda.Stream())
    network.to(device)
    torch.cuda.reset_peak_memory_stats(device)
