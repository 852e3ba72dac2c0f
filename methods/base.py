"""The one protocol between harness and method.

The harness hides labels, draws randomness, steps the optimiser and judges. A method turns a batch into named
losses and images into predictions. Nothing a method is given holds a label that its run may not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from datasets.augment import Augmentation
from datasets.tasks import Task
from methods.losses import per_sample_loss, sample_weights
from methods.networks.decoders import Decoder, Head
from methods.networks.encoders import Encoder


@dataclass(frozen=True)
class View:
    """Hold a further augmentation of a batch's samples, as a `ViewKind` has it.

    A crop of the first view's crop, or the same pixels; its colours drawn anew. images: (B, 3, H, W)
    normalised. targets: {task: (B, C, H, W)} in the view's own geometry, hidden labels replaced by the ignore
    value. geometry: (B, 2, 3) affine map from the view's normalised coordinates (x, y in [-1, 1], as
    `torch.nn.functional.affine_grid` has them) to those of the first view. erased: (B, 1, H, W) bool, the
    pixels that a cut-out erased; None without one.
    """

    images: Tensor
    targets: dict[str, Tensor]
    geometry: Tensor
    erased: Tensor | None = None


@dataclass(frozen=True)
class ViewKind:
    """Describe a further view that a method asks for.

    crop: cut it out of the first view's crop; False shows the first view's pixels, so that predictions for
    both correspond pixel by pixel. colour: largest relative change of brightness, contrast and saturation,
    below 1; None for the protocol's. cutout: side of one erased square as a share of the image's shorter
    side, below 1; its pixels are exactly 0, the encoder's mean colour, and keep their targets. Raises
    `UserError` for a colour or cutout out of range.
    """

    crop: bool = True
    colour: float | None = None
    cutout: float = 0.0

    def __post_init__(self) -> None:
        self.augmentation(Augmentation())

    def augmentation(self, config: Augmentation) -> Augmentation:
        """Return what is drawn for it under a protocol's augmentation."""
        config = config if self.crop else replace(config, scales=(1.0,), uniform=False)
        return replace(
            config, colour=config.colour if self.colour is None else self.colour, cutout=self.cutout
        )


def view_kinds(views: int | tuple[ViewKind, ...]) -> tuple[ViewKind, ...]:
    """List the further views that a method's `views` asks for."""
    return (ViewKind(),) * views if isinstance(views, int) else views


