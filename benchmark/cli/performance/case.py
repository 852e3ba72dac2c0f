"""A subject built and warm: a step of it with the harness around, the same without, and what it holds in
memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmark import streams
from benchmark.cli.performance import synthetic
from benchmark.cli.performance.subject import Subject, samples
from benchmark.execute import attempt as execute
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec
from benchmark.training import cuda_graph as capture
from benchmark.training.cuda_graph import WARM, Loop
from benchmark.training.device import autocast
from benchmark.training.loop import Options, Run
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Batch

Call = Callable[[], None]


class Splits:
    """Made-up splits, each made once while it is in use."""

    def __init__(self) -> None:
        self._key: object = None
        self._split: Split | None = None

    def of(self, protocol: Protocol, tasks: dict[str, Task]) -> Split:
        key = (protocol.tasks, protocol.size, samples(protocol))
        if self._split is None or self._key != key:
            self._key = key
            self._split = synthetic.split(
                {name: tasks[name] for name in protocol.tasks}, protocol.size, samples(protocol)
            )
        return self._split


class Case:
    """reason: why no CUDA graph is used, or None. peak_gib: what a step and the network took of a GPU's
    memory, of a one-task method the largest of its networks; None on a CPU."""

    def __init__(self, subject: Subject, tasks: dict[str, Task], device: str, split: Split) -> None:
        """Builds the networks and takes the steps that make them warm: libraries, optimiser, graph."""
        self.subject, self.device = subject, device
        self.reason: str | None = None
        self.peak_gib: float | None = None
        self._parts = [self._part(spec, tasks, split) for spec in subject.specs]
        self._number = 0

    def _part(self, spec: RunSpec, tasks: dict[str, Task], split: Split) -> _Part:
        cuda = self.device.startswith("cuda")
        before = torch.cuda.memory_allocated(self.device) if cuda else 0
        options = Options(device=self.device)
        part = _Part(Run(spec, split, split, {name: tasks[name] for name in spec.protocol.tasks}, options))
        part.warm()
        if cuda:
            torch.cuda.synchronize(self.device)
            peak = (torch.cuda.max_memory_allocated(self.device) - before) / 2**30
            self.peak_gib = max(peak, self.peak_gib or 0.0)
        self.reason = self.reason or part.run.loop.reason
        return part

    @property
    def runs(self) -> list[Run]:
        return [part.run for part in self._parts]

    def variants(self) -> dict[str, Call]:
        """What can be timed: "feed" a batch, a "bare" step, an "eager" step of a run, and where there is a
        CUDA graph "captured" and "bare captured". Each takes a step of every network of the subject."""
        names = ["feed", "bare", "eager"] + ([] if self.reason else ["captured", "bare captured"])
        return {name: self._every(name) for name in names}

    @property
    def step(self) -> Call:
        """A step as a run takes it."""
        return self._every("eager" if self.reason else "captured")

    def _every(self, name: str) -> Call:
        calls = [part.call(name) for part in self._parts]

        def call() -> None:
            self._number += 1
            for one in calls:
                one(self._number)

        return call


class _Part:
    """One network. It holds nothing that holds it, so that a GPU's memory is free again as soon as it is
    dropped.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.eager = Loop(run.feed, run.stepper, run.spec.balance, wanted=False)
        self._batch = run.feed.batch(0)
        self._replay: Call | None = None

    def warm(self) -> None:
        run = self.run
        steps = range(min(8, run.feed.steps))
        with streams.seeded(run.spec.train_seed, "init", streams.name_hash("prepare")), torch.no_grad():
            run.method.prepare(run.feed.batch(step) for step in steps)
        run.method.train()
        for number in range(WARM + 2):
            self._harness(self.eager, number)
            self._harness(run.loop, number)
        bare(run, self._batch)
        if run.loop.captured:
            self._replay = capture.record(lambda: bare(run, self._batch))
            for name in (
                "eager",
                "bare",
                "captured",
                "bare captured",
            ):  # a capture gives back what was kept for the others
                self.call(name)(0)

    def call(self, name: str) -> Callable[[int], None]:
        """What takes a step of this number in a variant."""
        if name == "captured":
            return lambda number: self._harness(self.run.loop, number)
        if name == "eager":
            return lambda number: self._harness(self.eager, number)
        if name == "bare":
            return lambda number: bare(self.run, self._batch)
        if name == "feed":
            return lambda number: self._feed(number)
        assert self._replay is not None
        replay = self._replay
        return lambda number: replay()

    def _harness(self, loop: Loop, number: int) -> None:
        """As `Run.train` takes a step."""
        torch.manual_seed(streams.seed_of(self.run.spec.train_seed, "method", number))
        loop(number % self.run.feed.steps)

    def _feed(self, number: int) -> None:
        self.run.feed.batch(number % self.run.feed.steps)


def bare(run: Run, batch: Batch) -> None:
    """A step of a run's network with nothing of the harness: losses, backward, the protocol's clip,
    optimiser, and what the method does after a step."""
    stepper, protocol = run.stepper, run.spec.protocol
    progress = torch.zeros((), device=stepper.device)
    with autocast(run.options.device, protocol.precision):
        losses = run.method.losses(batch, progress)
    stepper.optimiser.zero_grad(set_to_none=True)
    stepper.balancing.backward(losses, batch)
    if protocol.clip:
        parameters = [p for group in stepper.optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, protocol.clip, foreach=True)
    stepper.optimiser.step()
    run.method.after_step()


def build(
    subject: Subject, tasks: dict[str, Task], device: str, splits: Splits, notes: list[str], what: str = ""
) -> Case | None:
    """A case, or None with a note that says why there is none. what: what the study varies, for the note."""
    protocol = subject.protocol
    try:
        return Case(subject, tasks, device, splits.of(protocol, tasks))
    except Exception as error:  # a method's own failure must not take the others with it
        reason = (
            "out of memory"
            if execute.out_of_memory(error)
            else (str(error).splitlines() or [type(error).__name__])[0]
        )
        notes.append(f"{subject.name}{' at ' * bool(what)}{what} could not be measured: {reason}")
        return None
