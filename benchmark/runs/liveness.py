"""What the system knows: which processes live or ran out of memory, and what time it is by a shared folder's
own clock.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path


def process_start(pid: int) -> str | None:
    """When a process started, in its kernel's own units, or None if there is none; tells a reused pid from
    the old one.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
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
    """The time by the clock that stamps files in `folder`, which on a shared folder is not this host's."""
    probe = folder / f".now-{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def out_of_memory_kills() -> int:
    """How many processes of this one's control group, or else of this host, the kernel has killed for lack of
    memory.
    """
    group = ""
    with suppress(OSError):
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
    for file in (Path("/sys/fs/cgroup") / group / "memory.events", Path("/proc/vmstat")):
        with suppress(OSError, ValueError, KeyError):
            return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])
    return 0
