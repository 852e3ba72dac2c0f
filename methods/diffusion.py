"""Multi-task denoising diffusion (DiffusionMTL: Ye and Xu, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from benchmark import streams
from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Batch, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks.decoders import upsampled
from methods.networks.denoiser import Denoiser, Schedule

Noise = Callable[[Tensor, int], Tensor]


class DiffusionMTL(MultiTask):
    """Denoise noisy states of `multi_task`'s predictions or features.

    The denoiser estimates the clean state x_0 from the noisy x_t, conditioned on the preliminary predictions
    of all tasks, of which it sees raw maps at the feature's size, detached. x_(T-1) is drawn from the
    preliminary state, x_(t-1) from the posterior given the estimate, and the estimate at t = 0 is the result.
    Gradients pass through all steps. There is no loss on the noise: the supervised losses are on the result
    and, times aux_weight, on the preliminary predictions.

    In feature space a further head predicts from the result. In prediction space the state is the task's
    prediction at the feature's size, as `as_state` scales it; the denoiser gives the prediction itself, and
    its `as_state` is the estimate: on raw logits the noise would mean less and less as they grow.

    Version 1 had another head, pooling, time network and noise schedule, and attention with biases.

    Departures:
        DiffusionMTL's code: labelled tasks alone are denoised; here all, at weight 0, as shapes must not
            depend on data.
        DiffusionMTL's code: test noise is drawn anew; here a function of step, channel and place, the same
            for any image.
        DiffusionMTL's code: features must be a multiple of 4 high and wide; here a quarter of others is
            rounded up.
        DiffusionMTL's paper, without code for space = "prediction": `as_state` is chosen here, the paper has
            no scale.
        DiffusionMTL's code: it ends in a ReLU, as features do; in prediction space none, as logits have a
            sign.
    """

    own_kinds = False
    summary = (
        "multi_task, and a denoiser of every task's feature or prediction, conditioned on all "
        "preliminary predictions"
    )
    paper = (
        "Ye, Xu: DiffusionMTL: Learning Multi-Task Denoising Diffusion Model from Partially Annotated "
        "Data, CVPR 2024"
    )
    version: ClassVar[int] = 2
    # Factors of both betas could cross, and beta_start must not be above beta_end.
    search: ClassVar[dict[str, tuple[Any, ...]]] = {
        "beta_start": (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
        "beta_end": (5e-3, 1e-2, 2e-2, 4e-2, 8e-2),
        "aux_weight": (0.125, 0.25, 0.5, 1.0, 2.0),
    }

    def __init__(
        self,
        problem: Problem,
        *,
        space: Literal["feature", "prediction"] = "feature",
        steps: int = 2,
        beta_start: float = 1e-3,
        beta_end: float = 1e-2,
        width: int | None = None,
        blocks: int = 4,
        heads: int = 4,
        aux_weight: float = 0.5,
    ) -> None:
        """Raise `UserError` for a value out of range.

        Args:
            space: what is diffused: the task's feature, or its prediction at the feature's size.
            steps: T, the number of steps of the diffusion.
            beta_start: variance of the noise of the first step; roots of the variances are evenly spaced.
            beta_end: variance of the noise of the last step.
            width: channels of the denoiser, none for the protocol's; 512 for both as published.
            blocks: number of the denoiser's attention blocks.
            heads: number of heads of its attention; they divide the width.
            aux_weight: weight of the supervised losses of the preliminary predictions.
        """
        super().__init__(problem)
        width = problem.width if width is None else width
        if min(steps, width, blocks, heads) < 1 or aux_weight < 0 or not 0 < beta_start <= beta_end < 1:
            raise UserError(
                "diffusion: steps, width, blocks and heads must be at least 1, aux_weight not negative, and "
                "0 < beta_start <= beta_end < 1; change the hyper-parameter."
            )
        if width % heads:
            raise UserError(
                f"diffusion: width must be a multiple of heads, not {width} for {heads} heads; change either."
            )
        self.steps, self.aux_weight, self.of_features = steps, aux_weight, space == "feature"
        self.schedule = Schedule(steps, beta_start, beta_end)
        predicted = [task.channels for task in problem.tasks.values()]
        channels = [problem.width] * len(predicted) if self.of_features else predicted
        self.denoiser = Denoiser(channels, sum(predicted), width, blocks, heads, signed=not self.of_features)
        refined = problem.tasks.items() if self.of_features else ()
        self.refined_heads = nn.ModuleDict({name: problem.make_head(task) for name, task in refined})

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """Draw noise from the global generator, all states at once a step."""
        maps, result = self.run(
            batch.images, lambda state, t: torch.randn(state.shape, dtype=state.dtype, device=state.device)
        )
        tasks = self.problem.task_losses(result, batch, batch.labelled)
        preliminary = self.problem.task_losses(self.upsampled(maps), batch, batch.labelled)
        return Losses(tasks, {"preliminary": self.aux_weight * torch.stack([*preliminary.values()]).sum()})

    def run(self, images: Tensor, noise: Noise) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Predict, preliminarily (B, C_t, h, w) and denoised at full size.

        noise: for a state (B, S, h, w) at t.
        """
        shared = self.encoder(images)
        features = [self.decoders[name](shared) for name in self.problem.tasks]
        heads = [self.heads.get_submodule(f"{name}.conv") for name in self.problem.tasks]
        maps = [head(feature) for head, feature in zip(heads, features, strict=True)]
        known = self.denoiser.known(torch.cat(maps, 1).detach())
        clean = self.state(features if self.of_features else maps)
        last = self.steps - 1
        state = self.schedule.diffuse(clean, last, noise(clean, last))
        for t in range(last, 0, -1):
            clean = self.state(self.denoiser(state, known, t))
            state = self.schedule.reverse(clean, state, t, noise(state, t - 1))
        estimates = self.denoiser(state, known, 0)
        if not self.of_features:
            return maps, self.upsampled(estimates)
        return maps, {
            name: head(x) for (name, head), x in zip(self.refined_heads.items(), estimates, strict=True)
        }

    def state(self, parts: list[Tensor]) -> Tensor:
        """Join features or predictions, as states, to (B, S, h, w).

        In float32 or better, one task after another.
        """
        if not self.of_features:
            parts = [as_state(task, x) for task, x in zip(self.problem.tasks.values(), parts, strict=True)]
        joined = torch.cat(parts, 1)
        return joined.to(torch.promote_types(joined.dtype, torch.float32))

    def upsampled(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Resize every task's map to the images' size."""
        size = self.problem.size
        return {name: upsampled(x, size) for name, x in zip(self.problem.tasks, maps, strict=True)}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        return self.run(images, lambda state, t: evaluation_noise(state, t, self.denoiser.channels))[1]


def as_state(task: Task, prediction: Tensor) -> Tensor:
    """Scale a prediction (B, C, h, w) to about 1.

    Probabilities, depth over its span's end, or vectors of unit length.
    """
    prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    if task.kind == "classes":
        return prediction.softmax(1)
    if task.kind in ("edge", "saliency"):
        return prediction.sigmoid()
    if task.kind == "depth":
        return prediction / task.span[1]
    return prediction * prediction.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()


def evaluation_noise(state: Tensor, t: int, channels: list[int]) -> Tensor:
    """Compute normal noise (1, S, h, w), the same in every image and task.

    It comes from the stream "evaluation noise", whose numbers are the same on every device.
    """
    c, y, x = (torch.arange(n, device=state.device) for n in (max(channels), *state.shape[2:]))
    bits = streams.bits(0, "evaluation noise", t, c[:, None, None], y[:, None], x)
    table = torch.special.ndtri((bits.to(torch.float64) + 0.5) / 2.0**32)  # strictly inside (0, 1)
    return torch.cat([table[:n] for n in channels])[None].to(state.dtype)
