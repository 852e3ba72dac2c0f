"""From a spec to a method with its initial weights."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import streams
from benchmark.errors import UserError, reason
from benchmark.spec import registry
from benchmark.spec import weighting as balance
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec
from datasets import labels
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Method, Problem
from methods.networks.build import make_encoder, read_state
from methods.networks.encoders import Trunk


def initialise(method: nn.Module, seed: int) -> None:
    """Draw each module's parameters from ("init", its path), the same for its name in every method.

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
            where = f"{type(module).__name__} at {path!r}" if path else type(module).__name__
            raise TypeError(
                f"{where} holds parameters but defines no reset_parameters(), so no seed could draw them; "
                f"put them into a module that defines it and draws them there, such as one of torch.nn"
            )


def build_method(
    spec: RunSpec,
    tasks: dict[str, Task],
    shares: Tensor | None,
    weights: dict[str, Path],
    complete: bool = False,
) -> Method:
    """Return the method of a spec with its initial weights, on the CPU.

    shares: (T,) for the `fraction` setting, else None. complete: of `Problem`, for its losses; the weights do
    not depend on it.
    """
    protocol = spec.protocol

    def encoder() -> Any:
        with streams.seeded(spec.train_seed, "init", streams.name_hash("trunk")):
            file, options = weights.get(protocol.weights), {"freeze": protocol.freeze}
            return make_encoder(protocol.encoder, protocol.width, protocol.weights, file, **options)

    own = replace(problem(protocol, tasks), make_encoder=encoder, label_shares=shares, complete=complete)
    with streams.seeded(spec.train_seed, "init"):
        method = registry.method(spec.method)(own, **spec.hyperparameters)
    initialise(method, spec.train_seed)
    if protocol.init != "none":
        _take_over(method, weights[protocol.init])
    return method


@torch.no_grad()
def _take_over(method: Method, file: Path) -> None:
    """Copy what a finished run's network and this one both have. Raises `UserError` for another encoder."""
    state, own = read_state(file), method.state_dict()
    shared = {name for name, value in own.items() if name in state and state[name].shape == value.shape}
    shared.discard("updates")  # of a moving average, which begins anew
    encoder = [name for name in own if name.startswith("encoder.")] or list(own)
    if missing := [name for name in encoder if name not in shared]:
        raise UserError(
            f"init = {file} has no {missing[0]} of the shape of this encoder; name the weights.pt of a "
            "finished run with the same encoder and width."
        )
    for name in shared:
        own[name].copy_(state[name])


def problem(protocol: Protocol, tasks: dict[str, Task]) -> Problem:
    """Return what a method is built of, with an encoder at random weights."""
    return Problem(
        tasks,
        protocol.size,
        protocol.width,
        protocol.decoder_blocks,
        lambda: make_encoder(protocol.encoder, protocol.width, freeze=protocol.freeze),
        protocol.loss_weights,
    )


def check_method(spec: RunSpec, tasks: dict[str, Task]) -> None:
    """Raise the `UserError` that building a method would raise, at next to no cost."""
    if spec.kinds and (spec.balance == "amtl_g" or spec.weighting.get("scores")):
        unknown = f"it is not known which pixels of {', '.join(spec.kinds)} are right"
        raise UserError(f"balance {spec.balance} asks for scores, and {unknown}; use another balance.")
    with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
        own = problem(spec.protocol, {name: tasks[name] for name in spec.tasks})
        try:
            method = registry.method(spec.method)(own, **spec.hyperparameters).eval()
            trunks = [module for module in method.modules() if isinstance(module, Trunk)]
            for trunk in trunks if spec.protocol.encoder.startswith("timm:") else ():  # the rest is known
                maps = trunk(torch.zeros(1, 3, *own.size))
                if [m.shape[1] for m in maps] != list(trunk.channels):
                    raise ValueError(f"the encoder's features are {[tuple(m.shape) for m in maps]}")
        except UserError:
            raise
        except Exception as error:  # the method's own, or its encoder's
            raise UserError(
                f"{spec.method} with encoder {spec.protocol.encoder} at {own.size[0]}x{own.size[1]} cannot "
                f"be built ({reason(error, named=True)[:160]}); change its hyperparameters, the "
                "encoder or the size."
            ) from error
        balance.check_method(spec.balance, method)


def check_labels(spec: RunSpec, train: Split, test: Split) -> Tensor:
    """Return the label mask (N, T) of a run, over the protocol's whole task set.

    Raises `UserError` where a task has no label to learn from or to be tested on.
    """
    columns = [list(train.targets).index(name) for name in spec.protocol.tasks]
    frozen = train.frozen(spec.protocol.tasks)
    drawn = (spec.labels, spec.label_seed, frozen, train.source)
    mask = labels.sample(train.ids, train.available[:, columns], *drawn)
    for name in spec.tasks:
        if not bool(test.available[:, list(test.targets).index(name)].any()):
            raise UserError(
                f"none of the {len(test)} test images has a label for {name}; set test_images higher."
            )
        if not bool(mask[:, spec.protocol.tasks.index(name)].any()):
            raise UserError(
                f"no image carries a label for {name} under labels = {spec.labels!r}; use more labels or "
                f"images, or leave it out with --set tasks=[...]."
            )
    return mask


def normalisation(method: Method) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) that the method's encoder wants its images normalised by."""
    trunk = next(module for module in method.modules() if isinstance(module, Trunk))
    return trunk.mean, trunk.std


def init_hashes(method: nn.Module) -> dict[str, str]:
    """Return {child: hash of its parameters and buffers}, the children of module tables one by one."""
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
