"""One optimisation step, with static shapes and without a host sync."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.spec.protocol import Protocol
from benchmark.spec.weighting import EQUAL
from benchmark.training.device import autocast
from benchmark.training.weighting import make
from benchmark.training.weighting.base import Balancing
from methods.base import Batch, Losses, Method
from methods.networks.encoders import Trunk

OPTIMISERS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def make_optimiser(
    method: Method, protocol: Protocol, balancing: Balancing | None = None
) -> torch.optim.Optimizer:
    """Return the protocol's optimiser over the groups of the method, and after them of the balancing.

    What a frozen encoder keeps is left out. Where the trunk of the encoder has a rate of its own, its part of
    each group follows that group. Raises `TypeError` unless the method's groups hold each of its trainable
    parameters once.
    """
    groups = [g | {"params": [p for p in g["params"] if p.requires_grad]} for g in method.param_groups()]
    listed = [id(p) for group in groups for p in group["params"]]
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    if len(listed) != len(set(listed)) or set(listed) != trainable:
        name = type(method).__name__
        raise TypeError(f"param_groups() of {name} must hold every trainable parameter exactly once")
    if protocol.encoder_lr_scale != 1:
        trunks = (module for module in method.modules() if isinstance(module, Trunk))
        trunk = {id(p) for module in trunks for p in module.pretrained()}
        groups = [part for group in groups for part in _parted(group, trunk, protocol.encoder_lr_scale)]
    device = next(method.parameters()).device
    prepared = []
    for group in [*groups, *(balancing.param_groups() if balancing else [])]:
        rate, decay = torch.zeros((), dtype=torch.float32, device=device), group.get("weight_decay")
        decay = protocol.weight_decay if decay is None else decay
        own = {"lr": rate, "lr_scale": group.get("lr_scale", 1.0), "weight_decay": decay}
        prepared.append({"params": list(group["params"]), **own})
    # Capturable: counts of steps stay on the device. SGD has none.
    extra = {"momentum": 0.9} if protocol.optimiser == "sgd" else {"capturable": device.type == "cuda"}
    optimiser: torch.optim.Optimizer = OPTIMISERS[protocol.optimiser](prepared, fused=True, **extra)
    return optimiser


def _parted(group: dict[str, Any], trunk: set[int], scale: float) -> list[dict[str, Any]]:
    """The rest of a group, and its parameters in the trunk with their rate scaled, where there are any."""
    inside, outside = ([p for p in group["params"] if (id(p) in trunk) == there] for there in (True, False))
    scaled = group.get("lr_scale", 1.0) * scale
    parts = [group | {"params": outside}, group | {"params": inside, "lr_scale": scaled}]
    return [part for part in parts if part["params"]]


def lr_factor(protocol: Protocol, step: int, steps: int) -> float:
    """Return the learning rate of a step relative to the protocol's `lr`."""
    if protocol.schedule == "poly":
        return float((1 - step / steps) ** protocol.poly_power)
    if protocol.schedule == "step":
        return float(protocol.step_factor ** math.floor(step / steps * protocol.epochs / protocol.step_every))
    return 1.0


