"""The network of HiTTs, of which student and teacher have one each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from methods.base import Problem
from methods.multi_task import MultiTask
from methods.networks.bins import BinTable
from methods.networks.decoders import upsampled
from methods.networks.task_tokens import GlobalTokens, TokenHead


class State(NamedTuple):
    """Hold one forward pass, by task: predictions at full size, and what they come from at the feature's.

    logits: (B, K, h, w) of the regressions' bins; features: f' (B, C, h, w); scores: (B, 1, h, w).
    """

    predictions: dict[str, Tensor]
    logits: dict[str, Tensor]
    features: dict[str, Tensor]
    scores: dict[str, Tensor]

    def chunk(self) -> tuple[State, State]:
        """Part the two halves of the batch."""
        halves = [[{name: x.chunk(2)[i] for name, x in part.items()} for part in self] for i in (0, 1)]
        return State(*halves[0]), State(*halves[1])


class TokenNetwork(MultiTask):
    """Build the network of HiTTs, with or without its tokens and its bins; without both `multi_task`'s."""

    def __init__(self, problem: Problem, tokens: bool, binned: bool) -> None:
        super().__init__(problem)
        c = problem.width
        self.bins = BinTable(problem, binned)
        self.tokens = GlobalTokens(c, len(problem.tasks)) if tokens else None
        for name, task in problem.tasks.items():
            predicted = len(self.bins.of(name).centres) if name in self.bins else task.channels
            if tokens:
                self.heads[name] = TokenHead(c, predicted)
            elif name in self.bins:
                self.heads[name] = nn.Conv2d(c, predicted, 1)

    def run(self, images: Tensor) -> State:
        """Compute predictions and what they come from."""
        state, shared = State({}, {}, {}, {}), self.encoder(images)
        inputs, tokens = [shared] * len(self.heads), []
        if self.tokens is not None:
            inputs, tokens = self.tokens(shared)
        for t, (name, head) in enumerate(self.heads.items()):
            feature = self.decoders[name](inputs[t])
            if self.tokens is None:
                found = head(feature)
            else:
                found, state.features[name], state.scores[name] = head(feature, tokens[t])
            if name in self.bins:
                state.logits[name] = found
                found = self.bins.of(name).value(found)
            state.predictions[name] = upsampled(found, self.problem.size)
        return state

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """See `Method.predict`."""
        return self.run(images).predictions
