"""Times of training steps and of evaluation on made-up samples, for `bench perf`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.spec import registry
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec
from benchmark.training.batches import total_steps
from benchmark.training.cuda_graph import WARM, Loop
from benchmark.training.loop import Options, Run
from datasets import labels
from datasets.base import Split
from datasets.tasks import Task

CUDA_BLOCK = 5  # calls between two looks at the clock, each of which empties the GPU's queue
EVALUATIONS = 3
SAMPLES = 64  # made up for training; every label setting finds some for each task in so many
STEPS = 200  # of the runs that are measured; their batches come again after so many
NO_RATE = 1e-9  # noise teaches nothing, and weights that grow would end in numbers of other speed
BLOCK = 8  # pixels a side within which a made-up label is the same


Times = tuple[float, ...]  # milliseconds a call, one number a turn


def ratio(of: Times, to: Times) -> float:
    """Return the median ratio of turns that two variants took one after the other."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def interleaved(variants: Mapping[str, Callable[[], None]], repeats: int, device: str) -> dict[str, Times]:
    """Time warm variants in turns A B C A B C ..., so that other load strikes all alike.

    On a GPU a turn is several calls, and the clock is read when the device has done them.
    """
    cuda = device.startswith("cuda")
    calls = CUDA_BLOCK if cuda else 1
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(-(-repeats // calls)):
        for name, call in variants.items():
            if cuda:
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            for _ in range(calls):
                call()
            if cuda:
                torch.cuda.synchronize(device)
            times[name].append((time.perf_counter() - began) / calls * 1e3)
    return {name: tuple(values) for name, values in times.items()}


def measure(
    specs: Sequence[RunSpec], tasks: dict[str, Task], device: str, steps: int, images: int
) -> dict[str, Any]:
    """Time `steps` training steps and evaluations of `images` images; return plain values.

    specs: one for each network of a one-task method, else one. A step is one of every network, as a run takes
    it: a CUDA graph where it is captured, and "reason" says why it is not. peak_gib: GPU memory of training,
    of the largest network; None on a CPU.
    """
    protocol = specs[0].protocol
    train, test = (made_up(tasks, protocol.size, count) for count in (_samples(protocol), images))
    networks = [_Network(measurable(spec), train, test, tasks, device) for spec in specs]
    reason = next((n.run.loop.reason for n in networks if n.run.loop.reason), None)

    def step(captured: bool) -> None:
        for network in networks:
            network.step(network.run.loop if captured else network.eager)

    def evaluate() -> None:
        for network in networks:
            network.run.test.scores(network.run.method, protocol.precision)

    variants = {"eager": partial(step, False)} | ({} if reason else {"captured": partial(step, True)})
    times = interleaved(variants, steps, device)
    evaluate()
    evaluations = interleaved({"": evaluate}, EVALUATIONS, "cpu")[""]  # which waits for a GPU itself
    evaluation, taken = statistics.median(evaluations) / 1e3, times["eager" if reason else "captured"]
    ms = statistics.median(taken)
    return {
        "ms": ms,
        "quartiles": np.percentile(taken, [25, 75]).tolist(),
        "ms_all": taken,
        "images_per_second": protocol.batch / ms * 1e3,
        "peak_gib": max((n.peak_gib for n in networks if n.peak_gib is not None), default=None),
        "reason": reason,
        "captured_gain": None if reason else ratio(times["eager"], taken),
        "networks": len(networks),
        "evaluated": images,
        "evaluation_seconds": evaluation,
        "evaluated_per_second": images / evaluation,
    }


class _Network:
    """A run that is built and warm."""

    def __init__(self, spec: RunSpec, train: Split, test: Split, tasks: dict[str, Task], device: str) -> None:
        cuda = device.startswith("cuda")
        before = torch.cuda.memory_allocated(device) if cuda else 0
        self.run = Run(spec, train, test, tasks, Options(device=device))
        self.eager = Loop(self.run.feed, self.run.stepper, spec.balance, wanted=False)
        self.run.prepare()
        self.run.method.train()
        self._number = 0
        for _ in range(WARM + 2):
            self.step(self.eager)
            self.step(self.run.loop)
        self.step(self.eager)  # a capture gives back the memory that was kept for it
        self.peak_gib: float | None = None
        if cuda:
            torch.cuda.synchronize(device)
            self.peak_gib = (torch.cuda.max_memory_allocated(device) - before) / 2**30

    def step(self, loop: Loop) -> None:
        """Take the next step, on the first batch again after the last."""
        self.run.take(self._number % self.run.feed.steps, loop)
        self._number += 1


def measurable(spec: RunSpec) -> RunSpec:
    """Return a run of the same cost on made-up samples: no weights to load, no frozen labels, no learning."""
    p = spec.protocol
    protocol = replace(
        p, weights="none", init="none", budget="steps", epochs=STEPS * p.batch / _samples(p), lr=NO_RATE,
        evaluations=0,
    )  # fmt: skip
    return replace(spec, protocol=protocol, labels=spec.labels.removeprefix("published:"))


def _samples(protocol: Protocol) -> int:
    return max(SAMPLES, 2 * protocol.batch)


def run_steps(spec: RunSpec, images: int) -> int:
    """Return the steps of a run on `images` train images with all labels available."""
    usable = images
    if registry.method(spec.method).one_task:
        available = torch.ones(images, len(spec.protocol.tasks), dtype=torch.bool)
        setting = spec.labels.removeprefix("published:")
        mask = labels.sample(torch.arange(images), available, setting, spec.label_seed)
        columns = [spec.protocol.tasks.index(name) for name in spec.tasks]
        usable = int(mask[:, columns].any(1).sum())
    return total_steps(spec.protocol, images, usable)


def made_up(tasks: dict[str, Task], size: tuple[int, int], count: int) -> Split:
    """Return a split of images of noise and labels in blocks, every label available, the same everywhere."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=draw)
    targets = {name: made_up_target(task, size, count) for name, task in tasks.items()}
    available = torch.ones(count, len(tasks), dtype=torch.bool)
    names = tuple(f"made-up-{i}" for i in range(count))
    made = f"made-up-{count}"
    return Split(torch.arange(count), names, images, targets, available, made, teacher=targets)


def made_up_target(task: Task, size: tuple[int, int], count: int) -> Tensor:
    """Return a compact target (count, C, H, W) of values drawn for blocks, every pixel labelled."""
    draw = torch.Generator().manual_seed(0)
    grid = (count, task.target_channels, *(-(-side // BLOCK) for side in size))
    if task.is_map_of_integers:
        cells = torch.randint(max(2, task.channels), grid, generator=draw)
    elif task.kind == "depth":
        cells = 0.5 + 7 * torch.rand(grid, generator=draw)
    elif task.kind == "normals":
        cells = 127 * F.normalize(torch.randn(grid, generator=draw), dim=1)
    else:
        low, high = task.span
        cells = low + (high - low) * torch.rand(grid, generator=draw)
    cells = cells.to(task.maps.stored)
    target = cells.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[..., : size[0], : size[1]]
    if task.kind == "edge":
        target = (torch.arange(size[1]) % BLOCK == BLOCK - 1).to(target.dtype).expand(target.shape)
    return target.contiguous()
