"""Commands under a limit of time: one that overruns it is killed with all that it started."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.2


class Overrun(Exception):
    """The time was over, and the command was killed."""


class Shell:
    """log: what all commands say, in turn. environment: theirs. folder: where they run."""

    def __init__(self, log: Path, environment: Mapping[str, str], folder: Path) -> None:
        self.log, self.environment, self.folder = log, dict(environment), folder

    def __call__(
        self, command: Sequence[object], until: float, *, out: Path | None = None, grace: float = 0.0,
        look: Callable[[], None] = lambda: None,
    ) -> int:  # fmt: skip
        """The exit code of a command. until: of `time.monotonic`. out: a file for its standard output. grace:
        seconds that it may take to stop by itself then. look: called now and then while it runs. Raises
        `Overrun`."""
        words = [str(word) for word in command]
        with self.log.open("ab") as log, out.open("wb") if out else contextlib.nullcontext(log) as told:
            log.write(f"\n$ {' '.join(words)}\n".encode())
            log.flush()
            # A group of its own, for a signal to all; not a session, which could outlive whoever started
            # this.
            streams = {"stdin": subprocess.DEVNULL, "stdout": told, "stderr": log}
            own = {"cwd": self.folder, "env": self.environment, "process_group": 0}
            process = subprocess.Popen(words, **streams, **own)
            try:
                while process.poll() is None:
                    if time.monotonic() > until:
                        if grace:
                            process.terminate()
                            with contextlib.suppress(subprocess.TimeoutExpired):
                                process.wait(grace)
                        log.write(b"killed: its time was over\n")
                        raise Overrun
                    look()
                    time.sleep(POLL_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):  # what it left behind, too
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode

    def last_words(self) -> str:
        """The last line that anything said in the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
