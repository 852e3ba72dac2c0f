"""Where and with what a run was computed."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import subprocess
import tarfile
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark import ROOT
from benchmark.errors import UserError

FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # a commit
CODE = ("benchmark", "methods", "datasets", "pyproject.toml")
COMMIT = "BENCH_COMMIT"  # the environment variable that names the commit of a copy without a git folder
PACKAGES = ("torch", "torchvision", "numpy", "timm")


def _git(*arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@cache
def _commit() -> tuple[str | None, bool | None]:
    """Return (commit, whether the code differs from it), read once: what runs is what was imported.

    A copy without a git folder has the commit that BENCH_COMMIT names; whether its code differs is not known
    here, and `publish` compares its hash, where there is git.
    """
    if not (ROOT / ".git").exists():  # not that of a folder around it
        named = os.environ.get(COMMIT)
        if named and not FULL.fullmatch(named):
            raise UserError(
                f"{COMMIT} is {named!r}; give a commit in full, as `git rev-parse HEAD` prints it."
            )
        return named or None, None
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", *CODE)
    return commit.decode().strip() if commit else None, None if changes is None else bool(changes.strip())


@cache
def code_here() -> str:
    """Return the hash of the code as it lies here, read once a process."""
    paths = [path for top in CODE for path in (ROOT / top, *(ROOT / top).rglob("*")) if path.is_file()]
    files = {path.relative_to(ROOT): path for path in paths}
    # What Python and editors leave there is no code.
    own = [name for name in files if not any(part.startswith((".", "__pycache__")) for part in name.parts)]
    return _hash({name.as_posix(): files[name].read_bytes() for name in own})


@cache
def code_at(commit: str) -> str | None:
    """Return the hash of the code at a commit of this checkout; None where it, or git, is not here."""
    # A record may say anything, and git would take what begins with a hyphen for an option.
    archive = _git("archive", "--format=tar", commit, "--", *CODE) if FULL.fullmatch(commit) else None
    if archive is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return _hash({name: file.read() for name, file in files.items() if file})


def _hash(files: dict[str, bytes]) -> str:
    """Return 16 hex digits of the SHA-256 of names and contents."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def device_name(device: str) -> str:
    """Return the device in words: the GPU's name, or the processor's."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if os.path.exists("/proc/cpuinfo") else ""
    model = re.search(r"^model name\s*:\s*(.*?)\s*$", info, re.MULTILINE)
    return f"CPU {model[1] if model else platform.processor() or 'processor'}"


def environment(device: str, threads: int) -> dict[str, Any]:
    """Return what a record says of its environment. Paths, user and host names are left out."""
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "code": code_here(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        # Processes that wanted a core as the run began: times of a busy machine are longer.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "device": device_name(device),
        # CUDA has no deterministic kernels for several operators used here; CPU results repeat bitwise.
        "deterministic": not device.startswith("cuda"),
    } | {package: metadata.version(package) for package in PACKAGES}
