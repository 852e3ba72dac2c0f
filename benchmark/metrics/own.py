"""Metrics of plug-ins: one more number of every task of a kind, beside those of the task's meter."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import UserError, reason
from benchmark.metrics.base import Meter
from benchmark.typed import Attributes
from datasets import kinds
from datasets.tasks import Task


def are_bounds(value: Any) -> bool:
    """Tell whether a value is two numbers, the least first."""
    pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    return pair and bool(value[0] < value[1])


# What a metric's class must say of itself.
ATTRIBUTES: Attributes = {
    "kind": (
        f"one of {', '.join(kinds.KINDS)}, or of a plug-in in use",
        lambda value: value in kinds.names(),
    ),
    "columns": ("a whole number from 1 to 100000", lambda value: type(value) is int and 1 <= value <= 10**5),
    "summary": ("a line of text", lambda value: bool(value) and str(value).isprintable()),
    "higher_is_better": ("True or False", lambda value: isinstance(value, bool)),
    "unit": ("a short unit, such as %", lambda value: bool(re.fullmatch(r"[\w %/.^°-]{0,20}", str(value)))),
    "bounds": ("a pair of two numbers, the least first", are_bounds),
}


@dataclass(frozen=True)
class Metric(ABC):
    """Compute one metric of one's own, from sums over the test images.

    kind: of the tasks that it is computed for. columns: how many numbers `per_image` gives. summary: one
    line. unit: "%", "m" or the like. bounds: the least and greatest value. task: the one in hand.
    """

    task: Task
    kind: ClassVar[str]
    columns: ClassVar[int]
    summary: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str] = ""
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    @abstractmethod
    def per_image(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return (B, columns) float64: numbers of each image that may be added up; 0 without a label.

        prediction: raw network output (B, C, H, W), any float dtype. target: (B, C', H, W) as
        `Task.maps.widen` makes it; `self.task.valid(target)` tells where it carries a label.
        """

    @abstractmethod
    def pooled(self, sums: np.ndarray) -> float:
        """Return the metric of summed numbers (columns,), of images with a labelled pixel."""


@dataclass(frozen=True)
class Extended(Meter):
    """A task's meter, with metrics of plug-ins behind its own; their columns come last."""

    base: Meter
    own: dict[str, Metric]

    @property
    def stored(self) -> int:
        """Those of the task's meter alone."""
        return self.base.stored

    def _statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        found = self.base.statistics(prediction, target)
        labelled = self.task.valid(target).flatten(1).any(1, keepdim=True)
        more = [torch.where(labelled, m.per_image(prediction, target), 0) for m in self.own.values()]
        return torch.cat([found, *more], 1)

    def values(self, sums: np.ndarray) -> dict[str, float]:
        """As `Meter.values`; those of the plug-ins come last, and not of the stored columns alone."""
        return self._values(sums)  # also without a labelled pixel, of which each part knows

    def _values(self, sums: np.ndarray) -> dict[str, float]:
        if len(sums) == self.stored:
            return self.base.values(sums)
        ends = np.cumsum([metric.columns for metric in self.own.values()])
        first = len(sums) - int(ends[-1])
        base, own = sums[:first], np.split(sums[first:], ends[:-1])
        more = {
            name: float(metric.pooled(part)) if base.any() else math.nan
            for (name, metric), part in zip(self.own.items(), own, strict=True)
        }
        return self.base.values(base) | more


def extended(base: Meter, more: dict[str, type[Metric]]) -> Meter:
    """Return a task's meter with the metrics of plug-ins that are of its kind, each tried on a small map.

    Raises `UserError` for a metric that cannot be computed, before a run has spent hours.
    """
    task, own = base.task, {}
    blank = torch.full((2, task.target_channels, 16, 16), task.ignore, dtype=task.maps.stored)
    target = task.maps.widen(blank)
    for name, kind in (more | (task.own_kind.metrics if task.own_kind else {})).items():
        if kind.kind != task.kind:
            continue
        try:
            if name in base.values(np.zeros(base.stored)):
                raise ValueError(f"tasks of kind {task.kind} have a metric {name} already; rename the file")
            own[name] = kind(task)
            found = own[name].per_image(torch.zeros(2, task.channels, 16, 16), target)
            if found.shape != (2, kind.columns) or found.dtype != torch.float64:
                here = f"{tuple(found.shape)} {found.dtype}"
                raise ValueError(f"per_image() gives {here}, not {(2, kind.columns)} torch.float64")
        except Exception as error:  # whatever a plug-in's code raises
            raise UserError(f"the metric {name} fails ({reason(error)}); `bench check` says more.") from error
    return Extended(task, base, own) if own else base
