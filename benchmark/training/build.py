"""From a spec to a method with its initial weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import streams
from benchmark.spec import registry
from benchmark.spec import weighting as balance
from benchmark.spec.run import RunSpec
from datasets.tasks import Task
from methods.base import Method, Problem
from methods.networks.build import make_encoder
from methods.networks.encoders import Trunk


def initialise(method: nn.Module, seed: int) -> None:
    """Draw every module's parameters from ("init", its path), so that modules of one name start equal in
    every method.

    Trunks draw or load their own when they are built. Raises `TypeError` for parameters outside a module with
    `reset_parameters`, which could not be drawn again.
    """
    trunks = tuple(path for path, module in method.named_modules() if isinstance(module, Trunk))
    for path, module in method.named_modules():
        if any(path == trunk or path.startswith(trunk + ".") for trunk in trunks):
            continue
        if hasattr(module, "reset_parameters"):
            with streams.seeded(seed, "init", streams.name_hash(path)):
                module.reset_parameters()
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(
                f"{type(module).__name__} at {path!r} holds parameters but defines no reset_parameters()"
            )


def build_method(
    spec: RunSpec,
    tasks: dict[str, Task],
    shares: Tensor | None,
    weights: dict[str, Path],
    complete: bool = False,
) -> Method:
    """The method of a spec with its initial weights, on the CPU. shares: (T,) for the `fraction` setting,
    else None. complete: of `Problem`, for its losses; the weights do not depend on it."""
    protocol = spec.protocol

    def encoder() -> Any:
        with streams.seeded(spec.train_seed, "init", streams.name_hash("trunk")):
            return make_encoder(
                protocol.encoder,
                protocol.width,
                protocol.weights,
                weights.get(protocol.weights),
                freeze=protocol.freeze,
            )

    problem = Problem(
        tasks,
        protocol.size,
        protocol.width,
        protocol.decoder_blocks,
        encoder,
        protocol.loss_weights,
        shares,
        complete,
    )
    with streams.seeded(spec.train_seed, "init"):
        method = registry.method(spec.method)(problem, **spec.hyperparameters)
    initialise(method, spec.train_seed)
    return method


def check_method(spec: RunSpec, tasks: dict[str, Task]) -> None:
    """Raise the `UserError` that a method's keywords or its balance would raise when it is built, at next to
    no cost.
    """
    protocol = spec.protocol
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        problem = Problem(
            {name: tasks[name] for name in spec.tasks}, protocol.size, protocol.width,
            protocol.decoder_blocks,
            lambda: make_encoder(protocol.encoder, protocol.width, freeze=protocol.freeze),
            protocol.loss_weights,
        )  # fmt: skip
        balance.check_method(spec.balance, registry.method(spec.method)(problem, **spec.hyperparameters))


def normalisation(method: Method) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that the method's encoder wants its images normalised by."""
    trunk = next(module for module in method.modules() if isinstance(module, Trunk))
    return trunk.mean, trunk.std


def init_hashes(method: nn.Module) -> dict[str, str]:
    """{child: hash of its parameters and buffers}; the children of module tables are listed one by one."""
    children: dict[str, nn.Module] = {}
    for name, child in method.named_children():
        table = isinstance(child, nn.ModuleDict)
        parts = child.items() if table else ()  # type: ignore[operator]
        children |= {f"{name}.{key}": part for key, part in parts} if table else {name: child}
    return {name: _state_hash(child) for name, child in children.items()}


def _state_hash(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
