"""Kinds of tasks: what their maps hold, of the kinds here and of one's own in plug-ins."""

from __future__ import annotations

import inspect
import math
import sys
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark import PLUGIN
from benchmark.errors import UserError

IGNORE = 255


class Kind:
    """Say what maps hold: one number a pixel, finite and not 0 where there is a label, unless said otherwise.

    integers: classes, or 0 and 1. regression: learnt as numbers, not as a choice. ignore: the value without
    a label. stored: the compact dtype of `Split`; float16 metres are good to 0.05 %, int8 normals to 0.4
    degrees. target_channels: of a target.
    """

    integers: ClassVar[bool] = False
    regression: ClassVar[bool] = True
    ignore: ClassVar[float] = 0
    stored: ClassVar[torch.dtype] = torch.float16
    target_channels: ClassVar[int] = 1

    def valid(self, target: Tensor) -> Tensor:
        """Tell where a target (B, C, H, W) carries a label; (B, 1, H, W) bool. NaN and infinity never do."""
        return (target != 0) & (target - target == 0)  # half the kernels of torch.isfinite

    def compact(self, values: Tensor) -> Tensor:
        """Turn a map (H, W) or (H, W, C) as readers have it into a compact one (C, H, W)."""
        return values[None].to(self.stored)

    def widen(self, target: Tensor) -> Tensor:
        """Turn a compact target into the dtype that losses and metrics take; no bit of a wide one changes."""
        return target.to(torch.float32)

    def moved(self, target: Tensor, zoom: Tensor, sign: Tensor, inverse: bool) -> Tensor:
        """Return the wide target of a view: what a zoom and a flip do to values. zoom, sign: (B, 1, 1, 1)."""
        return self.widen(target)


class Integers(Kind):
    """Hold classes, 255 where there is no label."""

    integers, ignore, stored, regression = True, IGNORE, torch.uint8, False

    def valid(self, target: Tensor) -> Tensor:
        """See `Kind.valid`."""
        return target != IGNORE

    def widen(self, target: Tensor) -> Tensor:
        """Return int64."""
        return target.long()


class Depth(Kind):
    """Hold metres, or inverse depth, 0 where there is no label."""

    def moved(self, target: Tensor, zoom: Tensor, sign: Tensor, inverse: bool) -> Tensor:
        """Divide depth by the zoom."""
        wide = self.widen(target)
        return wide * zoom.float() if inverse else wide / zoom.float()


class Normals(Kind):
    """Hold unit vectors in camera axes (x right, y down, z forward), (0, 0, 0) where there is no label."""

    stored, target_channels = torch.int8, 3

    def valid(self, target: Tensor) -> Tensor:
        """See `Kind.valid`."""
        return (target != 0).any(1, keepdim=True) & (target - target == 0).all(1, keepdim=True)

    def compact(self, values: Tensor) -> Tensor:
        """Return 127 times the vectors."""
        return (values * 127).round_().to(self.stored).permute(2, 0, 1)

    def widen(self, target: Tensor) -> Tensor:
        """Return unit float32 vectors."""
        if target.dtype == torch.float32:
            return target
        vectors = target.to(torch.float32)
        # Vectors of length 0 (unknown) stay exactly 0. `norm` over a strided dimension is sixty times slower
        # on a CPU.
        return vectors / vectors.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)

    def moved(self, target: Tensor, zoom: Tensor, sign: Tensor, inverse: bool) -> Tensor:
        """Turn x where the view is mirrored."""
        mirror = torch.cat([sign, torch.ones_like(sign), torch.ones_like(sign)], 1).to(target.dtype)
        return self.widen(target * mirror + 0)  # + 0 turns the -0.0 of an unknown, mirrored normal into 0.0


class OwnKind(Kind, ABC):
    """Define a kind of one's own in a plug-in, whose file's name is the kind's.

    Maps hold any numbers, NaN in a channel where a pixel has no label, and a prediction is in the same units.
    summary: one line. channels: of maps and predictions. metrics: {name: subclass of
    `benchmark.metrics.own.Metric` of this kind}, the primary one first. span: what pictures show.
    """

    ignore = math.nan
    summary: ClassVar[str]
    channels: ClassVar[int] = 1
    metrics: ClassVar[dict[str, Any]]
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def target_channels(self) -> int:  # type: ignore[override]
        """Return `channels`."""
        return self.channels

    def valid(self, target: Tensor) -> Tensor:
        """See `Kind.valid`."""
        return (target - target == 0).all(1, keepdim=True)

    def compact(self, values: Tensor) -> Tensor:
        """See `Kind.compact`; of (H, W, C)."""
        return values.permute(2, 0, 1).to(self.stored)

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return each sample's loss (B,), exactly 0 without a label.

        prediction: (B, C, H, W), float32 at least. target: alike, 0 where there is no label. valid: (B, 1, H,
        W) bool, where there is one.
        """


KINDS: dict[str, Kind] = {
    "classes": Integers(), "depth": Depth(), "normals": Normals(), "saliency": Integers(), "edge": Integers(),
}  # fmt: skip


@cache
def _made(kind: type[OwnKind]) -> OwnKind:
    return kind()


def own_class(module: Any) -> type[OwnKind] | None:
    """Return the first kind that a module defines, None where it has none."""
    found = (kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, OwnKind))
    return next((kind for kind in found if kind.__module__ == module.__name__), None)


def kind_of(name: str) -> Kind:
    """Return a kind of this program, or of a plug-in in use. Raises `UserError` for another."""
    if name in KINDS:
        return KINDS[name]
    module = sys.modules.get(PLUGIN + name)
    if module is None or (kind := own_class(module)) is None:
        raise UserError(f"{name} is no kind of task here; one of your own needs --plugin {name}.py.")
    return _made(kind)


def names() -> list[str]:
    """Name all kinds, those of plug-ins in use last."""
    plugins = [(name, module) for name, module in list(sys.modules.items()) if name.startswith(PLUGIN)]
    return [*KINDS, *sorted(name.removeprefix(PLUGIN) for name, module in plugins if own_class(module))]