@dataclass(frozen=True)
class Batch:
    """Hold what a method sees of B samples; T tasks as in `Problem.tasks`.

    images: (B, 3, H, W) normalised for the encoder. targets: {task: (B, C, H, W)}, hidden labels ALREADY
    replaced by the ignore value. labelled: (B, T) bool on the device; labelled_host: the same on the CPU, so
    that presence is known without a sync. index: (B,) int64 stable sample numbers. views: the further views
    that the method's `views` asks for. A method with `uses_teacher = True` sees a `TaughtBatch`.
    """

    images: Tensor
    targets: dict[str, Tensor]
    labelled: Tensor
    labelled_host: Tensor
    index: Tensor
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Say what is to be learnt and what the protocol fixes for all methods.

    tasks: {name: Task} in a fixed order. size: (H, W) of images and predictions, in pixels. width: channels C
    of the shared feature and of every decoder. blocks: residual blocks a decoder. make_encoder: builds the
    protocol's encoder, with its pretrained weights if it has any. loss_weights: {task: w_t}. label_shares:
    (T,) share of images labelled for each task under `fraction`, else None. complete: the run's labels are
    complete (`datasets.labels.complete`), so that a rule about labels that are missing has nothing to go by.
    observers: the harness's own; each is called with what `task_losses` is called with.
    """

    tasks: dict[str, Task]
    size: tuple[int, int]
    width: int
    blocks: int
    make_encoder: Callable[[], Encoder]
    loss_weights: dict[str, float]
    label_shares: Tensor | None = None
    complete: bool = False
    observers: list[Callable[[dict[str, Tensor], Batch | View], None]] = field(
        default_factory=list, compare=False, repr=False
    )

    def make_decoder(self) -> Decoder:
        """Make a decoder: shared feature (B, C, h, w) to task feature alike."""
        return Decoder(self.width, self.blocks)

    def make_head(self, task: Task) -> Head:
        """Make a head: task feature to prediction (B, task.channels, H, W)."""
        return Head(self.width, task.channels, self.size)

    def task_losses(
        self, predictions: dict[str, Tensor], batch: Batch | View, labelled: Tensor
    ) -> dict[str, Tensor]:
        """Compute {task: scalar}, by the one reduction that all methods share.

        (1/B) sum_b w_t weight_bt loss_t(b), with `sample_weights` and `per_sample_loss`. labelled: (B, T)
        bool.
        """
        for observe in self.observers:
            observe(predictions, batch)
        weights = sample_weights(labelled, self.label_shares)
        return {
            name: self.loss_weights.get(name, 1.0)
            * (weights[:, t] * per_sample_loss(task, predictions[name], batch.targets[name])).mean()
            for t, (name, task) in enumerate(self.tasks.items())
        }


@dataclass(frozen=True)
class Losses:
    """Hold a batch's losses, whose sum is minimised.

    tasks: {task: scalar} supervised; extra: {name: scalar}, already weighted. scores: {task: scalar in [0,
    1]}, how well visible labels are predicted, for weightings that ask; without them they are measured on
    what `Problem.task_losses` is first called with in a step.
    """

    tasks: dict[str, Tensor]
    extra: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)

    def total(self) -> Tensor:
        """Add up all of them."""
        return torch.stack([*self.tasks.values(), *self.extra.values()]).sum()


@dataclass(frozen=True)
class Diagnostic:
    """Hold a named array for the report, which draws it by kind.

    labels: names of the rows and columns, or of the bins. axes: what the rows and columns are.
    """

    kind: Literal["matrix", "histogram", "scalar"]
    array: np.ndarray
    labels: tuple[tuple[str, ...], ...] = ()
    axes: tuple[str, ...] = ()


class Method(nn.Module):
    """Define a method: a network and its losses.

    Its keyword-only `__init__` parameters with defaults are its schema. views: how many further views
    `losses` wants, each a crop of the first in the protocol's colours; or a tuple that says what each of them
    is, such as `(ViewKind(crop=False, colour=0.8, cutout=0.5),)`.

    search: {hyperparameter: values} that `bench tune` draws from, the default among them. Where it is empty,
    every one whose type is a number with a fraction is searched at a quarter to four times its value, which
    does not suit probabilities and other numbers with a bound.

    own_kinds: False where parts know only the kinds of tasks of this program; such a method is left out of
    runs with others (`datasets.kinds.OwnKind`).

    Override `losses` and `predict`; the rest is optional. `losses` must not synchronise with the host and
    must not have shapes that depend on data: mask and average, never index with booleans. Every parameter
    that is not part of a module with `reset_parameters` belongs into a module that defines one, so that the
    harness can draw it from its own stream.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    views: ClassVar[int | tuple[ViewKind, ...]] = 0
    one_task: ClassVar[bool] = False
    own_kinds: ClassVar[bool] = True
    search: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """Compute the losses of one batch.

        progress: 0-d tensor, the share of the budget spent, in [0, 1].
        """
        raise NotImplementedError

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Predict {task: (B, C, H, W)} for images (B, 3, H, W).

        Class logits, logits, metres, or vectors that need not have unit length.
        """
        raise NotImplementedError

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        """Yield parameters that several tasks share, for gradient aggregation.

        Default: those of the attribute `encoder`.
        """
        encoder = getattr(self, "encoder", None)
        return encoder.parameters() if isinstance(encoder, nn.Module) else iter(())

    def param_groups(self) -> list[dict[str, Any]]:
        """Group all trainable parameters.

        {"params": [...], "lr_scale": 1.0, "weight_decay": None for the protocol's}.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Prepare training with its first batches, under its own random stream."""

    def after_step(self) -> None:
        """Update what is no parameter, after each step, without gradients."""

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """Say why this method cannot run on these tasks, or None."""
        return None

    def inference_modules(self) -> list[nn.Module]:
        """List the modules that `predict` needs, which a user ships.

        Default: all of the method.
        """
        return [self]

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Compute named arrays about a fixed batch, in evaluation mode."""
        return {}
