"""Knowledge retrieval from learned task tokens: the prototype model's transformer without its prototypes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.errors import UserError
from datasets.tasks import Task
from methods.base import Batch, Diagnostic, Problem
from methods.multi_task import MultiTask
from methods.networks import inspection
from methods.networks.prototypes import Slots
from methods.networks.retrieval import Retrieval as Transformer


class Retrieval(MultiTask):
    """Put the knowledge-retrieval transformer before `multi_task`'s heads.

    It controls for what `prototype` gains by its retrieval block alone: more capacity and attention behind
    the decoders, under the task losses only. No codebook, reconstruction, TKE, TC or affinity. Task t's keys
    are tokens w_t1 ... w_tT of its own, the same in every image, where `prototype` has A^t_1 v_1 ... A^t_T
    v_T (its affinity_level = "slots") or their sum at each position. `prototype` with all its other parts off
    still has an affinity, so its keys follow the image, and with cross_attention = "constant" it has no keys
    to choose from: this lies between the two.

    Departures:
        The prototype paper: it has no such row; this is a control of ours for what its ablation leaves open.
    """

    summary = (
        "each task retrieves knowledge from learned tokens of its own: the prototype model's block "
        "without prototypes"
    )
    paper = "control for Oh, Kim, Kim (AAAI 2026)"

    def __init__(
        self, problem: Problem, *, token_dim: int = 1024, width: int = 512, blocks: int = 2, heads: int = 8
    ) -> None:
        """Raise `UserError` for a value out of range.

        Args:
            token_dim: d, the length of the tokens, as `prototype`'s proto_dim.
            width: channels of the transformer's tokens.
            blocks: number of blocks of the transformer.
            heads: number of heads of its attention; they divide the width.
        """
        super().__init__(problem)
        if min(token_dim, width, blocks, heads) < 1 or width % heads:
            raise UserError(
                f"retrieval: token_dim, width, blocks, heads = {token_dim}, {width}, {blocks}, {heads} must "
                "be at least 1, and width a multiple of heads; change the hyper-parameter."
            )
        t = len(problem.tasks)
        self.tokens = Slots(t * t, token_dim)
        self.retrieval = Transformer(problem.width, token_dim, width, blocks, heads)
        # Which of the T T tokens are the T keys of each task: (T, T, T T).
        self.chosen: Tensor
        self.register_buffer("chosen", torch.eye(t * t).view(t, t, t * t), persistent=False)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        shared = self.encoder(images)
        features = torch.stack([self.decoders[name](shared) for name in self.problem.tasks], 1)
        keys = self.chosen.expand(len(images), *self.chosen.shape).flatten(0, 1)
        refined = self.retrieval(features.flatten(0, 1), keys, self.tokens.values).view_as(features)
        return {
            name: self.heads[name](x) for name, x in zip(self.problem.tasks, refined.unbind(1), strict=True)
        }

    def param_groups(self) -> list[dict[str, Any]]:
        """Spare the tokens weight decay, as the prototypes."""
        tokens = list(self.tokens.parameters())
        rest = [p for name, p in self.named_parameters() if not name.startswith("tokens.")]
        return [{"params": rest}, {"params": tokens, "weight_decay": 0.0}]

    @classmethod
    def skip(cls, tasks: dict[str, Task]) -> str | None:
        """See `Method.skip`."""
        return (
            None
            if len(tasks) > 1
            else "it retrieves what other tasks' tokens hold, so it needs at least two tasks"
        )

    def diagnostics(self, batch: Batch) -> dict[str, Diagnostic]:
        """Measure the entropy of each cross-attention.

        1 is an average over all tokens, whatever the feature asks.
        """
        with inspection.cross_attention(self.retrieval) as found:
            self.predict(batch.images)
        return found
