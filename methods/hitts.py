"""HiTTs (Zhang, Ye, Li, Wang, Xu, ACM MM 2025): labels discovered by task tokens in two levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from methods.base import Batch, Diagnostic, Losses, Problem, View
from methods.networks import averaged, inspection
from methods.networks.pseudo_labels import SEARCH, PseudoLabels, ramp, trusted_shares, warp
from methods.networks.token_network import State, TokenNetwork

EDGE_CONFIDENCE = 0.95  # 2 |p - 0.5| > 0.9


class HiTTs(TokenNetwork):
    """Discover labels by hierarchical task tokens and a teacher, in a single stage.

    A global token a task gates the shared feature (`GlobalTokens`), a head refines token and feature together
    and predicts by fine-grained tokens (`TokenHead`); regressions are expectations over bins (`Bins`), which
    gives them a confidence. A teacher labels what is unlabelled where it is confident (`PseudoLabels`), and
    the student's features follow the teacher's where its token's score is high:

        features = ramp feature_weight sum_t mean_b mean_pos[q mean_c (f' - f'_teacher)^2],

    q = 1 for labelled tasks, the teacher's score for others. The student sees a crop of what the teacher
    sees, whose values, confidences, features and scores are warped into it.

    Departures:
        HiTTs' code: two stages of equal length, the first one's network frozen as the teacher of a new one;
            here one stage and a moving average, so that the budget is every method's.
        HiTTs' code: the same crop for both; here a second view, as an average nearly equals its student.
        HiTTs' code: four scales of a ResNet-18 and an ASPP of width 256; here the protocol's encoder at
            stride 8, as the published ViT variant has one scale, its width and its decoder.
        HiTTs' code: losses of pseudo-labels over all pixels; here over the trusted ones.
        HiTTs' code: a regression's pseudo-label loss times its confidence; here it is trusted or not.
        HiTTs' code: fixed ranges of depth; here the outer quantiles of visible labels.
        HiTTs' code: a fixed table of 40 normals, some of which no surface can have; here Fibonacci points.
        HiTTs' code: tokens that were never trained and averaged over the batch; here each learns.
        HiTTs' code: saliency's pseudo-labels that were all 0, and edges trusted where unsure; here mended.
    """

    own_kinds = False
    summary = "task tokens gate features and predict; a teacher labels where classes and bins are sure"
    paper = "Zhang et al.: Multi-Task Label Discovery via Hierarchical Task Tokens, ACM MM 2025"
    version: ClassVar[int] = 2
    views: ClassVar[int] = 1
    search: ClassVar[dict[str, tuple[Any, ...]]] = {
        key: SEARCH[key] for key in ("weight", "confidence", "ramp_up")
    } | {"feature_weight": (0.0, 0.25, 0.5, 1.0, 2.0), "certainty": (0.5, 0.7, 0.85, 0.95)}
    updates: Tensor

    def __init__(
        self, problem: Problem, *,
        tokens: bool = True, bins: bool = True, pseudo: bool = True, features: bool = True,
        weight: float = 1.0, feature_weight: float = 1.0, bins_weight: float = 0.1, edge_weight: float = 0.05,
        confidence: float = 0.9, certainty: float = 0.85, window: bool = False, agreement: float = 0.1,
        ramp_up: float = 0.25, decay: float = 0.999, evaluate: Literal["teacher", "student"] = "teacher",
    ) -> None:  # fmt: skip
        """Raise `UserError` for a value out of range, or features without tokens.

        Args:
            tokens: have task tokens; without any of the four parts this is `multi_task`.
            bins: predict regressions by bins.
            pseudo: learn the teacher's pseudo-labels.
            features: let features follow the teacher's.
            weight: factor of the loss on pseudo-labels, at its full height.
            feature_weight: weight of the loss on features.
            bins_weight: weight of the loss on bins.
            edge_weight: weight of boundaries among the pseudo-labels.
            confidence: least probability of a class.
            certainty: least confidence of a regression's bins.
            window: count the neighbours of the likeliest bin to its confidence.
            agreement: largest difference of a regression's two predictions, without bins.
            ramp_up: share of training over which weight and feature_weight grow.
            decay: share of the moving average that a step keeps, once it has grown.
            evaluate: whose predictions count.
        """
        super().__init__(problem, tokens, bins)
        own = (agreement, ramp_up, certainty, EDGE_CONFIDENCE, edge_weight)
        self.pseudo_labels = PseudoLabels("hitts", weight, confidence, *own)
        rules = {
            f"decay must be at least 0 and below 1, not {decay}": 0 <= decay < 1,
            "feature_weight and bins_weight must not be negative": min(feature_weight, bins_weight) >= 0,
            "features = true needs tokens = true, which bring the features' score": tokens or not features,
        }
        for sentence, holds in rules.items():
            if not holds:
                raise UserError(f"hitts: {sentence}; change the hyper-parameter.")
        self.pseudo, self.feature_weight, self.bins_weight = pseudo, feature_weight, bins_weight
        self.features, self.window, self.decay = features, window, decay
        self.teacher = (
            TokenNetwork(problem, tokens, bins).requires_grad_(False) if pseudo or features else None
        )
        self.asks_teacher = evaluate == "teacher" and self.teacher is not None
        if self.teacher is None:
            self.views = 0  # type: ignore[misc]  # nothing would read the second view
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        if self.teacher is None:
            first = self.run(batch.images)
            return self._supervised(first, batch)
        view = batch.views[0]
        first, second = self.run(torch.cat([batch.images, view.images])).chunk()
        found, taught = self._supervised(first, batch), self.taught(batch.images)
        if self.pseudo:
            found.extra["pseudo"] = self.pseudo_labels.loss(
                self.problem, taught.predictions, second.predictions, view, batch.labelled, progress,
                self.confidences(taught),
            )  # fmt: skip
        if self.features:
            grown = self.feature_weight * ramp(progress, self.pseudo_labels.ramp_up)
            found.extra["features"] = grown * self.feature_loss(second, taught, view, batch.labelled)
        return found

    def _supervised(self, state: State, batch: Batch) -> Losses:
        found = Losses(self.problem.task_losses(state.predictions, batch, batch.labelled))
        if self.bins:
            found.extra["bins"] = self.bins_weight * self.bins.loss(state.logits, batch)
        return found

    def confidences(self, state: State) -> dict[str, Tensor]:
        """Measure each regression's confidence (B, 1, H, W), if there are bins."""
        return self.bins.confidences(state.logits, self.window)

    @staticmethod
    def feature_loss(online: State, taught: State, view: View, labelled: Tensor) -> Tensor:
        """Compute sum_t mean_b mean_pos[q mean_c (f' - f'_teacher)^2], the teacher's warped into the view.

        What lies outside an image in its frame, exactly the mean colour, takes no part in the mean.
        """
        terms = []
        shown = (view.images != 0).any(1).to(torch.promote_types(view.images.dtype, torch.float32))
        for t, name in enumerate(online.features):
            own = torch.cat([taught.features[name], taught.scores[name]], 1)
            warped = warp(own.to(torch.promote_types(own.dtype, torch.float32)), view.geometry)
            share = torch.where(labelled[:, t, None, None], 1, warped[:, -1])
            apart = (online.features[name].to(warped) - warped[:, :-1]).square().mean(1)
            inside = F.adaptive_avg_pool2d(shown[:, None], (apart.shape[1], apart.shape[2]))[:, 0]
            of_samples = (inside * share * apart).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1e-6)
            terms.append(of_samples.mean())
        return torch.stack(terms).sum()

    @torch.no_grad()
    def taught(self, images: Tensor) -> State:
        """Run the teacher, moving its BatchNorm statistics in training."""
        assert self.teacher is not None
        return self.teacher.run(images)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        return self.taught(images).predictions if self.asks_teacher else super().predict(images)

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Place the bins, and make the teacher a copy of the student."""
        self.bins.place(batches)
        if self.teacher is not None:
            averaged.start(self.teacher, self)

    def after_step(self) -> None:
        """Move the average."""
        if self.teacher is not None:
            averaged.move(self.teacher, self, self.updates, self.decay)

    def param_groups(self) -> list[dict[str, Any]]:
        """Spare the global tokens weight decay."""
        table = [] if self.tokens is None else list(self.tokens.table.parameters())
        ids = {id(p) for p in table}
        rest = {"params": [p for p in self.parameters() if p.requires_grad and id(p) not in ids]}
        return [rest, {"params": table, "weight_decay": 0.0}] if table else [rest]

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        own = [self.encoder, self.tokens, self.decoders, self.heads, self.bins]
        return [m for m in ([self.teacher] if self.asks_teacher else own) if m is not None]

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure the shares of trusted pixels, the tokens' norms, scores, and whether f' collapses."""
        found: dict[str, Tensor] = {}
        if self.tokens is not None:
            found["token norm"] = self.tokens.table.values.norm(dim=1).mean()
        if self.teacher is None:
            return inspection.scalars(found)
        view, taught = batch.views[0], self.taught(batch.images)
        second = self.run(view.images)
        if self.pseudo:
            given = (taught.predictions, second.predictions, view, self.confidences(taught))
            found |= trusted_shares(
                self.problem.tasks, self.pseudo_labels.targets(self.problem.tasks, *given)
            )
        for name, feature in second.features.items():
            found[f"feature variance, {name}"] = feature.transpose(0, 1).flatten(1).var(1).mean()
            found[f"teacher score, {name}"] = taught.scores[name].mean()
        return inspection.scalars(found)
