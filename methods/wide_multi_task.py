"""Multi-task learning with wider decoders: a control of equal size for methods with more parameters."""

from __future__ import annotations

from torch import nn

from benchmark.errors import UserError
from methods.base import Problem
from methods.multi_task import MultiTask
from methods.networks.decoders import Decoder, Head


class WideMultiTask(MultiTask):
    """Train `multi_task` with decoders of another width, each after a 1x1 convolution of the shared feature.

    Chosen so that it ships as many parameters as another method, it says what those alone are worth: a gain
    that it shows too is none of the other's idea.

    Departures:
        Published comparisons: their rows differ in parameters; this one can have as many as another.
    """

    summary = "multi_task with wider decoders: a control of equal size"
    paper = "control"

    def __init__(self, problem: Problem, *, factor: float = 1.25) -> None:
        """Build the network.

        Args:
            factor: width of decoders over that of the shared feature; at 1 it is `multi_task`.
        """
        super().__init__(problem)
        if not 0 < factor <= 100:
            raise UserError(
                f"wide_multi_task: hyper-parameter factor must be above 0 and at most 100, not {factor}."
            )
        width = max(1, round(factor * problem.width))
        if width == problem.width:
            return
        self.decoders = nn.ModuleDict({name: self._decoder(width) for name in problem.tasks})
        tasks = problem.tasks.items()
        self.heads = nn.ModuleDict({name: Head(width, task.channels, problem.size) for name, task in tasks})

    def _decoder(self, width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(self.problem.width, width, 1), Decoder(width, self.problem.blocks))
