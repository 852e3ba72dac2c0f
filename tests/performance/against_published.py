"""Steps of MTPSL and JTR as published, and ours, in turn on one thread.

    python -m tests.performance.against_published [SIZE ...]

The same weights and batch, one label a sample, nyuv2-13-segnet's network at sizes that a CPU affords, which
are multiples of 32. Ours is the step of a run.
"""

import operator
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from benchmark.spec.protocol import load
from benchmark.training.build import initialise
from benchmark.training.device import arithmetic, laid_out, on_device
from benchmark.training.step import Step
from datasets import tasks
from datasets.tasks import Task
from methods.base import Batch, Problem
from methods.jtr import JTR
from methods.mtpsl import MTPSL
from methods.networks.build import make_encoder
from tests.methods.cases import batch
from tests.performance.published_steps import PublishedJTR, PublishedMTPSL

Pair = tuple[MTPSL, PublishedMTPSL] | tuple[JTR, PublishedJTR]
ENCODER = "segnet"
SEMSEG = tasks.semseg(tuple(f"class {i}" for i in range(13)))
TASKS: dict[str, Task] = {"semseg": SEMSEG, "depth": tasks.depth(), "normals": tasks.normals()}
WIDTH, SAMPLES, PAIRS, WARM_UP = 64, 2, 9, 2  # the width is as published
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}  # other work disturbs the latter less
DEPTH = {"depth_mean": 2.3618, "depth_std": 1.5876}  # as published


def pair(
    name: str, size: tuple[int, int], width: int, dtype: torch.dtype = torch.float32,
    change: Callable[[nn.Module], None] = lambda _: None,
) -> Pair:  # fmt: skip
    """Ours and the published one, of equal weights. change: what is done to them first."""
    problem = Problem(TASKS, size, width, 0, lambda: make_encoder(ENCODER, width), dict.fromkeys(TASKS, 1.0))
    if name == "mtpsl":
        mtpsl = MTPSL(problem, mapper_width=width)
        initialise(mtpsl, 0)
        change(mtpsl)
        return mtpsl.to(dtype), PublishedMTPSL(mtpsl)
    jtr = JTR(problem, ae_width=width, **DEPTH)
    initialise(jtr, 0)
    change(jtr)
    return jtr.to(dtype), PublishedJTR(jtr)


def made_up(problem: Problem, samples: int, views: int, single: bool = False) -> Batch:
    """One label a sample, of each task in turn."""
    one = [[int(t == i % len(TASKS)) for t in range(len(TASKS))] for i in range(samples)]
    return batch(problem, one, views, single=single)


def measure(name: str, size: tuple[int, int]) -> str:
    ours, theirs = pair(name, size, WIDTH)
    data = made_up(ours.problem, SAMPLES, ours.views, single=True)
    on_device(ours, "cpu", ENCODER)
    views = tuple(replace(view, images=laid_out(view.images, ENCODER)) for view in data.views)
    of_run = replace(data, images=laid_out(data.images, ENCODER), views=views)
    protocol = replace(load("nyuv2-13-segnet"), size=size, width=WIDTH, batch=SAMPLES)
    step = Step(ours, protocol, 1000)

    def our_step() -> None:
        arithmetic("cpu", protocol.precision)
        step(of_run, 0)

    def their_step() -> None:
        torch.use_deterministic_algorithms(False)
        theirs.step(data)

    turns = {"theirs": their_step, "ours": our_step}
    found: dict[str, dict[str, list[float]]] = {clock: {turn: [] for turn in turns} for clock in CLOCKS}
    for _ in range(WARM_UP + PAIRS):
        for turn, call in turns.items():
            began = {clock: now() for clock, now in CLOCKS.items()}
            call()
            for clock, now in CLOCKS.items():
                found[clock][turn].append((now() - began[clock]) * 1e3)
    parts = [f"{name:5s} {size[0]}x{size[1]} width {WIDTH} batch {SAMPLES}"]
    for clock, times in found.items():
        a, b = (times[turn][WARM_UP:] for turn in turns)
        low, middle, high = statistics.quantiles(map(operator.truediv, a, b), n=4, method="inclusive")
        taken = f"theirs {statistics.median(a):.0f} ms, ours {statistics.median(b):.0f} ms"
        parts.append(f"{clock} {taken}, theirs / ours {middle:.3f} ({low:.3f} to {high:.3f})")
    return "; ".join([*parts, f"load {os.getloadavg()[0]:.1f}"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for text in sys.argv[1:] or ("64x96", "160x192"):
        height, width = map(int, text.split("x"))
        for name in ("mtpsl", "jtr"):
            print(measure(name, (height, width)), flush=True)
