"""Ask the operating system: cores, living processes, out-of-memory kills, a shared folder's clock."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def place() -> str:
    """Name where process numbers mean the same: containers may share a host's name and not its processes."""
    name = socket.gethostname()
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{name} {boot[:8]} {os.readlink('/proc/self/ns/pid')}"
    return name


def process_start(pid: int) -> str | None:
    """Return when a process started, in its kernel's own units; None without one.

    It tells a reused pid from the old one. To a worker, a dead worker of the same pool lives until their
    parent has noted how it ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        pool = multiprocessing.parent_process() is not None and int(fields[1]) == os.getppid()
        return None if fields[0] == "Z" and not pool else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc on this system: existence is all there is to see
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


def filesystem_now(folder: Path) -> float:
    """Read the clock that stamps files in `folder`; on a shared folder it is not this host's."""
    probe = folder / f".now-{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def out_of_memory_kills() -> int:
    """Count the processes of this control group, or else host, that the kernel killed for lack of memory."""
    group = ""
    with suppress(OSError):
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
    for file in (Path("/sys/fs/cgroup") / group / "memory.events", Path("/proc/vmstat")):
        with suppress(OSError, ValueError, KeyError):
            return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])
    return 0
