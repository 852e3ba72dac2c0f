"""Where and with what a run was computed."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from typing import Any

from benchmark import ROOT

CODE = ("benchmark", "methods", "datasets", "pyproject.toml")
PACKAGES = ("torch", "torchvision", "numpy", "timm")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def _commit() -> tuple[str | None, bool | None]:
    """(commit, whether the code differs from it), read once a process: what runs is what was imported."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", *CODE)
    return commit, None if changes is None else bool(changes)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def device_name(device: str) -> str:
    """The device in words: the GPU's name, or the processor's with its architecture."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or "processor"
    return f"CPU {model}"


def environment(device: str, threads: int) -> dict[str, Any]:
    """What a record says of its environment. Paths, user and host names are left out."""
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        # Processes that wanted a core in the last minute, as the run began: times of a busy machine are longer.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "device": device_name(device),
        # CUDA has no deterministic kernels for several operators used here; on CPU results are bitwise repeatable.
        "deterministic": not device.startswith("cuda"),
    } | {package: _version(package) for package in PACKAGES}
