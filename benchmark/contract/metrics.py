"""What every metric of a plug-in must keep, checked on maps that are made up here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.contract.checks import Finding, NoHost, NoSync, findings, require, require_tensor
from benchmark.metrics.own import Metric
from benchmark.training.timing import made_up_target
from datasets import tasks as t
from datasets.tasks import Task

SIZE = (32, 48)  # pixels of the maps
SURE = 30.0  # a logit whose probability is 1, to 13 digits
NOISE = (0.1, 0.5, 2.0)
TASKS = {
    "classes": t.semseg(("floor", "wall", "box", "ball")), "depth": t.depth(), "normals": t.normals(),
    "saliency": t.saliency(), "edge": t.edge(),
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A metric, and four images whose last has no label; the others have none in a corner, or all."""

    metric: Metric

    @property
    def task(self) -> Task:
        """The task in hand."""
        return self.metric.task

    @cached_property
    def target(self) -> Tensor:
        """(4, C', H, W) as metrics take it."""
        target = self.task.maps.widen(made_up_target(self.task, SIZE, 4))
        target[1:3, :, :20, :20], target[3] = self.task.ignore, self.task.ignore
        return target

    @cached_property
    def perfect(self) -> Tensor:
        """(4, C, H, W): the raw prediction that the truth is."""
        return self._raw(self.target)

    @cached_property
    def wrong(self) -> Tensor:
        """(4, C, H, W): nothing in it is right."""
        if self.task.is_map_of_integers:
            return self._raw((self.target + 1) % max(2, self.task.channels))
        if self.task.own_kind:
            return self.perfect + self.task.span[1] - self.task.span[0]
        return 3 * self.target + 1 if self.task.kind == "depth" else -self.target

    def _raw(self, target: Tensor) -> Tensor:
        if self.task.kind == "classes":
            known = target.clamp_max(self.task.channels - 1)[:, 0]
            return SURE * F.one_hot(known, self.task.channels).permute(0, 3, 1, 2).float()
        return SURE * (2 * (target == 1).float() - 1) if self.task.is_map_of_integers else target.nan_to_num()

    @cached_property
    def others(self) -> dict[str, Tensor]:
        """{words: (4, C, H, W)} of predictions that are not perfect, and what a network may say at first."""
        noise = torch.randn(self.perfect.shape, generator=torch.Generator().manual_seed(1))
        scale = SURE if self.task.is_map_of_integers else 1.0
        found = {f"the truth with noise of {s:g}": self.perfect + s * scale * noise for s in NOISE}
        flat = {"0 everywhere": 0.0, "-1 everywhere": -1.0, "1000 everywhere": 1000.0}
        found |= {words: torch.full_like(self.perfect, value) for words, value in flat.items()}
        return found | {"all wrong": self.wrong}

    def rows(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        """Return what the metric gives of each image."""
        return self.metric.per_image(prediction, self.target if target is None else target)

    def value(self, prediction: Tensor) -> float:
        """Return the metric of a prediction of all images."""
        return float(self.metric.pooled(self.rows(prediction).sum(0).numpy()))


def check(name: str, kind: type[Metric]) -> Iterator[Finding]:
    """Yield the findings of all checks; where the first fails, the rest is not tried."""
    return findings(
        CHECKS, Subject(kind(TASKS.get(kind.kind) or t.own(kind.kind))), first=(numbers_of_an_image,)
    )


def numbers_of_an_image(subject: Subject) -> None:
    """per_image() gives finite float64 numbers, `columns` an image, in whatever precision a prediction is."""
    for words, prediction in subject.others.items():
        for kind in (torch.float32, torch.bfloat16):
            rows = subject.rows(prediction.to(kind))
            shape = (len(prediction), subject.metric.columns)
            require_tensor("per_image()", rows, shape, (torch.float64,))
            require(torch.isfinite(rows).all(), f"it is not finite where the prediction is {words}, {kind}")


def no_label(subject: Subject) -> None:
    """An image without a label adds nothing: its numbers are 0."""
    row = subject.rows(subject.wrong)[3]
    require(not row.any(), f"an image without a label gives {row[row != 0][:3].tolist()}; mask with valid()")


def pooling(subject: Subject) -> None:
    """Images one by one give what they give at once, in any order."""
    for words, prediction in subject.others.items():
        whole = subject.rows(prediction)
        pairs = zip(prediction.split(1), subject.target.split(1), strict=True)
        alone = torch.cat([subject.rows(*pair) for pair in pairs])
        same = torch.allclose(whole, alone, rtol=1e-9, atol=1e-9)
        require(same, f"an image has other numbers in another batch (the prediction is {words})")
        both = [subject.metric.pooled(rows.sum(0).numpy()) for rows in (whole, alone.flip(0))]
        same = abs(both[0] - both[1]) <= 1e-6 * max(1.0, abs(both[0]))
        require(same, f"pooled() gives {both[0]:g} at once and {both[1]:g} one by one ({words})")


def unlabelled_pixels(subject: Subject) -> None:
    """What is predicted where there is no label moves nothing; not asked of boundaries."""
    if subject.task.kind != "edge":  # which are thinned, and matched with what is near
        known = subject.task.valid(subject.target)
        mixed = torch.where(known, subject.perfect, subject.wrong.roll(1, 2) + 1)
        same = torch.equal(subject.rows(subject.perfect), subject.rows(mixed))
        require(same, "other predictions at pixels without a label give other numbers; mask with valid()")


def perfect_prediction(subject: Subject) -> None:
    """The truth as the prediction has the best value there is, and better than what is all wrong."""
    sign = 1 if subject.metric.higher_is_better else -1
    best = subject.value(subject.perfect)
    words = "higher" if sign > 0 else "lower"
    for what, prediction in subject.others.items():
        value = subject.value(prediction)
        better = sign * (best - value) >= -1e-6 * max(1.0, abs(best))
        reason = f"the truth itself scores {best:g} and {what} {value:g}, though {words} is better"
        require(better and (what != "all wrong" or value != best), f"{reason}; see higher_is_better")


def bounds(subject: Subject) -> None:
    """Every value is a finite number within `bounds`."""
    low, high = subject.metric.bounds
    for words, prediction in {"the truth": subject.perfect, **subject.others}.items():
        value = subject.value(prediction)
        inside = low - 1e-9 <= value <= high + 1e-9 and abs(value) < float("inf")
        require(inside, f"{words} scores {value:g}, which is not in {low:g}..{high:g}")


def no_look_at_data(subject: Subject) -> None:
    """It waits for no number of the device, and no shape depends on data."""
    prediction, target = subject.wrong, subject.target
    with NoHost(), NoSync():
        subject.rows(prediction, target)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    numbers_of_an_image, no_label, pooling, unlabelled_pixels, perfect_prediction, bounds, no_look_at_data,
)  # fmt: skip
