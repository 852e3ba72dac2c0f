"""Steps of MTPSL and JTR as published, and ours, in turn on one thread: `python -m
tests.performance.against_published`.

The same weights and batch, one label a sample, nyuv2-13-segnet's network at sizes that a CPU affords. Ours is
the step of a run.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from benchmark.spec.protocol import load
from benchmark.training.build import initialise
from benchmark.training.device import arithmetic, laid_out, on_device
from benchmark.training.step import Step
from benchmark.training.timing import ratio
from datasets import tasks
from datasets.tasks import Task
from methods.base import Batch, Problem
from methods.jtr import JTR
from methods.mtpsl import MTPSL
from methods.networks.build import make_encoder
from tests.methods.cases import batch, single
from tests.performance.published_steps import PublishedJTR, PublishedMTPSL

Pair = tuple[MTPSL, PublishedMTPSL] | tuple[JTR, PublishedJTR]
ENCODER = "segnet"
SEMSEG = tasks.semseg(tuple(f"class {i}" for i in range(13)))
TASKS: dict[str, Task] = {"semseg": SEMSEG, "depth": tasks.depth(), "normals": tasks.normals()}
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


def made_up(problem: Problem, samples: int, views: int) -> Batch:
    """One label a sample, of each task in turn; float64."""
    one = [[int(t == i % len(TASKS)) for t in range(len(TASKS))] for i in range(samples)]
    return batch(problem, one, views)


def measure(name: str, size: tuple[int, int], width: int, samples: int, pairs: int) -> str:
    ours, theirs = pair(name, size, width)
    data = single(made_up(ours.problem, samples, ours.views))
    on_device(ours, "cpu", ENCODER)
    views = tuple(replace(view, images=laid_out(view.images, ENCODER)) for view in data.views)
    of_run = replace(data, images=laid_out(data.images, ENCODER), views=views)
    protocol = replace(load("nyuv2-13-segnet"), size=size, width=width, batch=samples)
    step = Step(ours, protocol, 1000)

    def our_step() -> None:
        arithmetic("cpu", protocol.precision)
        step(of_run, 0)

    def their_step() -> None:
        torch.use_deterministic_algorithms(False)
        theirs.step(data)

    turns = {"theirs": their_step, "ours": our_step}
    for call in (*turns.values(), *turns.values()):
        call()
    found = taking_turns(turns, pairs)
    case = f"{name:5s} {size[0]}x{size[1]} width {width} batch {samples}"
    load_average = ", ".join(f"{x:.1f}" for x in os.getloadavg()[:2])
    return f"{case}: " + "; ".join(said(clock, of) for clock, of in found.items()) + f"; load {load_average}"


Times = dict[str, tuple[float, ...]]


def taking_turns(turns: dict[str, Callable[[], None]], repeats: int) -> dict[str, Times]:
    """Milliseconds by the clock on the wall, and of a processor, which other work disturbs less."""
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    found: dict[str, Times] = {clock: dict.fromkeys(turns, ()) for clock in clocks}
    for _ in range(repeats):
        for name, call in turns.items():
            began = {clock: now() for clock, now in clocks.items()}
            call()
            for clock, now in clocks.items():
                found[clock][name] += ((now() - began[clock]) * 1e3,)
    return found


def said(clock: str, found: Times) -> str:
    ratios = (a / b for a, b in zip(found["theirs"], found["ours"], strict=True))
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    times = ", ".join(f"{name} {statistics.median(ms):.0f} ms" for name, ms in found.items())
    middle = ratio(found["theirs"], found["ours"])
    return f"{clock} {times}, theirs / ours {middle:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["mtpsl", "jtr"], choices=["mtpsl", "jtr"])
    parser.add_argument("--sizes", nargs="+", default=["64x96", "160x192"], help="multiples of 32")
    parser.add_argument("--width", type=int, default=64, help="64 is as published")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name in chosen.methods:
        for text in chosen.sizes:
            high, wide = (int(part) for part in text.split("x"))
            print(measure(name, (high, wide), chosen.width, chosen.batch, chosen.pairs), flush=True)


if __name__ == "__main__":
    main()
