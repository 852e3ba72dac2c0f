"""The places of a local pool: so many on the CPU, or so many on each GPU."""

from __future__ import annotations

import os

from benchmark.errors import UserError


def slots(device: str, workers: int, per_gpu: int) -> list[str | None]:
    """One entry a worker: None on the CPU, else the value of CUDA_VISIBLE_DEVICES that pins it to its GPU. GPUs are filled in
    turn. Raises `UserError` where there are fewer places than workers.

    device: "cpu", "cuda" or "cuda:N", as `commands.runs.pick_device` gives it.
    """
    if workers < 1:
        raise UserError(f"--workers {workers} is not a number of processes of 1 or more.")
    if per_gpu < 1:
        raise UserError(f"--per-gpu {per_gpu} is not a number of runs of 1 or more.")
    if device == "cpu":
        if per_gpu > 1:
            raise UserError(f"--per-gpu {per_gpu} is of CUDA GPUs; on the CPU, --workers alone says how many run at a time.")
        return [None] * workers
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = [name.strip() for name in named.split(",") if name.strip()] or list(map(str, range(torch.cuda.device_count())))
    if ":" in device:
        index = int(device.partition(":")[2])
        if index >= len(gpus):
            raise UserError(f"--device {device} is not there: torch sees {len(gpus)} GPUs, counted from 0.")
        gpus = [gpus[index]]
    places: list[str | None] = [gpu for _ in range(per_gpu) for gpu in gpus]
    if workers > len(places):
        raise UserError(
            f"--workers {workers} is more than {len(gpus)} GPUs times --per-gpu {per_gpu}; give fewer, or a higher --per-gpu."
        )
    return places[:workers]
