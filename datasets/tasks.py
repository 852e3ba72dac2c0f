"""Tasks: channels, missing labels, primary metrics; `datasets.kinds` says what their maps hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor

from benchmark.errors import UserError
from datasets import kinds
from datasets.kinds import Kind, OwnKind, kind_of

IGNORE = kinds.IGNORE


@dataclass(frozen=True)
class Task:
    """Describe one dense prediction task.

    name: its name in specs, records and tables. kind: what its maps hold. channels: of the prediction
    (classes' logits, one logit, metres, or a vector that the reader normalises). metric: the primary metric,
    one that `benchmark.metrics.maps` computes for the kind. higher_is_better: the metric's direction.
    classes: names, for pictures. tolerance: how far a boundary may be off for the exact metric, as a share of
    the diagonal. inverse: depth maps hold inverse depth (disparity), which grows as things come nearer. span:
    range of values that pictures of depth show.
    """

    name: str
    kind: str
    channels: int
    metric: str
    higher_is_better: bool
    unit: str = ""
    classes: tuple[str, ...] = ()
    tolerance: float = 0.0075
    inverse: bool = False
    span: tuple[float, float] = (0.0, 8.0)

    @property
    def sign(self) -> int:
        """Return +1 when a higher metric is better, else -1."""
        return 1 if self.higher_is_better else -1

    @property
    def maps(self) -> Kind:
        """Return what maps of its kind hold. Raises `UserError` for a kind that is not here."""
        return kind_of(self.kind)

    @property
    def own_kind(self) -> OwnKind | None:
        """Return the kind of a plug-in that it is of; None for a kind of this program."""
        return maps if isinstance(maps := self.maps, OwnKind) else None

    @property
    def target_channels(self) -> int:
        """Count the channels of a target."""
        return self.maps.target_channels

    @property
    def is_map_of_integers(self) -> bool:
        """Tell whether targets hold classes or 0 and 1."""
        return self.maps.integers

    @property
    def ignore(self) -> float:
        """Return the value that a target has where there is no label."""
        return self.maps.ignore

    def valid(self, target: Tensor) -> Tensor:
        """Tell where a target (B, C, H, W) carries a label; (B, 1, H, W) bool."""
        return self.maps.valid(target)


def as_dict(task: Task) -> dict[str, Any]:
    """Turn a task into plain values, as stores and records hold it."""
    return asdict(task) | {"classes": list(task.classes), "span": list(task.span)}


def from_dict(values: dict[str, Any]) -> Task:
    """Make the task of `as_dict`; `KeyError`, `TypeError` or `ValueError` for values of none."""
    low, high = values["span"]
    own = {field.name: values[field.name] for field in fields(Task)}
    return Task(**own | {"classes": tuple(values["classes"]), "span": (low, high)})


def semseg(classes: tuple[str, ...]) -> Task:
    """Describe semantic segmentation."""
    return Task("semseg", "classes", len(classes), "mIoU", True, "%", classes)


def parts(classes: tuple[str, ...]) -> Task:
    """Describe parts of people."""
    return Task("parts", "classes", len(classes), "mIoU", True, "%", classes)


def depth() -> Task:
    """Describe depth in metres."""
    return Task("depth", "depth", 1, "absErr", False, "m")


def inverse_depth() -> Task:
    """Describe disparity, as Cityscapes has it: no unit, larger is nearer."""
    return Task("depth", "depth", 1, "absErr", False, "", inverse=True, span=(0.0, 0.3))


def normals() -> Task:
    """Describe surface normals."""
    return Task("normals", "normals", 3, "mErr", False, "deg")


def saliency() -> Task:
    """Describe salient objects."""
    return Task("saliency", "saliency", 1, "maxF", True, "%")


def edge(tolerance: float = 0.0075) -> Task:
    """Describe boundaries, by boundaryF unless a protocol asks for odsF.

    tolerance: maxDist of odsF, 0.0075 for PASCAL and 0.011 for NYUv2 as SEISM and ATRC have it.
    """
    return Task("edge", "edge", 1, "boundaryF", True, "%", tolerance=tolerance)


def own(kind: str, name: str = "") -> Task:
    """Describe a task of a kind of a plug-in. Raises `UserError` for a kind that is not one."""
    maps = kind_of(kind)
    if not isinstance(maps, OwnKind):
        raise UserError(f"{kind} is not a kind of a plug-in; name one that is.")
    metric, of = next(iter(maps.metrics.items()))
    return Task(name or kind, kind, maps.channels, metric, of.higher_is_better, of.unit, span=maps.span)
