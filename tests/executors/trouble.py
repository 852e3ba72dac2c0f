"""A method, to be used as a plug-in, that does on purpose what methods and machines do by accident."""

import faulthandler
import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor

from methods.base import Batch, Losses, Problem
from methods.multi_task import MultiTask


class Trouble(MultiTask):
    summary = "a network with a fault"

    def __init__(
        self, problem: Problem, *, fault: str = "none", at: int = 6, place: str = "", times: int = 1000,
        threads: int = 1,
    ) -> None:  # fmt: skip
        """at: the step of a process in which the fault comes about. place: a file where each process leaves a
        line about itself; the fault comes about in the first `times` of them. A run that waits takes no later
        step than the file beside it says whose name ends in .go."""
        super().__init__(problem)
        self.fault, self.at, self.place, self.calls = fault, at, place, 0
        self.times, self.threads = times, threads

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        self.calls += 1
        if self.calls == 1 and self.place:
            with Path(self.place).open("a") as file:
                file.write(f"{os.getpid()} - {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        found = super().losses(batch, progress)
        if self.place and len(Path(self.place).read_text().splitlines()) > self.times:
            return found
        if self.fault == "threads" and torch.get_num_threads() != self.threads:
            raise RuntimeError(f"{torch.get_num_threads()} threads")
        while self.fault == "wait" and self.at <= self.calls > int(Path(self.place + ".go").read_text() or 0):
            time.sleep(0.02)
        if self.calls == self.at:
            if self.fault == "segfault":
                faulthandler.disable()  # pytest's
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "exit":
                os._exit(3)
            if self.fault == "raise":
                raise ValueError("broken on purpose")
            if self.fault == "memory":
                torch.empty(1 << 60, dtype=torch.uint8)
            if self.fault == "hang":
                time.sleep(3600)
            if self.fault == "nan":
                return Losses({name: value * float("nan") for name, value in found.tasks.items()})
            if self.fault == "slow":
                time.sleep(2)
        return found

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        if not self.training and self.fault == "stop" and not Path(self.place + ".stopped").exists():
            Path(self.place + ".stopped").touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return super().predict(images)
