"""The places of a local pool: so many on the CPU, or so many on each GPU."""

from __future__ import annotations

import os

from benchmark.cli.options import HANG_SECONDS
from benchmark.errors import UserError

VARIABLE = "BENCH_WORKERS"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def asked(workers: int | None, per_gpu: int, hang_after: float) -> int | None:
    """The workers that the command line asks for, else the environment, 0 for this process alone; None where
    neither says.

    Raises the `UserError` that the options of a pool deserve.
    """
    named, text = f"--workers {workers}", os.environ.get(VARIABLE, "").strip()
    if workers is None and text:
        named, workers = f"{VARIABLE}={text}", int(text) if text.isdecimal() else -1
    if workers is not None and workers < 0:
        raise UserError(f"{named} is not a number of processes of 1 or more, nor 0 for this process alone.")
    if per_gpu != 1 and not workers:
        raise _without_pool("--per-gpu", per_gpu)
    if hang_after != HANG_SECONDS and workers == 0:
        raise _without_pool("--hang-after", hang_after)
    if not hang_after > 0:
        raise UserError(f"--hang-after {hang_after:g} is not a number of seconds above 0.")
    return workers


def by_default(device: str, threads: int, pending: int, hang_after: float) -> int:
    """The workers where nobody says: on the CPU as many as its cores can hold, at most one a pending run; 0,
    this process alone, where that is one, and on CUDA, where runs would share a GPU's memory unasked. A limit
    on silence asks for a pool, if of one.

    threads: of a run.
    """
    limited = hang_after != HANG_SECONDS
    if device != "cpu":
        if limited:
            raise _without_pool("--hang-after", hang_after)
        return 0
    found = min(max(1, cores() // threads), pending)
    return found if found > 1 or limited else 0


def _without_pool(name: str, value: float) -> UserError:
    return UserError(f"{name} {value:g} is of a pool; give --workers too, of 1 or more.")


def slots(device: str, workers: int, per_gpu: int) -> list[str | None]:
    """One entry a worker: None on the CPU, else the value of CUDA_VISIBLE_DEVICES that pins it to its GPU.
    GPUs are filled in turn. Raises `UserError` where there are fewer places than workers.

    device: "cpu", "cuda" or "cuda:N", as `commands.runs.pick_device` gives it.
    """
    if workers < 1:
        raise UserError(f"--workers {workers} is not a number of processes of 1 or more.")
    if per_gpu < 1:
        raise UserError(f"--per-gpu {per_gpu} is not a number of runs of 1 or more.")
    if device == "cpu":
        if per_gpu > 1:
            raise UserError(
                f"--per-gpu {per_gpu} is of CUDA GPUs; on the CPU, --workers alone says how many run at a "
                f"time."
            )
        return [None] * workers
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = [name.strip() for name in named.split(",") if name.strip()] or list(
        map(str, range(torch.cuda.device_count()))
    )
    if ":" in device:
        index = int(device.partition(":")[2])
        if index >= len(gpus):
            raise UserError(f"--device {device} is not there: torch sees {len(gpus)} GPUs, counted from 0.")
        gpus = [gpus[index]]
    places: list[str | None] = [gpu for _ in range(per_gpu) for gpu in gpus]
    if workers > len(places):
        raise UserError(
            f"--workers {workers} is more than {len(gpus)} GPUs times --per-gpu {per_gpu}; give fewer, or a "
            f"higher --per-gpu."
        )
    return places[:workers]