class Step:
    """Losses, backward, clip and update of one batch.

    Everything a step decides stays on the device: its number `at`, what depends on that (learning rates and
    progress, from tables), and whether it counts: once a loss term or the gradient norm is not finite,
    `latch` keeps that step and term, and the fused optimiser's `found_inf` stops every later update. `read`
    is the only host sync.
    """

    def __init__(
        self, method: Method, protocol: Protocol, steps: int, balance: str = EQUAL, lr_scale: float = 1.0,
        weighting: Mapping[str, Any] = {},
    ) -> None:  # fmt: skip
        """lr_scale: of this run's learning rate over the protocol's. weighting: hyperparameters of the
        balance that are away from their defaults.
        """
        self.method, self.protocol, self.steps = method, protocol, steps
        self.balancing = make(balance, method, protocol, steps, weighting)
        self.optimiser = make_optimiser(method, protocol, self.balancing)
        self.device = next(method.parameters()).device
        self.latch = torch.full((2,), -1, dtype=torch.int64, device=self.device)  # first bad step, its term
        self.names: tuple[str, ...] = ()
        # Of each term since the last `read`.
        self.sums = torch.zeros(0, dtype=torch.float64, device=self.device)
        self.optimiser.found_inf = torch.zeros((), device=self.device)  # type: ignore[attr-defined]
        self.optimiser.grad_scale = None  # type: ignore[attr-defined]
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)
        factors = torch.tensor([lr_factor(protocol, n, steps) for n in range(steps)], dtype=torch.float64)
        scales = [protocol.lr * lr_scale * group["lr_scale"] for group in self.optimiser.param_groups]
        rates = torch.stack([scale * factors for scale in scales])  # (groups, steps)
        self._rates = rates.float().to(self.device)
        self._progress = (torch.arange(steps, dtype=torch.float64) / steps).float().to(self.device)

    def __call__(self, batch: Batch, step: int) -> None:
        """Take the step of this number, counted from 0, on its batch."""
        self.at.fill_(step)
        self.advance(batch)

    def advance(self, batch: Batch) -> None:
        """Take the step that `at` counts.

        Nothing in it depends on a value that the host knows, so a CUDA graph may repeat it.
        """
        rates = self._rates.index_select(1, self.at)
        torch._foreach_copy_([g["lr"] for g in self.optimiser.param_groups], rates[:, 0].unbind())
        progress = self._progress.index_select(0, self.at)[0]
        self.balancing.begin()
        with autocast(str(self.device), self.protocol.precision):
            losses = self.method.losses(batch, progress)
        terms = self._terms(losses)
        self.optimiser.zero_grad(set_to_none=True)
        self.balancing.backward(losses, batch)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=True)
        if self.protocol.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.protocol.clip, norm, foreach=True)
        self._watch(terms.detach(), norm.detach())
        self.optimiser.step()
        self.method.after_step()

    def _terms(self, losses: Losses) -> Tensor:
        named = losses.tasks | losses.extra
        if not self.names:
            self.names = tuple(named)
            if not self.sums.numel():
                self.sums = torch.zeros(len(named), dtype=torch.float64, device=self.device)
        if tuple(named) != self.names or len(named) != len(losses.tasks) + len(losses.extra):
            raise TypeError(
                f"losses() of {type(self.method).__name__} must name the same terms, each once, in every step"
            )
        return torch.stack(list(named.values()))

    def _watch(self, terms: Tensor, norm: Tensor) -> None:
        values = torch.cat([terms, norm.view(1).to(terms)])
        bad = values - values != 0  # as infinity and NaN alone less themselves are not 0
        newly = bad.any() & (self.latch[0] < 0)
        found = torch.cat([self.at, bad.int().argmax().view(1)])
        torch.where(newly, found, self.latch, out=self.latch)
        torch.ge(self.latch[0], 0, out=self.optimiser.found_inf)  # type: ignore[attr-defined]
        self.sums += terms

    def read(self, count: int) -> dict[str, float]:
        """Return {term: mean over the `count` steps since the last read}; synchronise with the device."""
        means = (self.sums / max(1, count)).tolist()
        self.sums.zero_()
        return dict(zip(self.names, means, strict=True))

    def failure(self) -> tuple[int, str] | None:
        """Return (step, term) that first was not finite, or None; synchronise with the device."""
        step, term = (int(v) for v in self.latch.tolist())
        return None if step < 0 else (step, (*self.names, "the gradient's norm")[term])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        state = {"optimiser": self.optimiser.state_dict(), "sums": self.sums, "names": list(self.names)}
        return state | {"balancing": self.balancing.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; one of earlier code has no state of the balancing, nor needs it."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.balancing.load_state_dict(state.get("balancing", {}))
        self.sums.resize_(len(state["names"])).copy_(state["sums"])
        self.names = tuple(state["names"])
