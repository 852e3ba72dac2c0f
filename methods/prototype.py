"""Task prototype-based knowledge retrieval (Oh, Kim and Kim, AAAI 2026).

Tasks are related by prototypes, not by predictions.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Batch, Diagnostic, Losses, Problem
from methods.multi_task import MultiTask
from methods.networks import inspection
from methods.networks.codebook import Codebook, Mode, Quantised
from methods.networks.image_decoder import ImageDecoder
from methods.networks.prototypes import Level, Prototypes, task_consistency, task_embedding, wide
from methods.networks.retrieval import Retrieval


class State(NamedTuple):
    """Hold one forward pass.

    f^i, f^q, f^t (B, T, C, h, w), log A (B, T, slots, N), and f^tr of f^t's shape.
    """

    shared: Tensor
    quantised: Quantised | None
    features: Tensor
    log_affinity: Tensor | None
    refined: Tensor


class Prototype(MultiTask):
    """Retrieve knowledge for each task from prototypes, by attention.

    f^e + f^q, reconstruction (TAE), task prototypes with TKE and TC, the knowledge-retrieval transformer,
    heads. The paper's rows: (a) every switch off, which is `multi_task`; (b) vq and tae on (also its row
    without prototypes); (c) all but tc; (d) all. Controls that it lacks: affinity_level = "slots" (keys are
    the T prototypes, each times its mean affinity in the image), tke = tc = False (retrieval from prototypes
    that only the task losses train), cross_attention = "constant" (no retrieval, the rest of the transformer
    kept).

    Departures:
        The paper, without code: loss weights, temperature, margin, depth and width are not known; chosen
            here.
        The paper: triplets of an unknown kind; here of cosines, with the mean of the other samples as
            positive.
        The paper: codes of an unknown start; here encoder features, as small or random codes are hardly used.
        The paper: a projection of unknown sharing; here one without bias, as a task's own meets TKE by its
            bias.
        The paper: attention of unknown size; here full, at a quarter of the feature's size, as in
            DiffusionMTL.
        The paper: blocks of unknown sharing; here for all tasks, as its counts of parameters say, without
            dropout.
        The paper: weight decay on all, as far as known; here not on codes and prototypes, which it drags to
            0.
    """

    summary = "task prototypes and a codebook; each task retrieves knowledge from the prototypes by attention"
    paper = (
        "Oh, Kim, Kim: Task Prototype-Based Knowledge Retrieval for MTL from Partially Annotated Data, "
        "AAAI 2026"
    )

    def __init__(
        self, problem: Problem, *,
        vq: bool = True, tae: bool = True, tke: bool = True, tc: bool = True, retrieval: bool = True,
        cross_attention: Literal["affinity", "constant"] = "affinity",
        codes: int = 4096, vq_mode: Mode = "lookup",
        proto_dim: int = 1024, projection: Literal["shared", "per_task"] = "shared", kappa: float = 1.0,
        affinity_level: Level = "pixel", akg_tasks: Literal["all", "labelled"] = "all",
        detach_affinity: bool = False,
        width: int = 512, blocks: int = 2, heads: int = 8,
        lambda_tae: float = 1.0, lambda_akg: float = 1.0, tc_margin: float = 1.0, aux_weight: float = 0.0,
    ) -> None:  # fmt: skip
        """Raise `UserError` for a value out of range or a control whose part is switched off.

        Args:
            vq: add a code of the codebook to the shared feature.
            tae: rebuild the image from it.
            tke: task knowledge embedding, the affinity's cross-entropy with the task.
            tc: task consistency, triplets of task vectors in a batch.
            retrieval: the transformer in front of the heads.
            cross_attention: what its blocks add: an answer by affinity, or a learned constant, the control.
            codes: K, the number of codes of the codebook.
            vq_mode: how codes learn: by their own gradient, by VQ-VAE's two losses, or as moving averages.
            proto_dim: d, the length of the prototypes.
            projection: share one map of task features to d among the tasks, or have one a task.
            kappa: temperature of the affinity's softmax.
            affinity_level: affinity of each position, of the whole image (one key, so attention weights do
                nothing),
                or of each prototype as a key of its own.
            akg_tasks: take TKE and TC over all samples and tasks, or over the labelled.
            detach_affinity: let no gradient through the features inside the affinity that retrieves; TKE
                keeps
                its own.
            width: channels of the transformer's tokens.
            blocks: number of blocks of the transformer.
            heads: number of heads of its attention; they divide the width.
            lambda_tae: weight of TAE.
            lambda_akg: weight of TKE and of TC.
            tc_margin: margin of the triplets, in 1 - cosine.
            aux_weight: weight of the supervised losses of preliminary heads on the task features.
        """
        super().__init__(problem)
        retrieves = retrieval and cross_attention == "affinity"
        _check(
            ("codes, proto_dim, width, blocks and heads must be at least 1",
             min(codes, proto_dim, width, blocks, heads) >= 1),
            ("kappa and tc_margin must be greater than 0", min(kappa, tc_margin) > 0),
            ("lambda_tae, lambda_akg and aux_weight must not be negative",
             min(lambda_tae, lambda_akg, aux_weight) >= 0),
            (f"width must be a multiple of heads, not {width} for {heads} heads", width % max(1, heads) == 0),
            ('cross_attention = "constant" needs retrieval = true',
             retrieval or cross_attention == "affinity"),
            ('affinity_level = "slots" needs retrieval = true from the affinity',
             retrieves or affinity_level != "slots"),
            ("detach_affinity = true needs retrieval = true from the affinity",
             retrieves or not detach_affinity),
            ("aux_weight > 0 needs retrieval = true, as heads are on f^t without it",
             retrieval or aux_weight == 0),
        )  # fmt: skip
        self.akg_tasks, self.detach, self.retrieves = akg_tasks, detach_affinity, retrieves
        self.tke, self.tc, self.tc_margin = tke, tc, tc_margin
        self.scales = {"tae": lambda_tae, "tke": lambda_akg, "tc": lambda_akg, "vq": 1.0, "aux": aux_weight}
        c, t = problem.width, len(problem.tasks)
        self.codebook = Codebook(codes, c, vq_mode) if vq else None
        self.image_decoder = ImageDecoder(c, problem.size) if tae else None
        self.prototypes = None
        maps = 1 if projection == "shared" else t
        if tke or tc or retrieves:
            self.prototypes = Prototypes(
                c, t, proto_dim, maps, kappa, affinity_level, with_slots=tke or retrieves
            )
        self.retrieval = (
            Retrieval(c, proto_dim if retrieves else None, width, blocks, heads) if retrieval else None
        )
        auxiliary = problem.tasks.items() if aux_weight > 0 else ()
        self.aux_heads = nn.ModuleDict({name: problem.make_head(task) for name, task in auxiliary})

    def run(self, images: Tensor) -> State:
        """Compute everything up to the heads."""
        shared = self.encoder(images)
        quantised = log_affinity = weights = values = None
        if self.codebook is not None:
            quantised = self.codebook(shared)
            shared = shared + quantised.features
        features = torch.stack([self.decoders[name](shared) for name in self.problem.tasks], 1)
        if self.prototypes is not None and self.prototypes.slots is not None:
            log_affinity = self.prototypes.log_affinity(features)
            if self.retrieves:
                used = self.prototypes.log_affinity(features, detach=True) if self.detach else log_affinity
                weights, values = (
                    self.prototypes.key_weights(used, features.shape[-2:]),
                    self.prototypes.values,
                )
        refined = features
        if self.retrieval is not None:
            refined = self.retrieval(features.flatten(0, 1), weights, values).view_as(features)
        return State(shared, quantised, features, log_affinity, refined)

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        """See `Method.losses`."""
        state = self.run(batch.images)
        tasks = self.problem.task_losses(self.heads_of(self.heads, state.refined), batch, batch.labelled)
        return Losses(
            tasks, {name: self.scales[name] * term for name, term in self.terms(state, batch)[0].items()}
        )

    def terms(self, state: State, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compute its own losses before their weights, and what else is known."""
        terms, seen = dict[str, Tensor](), dict[str, Tensor]()
        if state.quantised is not None and state.quantised.loss is not None:
            terms["vq"] = state.quantised.loss
        if self.image_decoder is not None:
            terms["tae"] = F.smooth_l1_loss(wide(self.image_decoder(state.shared)), batch.images)
        mask = wide(batch.labelled if self.akg_tasks == "labelled" else torch.ones_like(batch.labelled))
        if self.tke and state.log_affinity is not None:
            terms["tke"] = (task_embedding(state.log_affinity) * mask).sum() / mask.sum().clamp_min(1)
        if self.tc and self.prototypes is not None:
            vectors = self.prototypes.vectors(state.features)
            terms["tc"], seen["active triplets"] = task_consistency(vectors, mask, self.tc_margin)
        if self.aux_heads:
            preliminary = self.heads_of(self.aux_heads, state.features)
            terms["aux"] = torch.stack(
                [*self.problem.task_losses(preliminary, batch, batch.labelled).values()]
            ).sum()
        return terms, seen

    def heads_of(self, heads: nn.ModuleDict, features: Tensor) -> dict[str, Tensor]:
        """Predict from task features (B, T, C, h, w)."""
        return {
            name: heads[name](feature)
            for name, feature in zip(self.problem.tasks, features.unbind(1), strict=True)
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        return self.heads_of(self.heads, self.run(images).refined)

    @torch.no_grad()
    def prepare(self, batches: Iterator[Batch]) -> None:
        """Put the codes on encoder features of up to eight batches."""
        if self.codebook is None:
            return
        # In training mode, as at step 0, on a copy whose running averages may move.
        encoder = copy.deepcopy(self.encoder).train()
        features = [
            encoder(batch.images).permute(0, 2, 3, 1).flatten(0, 2) for batch in itertools.islice(batches, 8)
        ]
        self.codebook.place(torch.cat(features))

    def after_step(self) -> None:
        """Move the codes that are moving averages."""
        if self.codebook is not None and self.codebook.mode == "ema":
            self.codebook.update()

    def param_groups(self) -> list[dict[str, Any]]:
        """Spare codes and prototypes weight decay.

        Under Adam it would drag the unused ones to zero.
        """
        modules = (self.codebook, self.prototypes.slots if self.prototypes is not None else None)
        free = [p for m in modules if m is not None for p in m.parameters()]
        ids = {id(p) for p in free}
        rest = {"params": [p for p in self.parameters() if id(p) not in ids]}
        return [rest, {"params": free, "weight_decay": 0.0}] if free else [rest]

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return None if len(tasks) > 1 else "prototypes relate tasks, so it needs at least two"

    def inference_modules(self) -> list[nn.Module]:
        """See `Method.inference_modules`."""
        parts = [self.encoder, self.decoders, self.heads, self.codebook, self.retrieval]
        return [m for m in [*parts, self.prototypes if self.retrieves else None] if m is not None]

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure affinity, attention, codes, triplets and unweighted losses."""
        with inspection.cross_attention(self.retrieval) as found:
            state = self.run(batch.images)
        terms, seen = self.terms(state, batch)
        found |= inspection.scalars(seen | {f"{name} loss": term for name, term in terms.items()})
        found |= inspection.codes(self.codebook, state.quantised, state.shared)
        return found | inspection.affinity(state.log_affinity, tuple(self.problem.tasks))


def _check(*rules: tuple[str, bool]) -> None:
    """Raise `UserError` with the first sentence whose rule does not hold."""
    for sentence, holds in rules:
        if not holds:
            raise UserError(f"prototype: {sentence}; change the hyper-parameter.")
