"""Where a step's time goes: the operators that torch's profiler sees, by kind."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmark.cli.performance.case import Case, Splits, build
from benchmark.cli.performance.found import Column, Found
from benchmark.cli.performance.subject import Ground

STEPS = 5
TOP = 8  # operators of each subject that are listed
# An operator is of the first kind of which a word is in its name.
KINDS: dict[str, tuple[str, ...]] = {
    "optimiser": ("adam", "sgd", "optimizer", "foreach"),
    "normalisation": ("batch_norm", "layer_norm", "group_norm", "instance_norm", "batchnorm", "bn_"),
    "convolution": ("conv", "cudnn", "winograd", "implicit_gemm", "mkldnn", "dgrad", "wgrad"),
    "attention": ("attention", "flash", "fmha"),
    "resampling": ("grid_sampler", "upsample", "interpolate", "affine_grid", "pool"),
    "matrix product": ("addmm", "bmm", "::mm", "matmul", "linear", "gemm", "einsum", "cutlass"),
    "gather and scatter": ("gather", "scatter", "index", "take", "embedding", "sort", "topk", "unique"),
    "copy and fill": ("copy", "clone", "contiguous", "cat", "stack", "fill", "zero", "empty", "memcpy",
    "memset", "::to", "pad"),
    "reduction and loss": (
        "sum", "mean", "softmax", "loss", "norm", "reduce", "amax", "amin", "argm", "::max", "::min", "::any",
        "::all", "::std",
    ),
}  # fmt: skip
ELSE = "elementwise and other"


def kind(operator: str) -> str:
    """The kind of an operator or of a GPU kernel, by its name."""
    name = operator.lower()
    return next((k for k, words in KINDS.items() if any(word in name for word in words)), ELSE)


def where(ground: Ground) -> Found:
    """Shares of the time of steps, launched kernel by kernel, each operator's own without that of those that
    it calls: on a GPU of its kernels' time, else of the CPU's."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for subject in ground.subjects:
        if case := build(subject, ground.tasks, ground.device, Splits(), notes):
            rows += _rows(case, ground.device)
    columns = (
        Column("method", "name"),
        Column("kind", "kind"),
        Column("share", "share", "{:.1%}"),
        Column("ms a step", "ms", "{:.2f}"),
        Column("of that the most", "operators"),
    )
    return Found(
        "where", f"time of {STEPS} steps by torch's profiler", columns, rows, tuple(dict.fromkeys(notes))
    )


def _rows(case: Case, device: str) -> list[dict[str, Any]]:
    cuda = device.startswith("cuda")
    step = case.variants()["eager"]
    with profile(
        activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU], acc_events=True
    ) as found:
        for _ in range(STEPS):
            step()
        if cuda:
            torch.cuda.synchronize(device)
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for event in found.key_averages():
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        if own > 0 and (not cuda or event.device_type.name == "CUDA"):
            times[kind(event.key)][event.key] = own / STEPS / 1e3
    total = sum(sum(group.values()) for group in times.values())
    rows = []
    for name, group in sorted(times.items(), key=lambda item: -sum(item[1].values())):
        most = sorted(group, key=lambda key: -group[key])
        ms = sum(group.values())
        row = {
            "name": case.subject.name,
            "kind": name,
            "share": ms / total,
            "ms": ms,
            "operators": ", ".join(map(_short, most[:3])),
        }
        rows.append(row | {"top": {key: group[key] for key in most[:TOP]}})
    return rows


def _short(operator: str) -> str:
    name = operator.removeprefix("autograd::engine::evaluate_function: ").removeprefix("aten::")
    return name if len(name) <= 40 else name[:37] + "..."
