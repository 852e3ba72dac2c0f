"""Say how runs are carried out: the one object from the command line to `attempt`, and the places for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from benchmark import system
from benchmark.errors import UserError

VARIABLE = "BENCH_WORKERS"
HANG_SECONDS = 1800.0


@dataclass(frozen=True)
class Options:
    """How runs are carried out, in this process, by workers and on Slurm; no number of a run depends on it.

    workers: 0 is this process, None leaves it to the environment and the device. to_the_end: wait for runs
    of other processes, and take up those that die. weights, plugins: the files of the plan and the command
    line. began: results older than that, by the clock of the results folder, are made anew as `force` and
    `retry_failed` ask; newer ones stand. log: "tensorboard" for event files of every run's curve.
    """

    results: Path
    data: Path
    device: str = "auto"
    keep: str = "weights"
    checkpoint_every: int = 500
    force: bool = False
    retry_failed: bool = False
    workers: int | None = None
    per_gpu: int = 1
    hang_after: float = HANG_SECONDS
    to_the_end: bool = False
    weights: dict[str, Path] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()
    began: float = 0.0
    log: str = ""

    def __post_init__(self) -> None:
        """Raise the `UserError` that a value deserves by itself, before anything heavy is imported."""
        if self.results.exists() and not self.results.is_dir():
            raise UserError(f"--results {self.results} is a file, not a folder of runs; name a folder.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UserError(f"--device {self.device!r} is not one of auto, cpu, cuda, cuda:N.")
        if self.keep not in ("all", "weights", "none"):
            raise UserError(f"--keep {self.keep!r} is not one of all, weights, none.")
        if self.log not in ("", "tensorboard"):
            raise UserError(f"--log {self.log!r} is not tensorboard.")
        if self.log and find_spec(self.log) is None:
            cure = "install it with `pip install -e '.[tensorboard]'`, or leave --log out"
            raise UserError(f"--log {self.log} needs the package {self.log}; {cure}.")
        if self.checkpoint_every < 1:
            raise UserError(f"--checkpoint-every {self.checkpoint_every} is not a number of 1 or more.")
        if self.per_gpu < 1:
            raise UserError(f"--per-gpu {self.per_gpu} is not a number of runs of 1 or more.")
        if not self.hang_after > 0:
            raise UserError(f"--hang-after {self.hang_after:g} is not a number of seconds above 0.")
        if self.workers is not None and self.workers < 0:
            raise _no_workers(f"--workers {self.workers}")
        asked = self.asked
        if self.per_gpu != 1 and not asked:
            raise UserError(f"--per-gpu {self.per_gpu} requires --workers of 1 or more.")
        if self.hang_after != HANG_SECONDS and asked == 0:
            raise UserError(f"--hang-after {self.hang_after:g} requires --workers of 1 or more.")

    @property
    def asked(self) -> int | None:
        """The workers that the command line, else the environment asks for."""
        text = os.environ.get(VARIABLE, "").strip()
        if self.workers is not None or not text:
            return self.workers
        if not re.fullmatch("[0-9]{1,4}", text):
            raise _no_workers(f"{VARIABLE}={text[:60]}")
        return int(text)

    def places(self, pending: int, threads: int) -> list[str | None]:
        """Give one entry a worker: None on the CPU, else the CUDA_VISIBLE_DEVICES that pins it to its GPU.

        Where nobody asks for workers, the CPU has as many as its cores hold, at most one a pending run, and
        none (this process) where that is one. On CUDA there are none, as runs would share a GPU unasked.
        threads: of a run. Raises `UserError` where there are fewer places than workers.
        """
        asked, limited = self.asked, self.hang_after != HANG_SECONDS
        device = pick_device(self.device)
        if asked is None and device == "cpu":
            cores = min(max(1, system.cores() // threads), pending)
            asked = cores if cores > 1 or limited else 0
        if asked is None and limited:
            raise UserError(f"--hang-after {self.hang_after:g} requires --workers of 1 or more.")
        if device == "cpu":
            if self.per_gpu > 1:
                raise UserError(
                    f"--per-gpu {self.per_gpu} requires CUDA GPUs; on the CPU, give --workers alone."
                )
            return [None] * (asked or 0)
        return self._on_gpus(device, asked or 0)

    def _on_gpus(self, device: str, workers: int) -> list[str | None]:
        import torch

        named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
        gpus = [name for name in named if name] or [str(i) for i in range(torch.cuda.device_count())]
        if ":" in device:
            index = int(device.partition(":")[2])
            if index >= len(gpus):
                raise UserError(
                    f"--device {device} is not there: torch sees {len(gpus)} GPUs, counted from 0."
                )
            gpus = [gpus[index]]
        places: list[str | None] = [gpu for _ in range(self.per_gpu) for gpu in gpus]
        if workers > len(places):
            raise UserError(
                f"--workers {workers} is more than {len(gpus)} GPUs times --per-gpu {self.per_gpu}; give "
                f"fewer, or a higher --per-gpu."
            )
        return places[:workers]

    def beginning(self) -> Options:
        """Return the options of a command that begins now: what is there already is old."""
        again = self.force or self.retry_failed
        return replace(self, began=system.filesystem_now(self.results) if again else 0.0)


def _no_workers(named: str) -> UserError:
    return UserError(f"{named} is not a number of processes of 1 or more, nor 0 for this process alone.")


def pick_device(name: str) -> str:
    """Return the device that "auto", "cpu", "cuda" or "cuda:N" means here. Raises `UserError`."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"--device {name!r} is not one of auto, cpu, cuda, cuda:N.")
    if name != "cpu" and not torch.cuda.is_available():
        raise UserError(f"--device {name} needs a CUDA GPU and torch sees none here; use --device cpu.")
    return name
