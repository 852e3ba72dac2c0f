"""A tiny made-up data set with all six tasks, and tiny problems on it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.contract.checks import Finding
from benchmark.runs.claim import Claim
from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.protocol import Protocol
from benchmark.spec.registry import method as method_class
from benchmark.spec.registry import resolve_hyperparameters
from benchmark.spec.run import RunSpec
from benchmark.training.loop import Interrupted, Options, Run
from datasets import tasks as t
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Problem, View
from methods.networks.encoders import Encoder, Small
from methods.networks.taught import TaughtBatch

SIZE = (32, 64)
TASKS: dict[str, Task] = {
    "semseg": t.semseg(("wall", "floor", "box", "ball")),
    "depth": t.depth(),
    "normals": t.normals(),
    "edge": t.edge(),
    "saliency": t.saliency(),
    "parts": t.parts(("none", "head", "body")),
}
THREE = ("semseg", "depth", "normals")
FOUR = (*THREE, "edge")  # one of each kind of head: what else six tasks have, `multi_task` has too
# Keywords that make a method's own networks small; everything else stays at its default.
SMALL: dict[str, dict[str, Any]] = {
    "direct_map": {"mapper_width": 4},
    "jtr": {"ae_width": 2},
    "mtpsl": {"mapper_width": 4},
    "perceptual_map": {"mapper_width": 4},
    "prototype": {"codes": 16, "proto_dim": 16, "width": 16, "heads": 2},
    "rdc": {"mapper_width": 2},
    "retrieval": {"token_dim": 16, "width": 16, "heads": 2},
}


def tiny_split(count: int = 12, seed: int = 0, size: tuple[int, int] = SIZE) -> Split:
    """Coloured blocks with matching labels; parts exist in every third image."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 4, (count, 1, size[0] // 8, size[1] // 8), generator=g)
    classes = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    noise = torch.randint(0, 64, (count, 3, *size), generator=g)
    images = (classes * torch.tensor([60, 40, 20]).view(1, 3, 1, 1) + noise).clamp(0, 255).to(torch.uint8)
    vectors = [0.3 * classes[:, 0] - 0.4, classes[:, 0] * 0.1, -torch.ones(count, *size)]
    normals = torch.nn.functional.normalize(torch.stack(vectors, 1))
    edge = torch.zeros_like(classes)
    edge[..., 1:] |= (classes[..., 1:] != classes[..., :-1]).long()
    unknown = torch.full_like(classes, 255)
    parts = torch.where(torch.arange(count).view(-1, 1, 1, 1) % 3 == 0, classes % 3, unknown)
    semseg = torch.where(torch.rand(classes.shape, generator=g) < 0.05, unknown, classes)
    targets = {
        "semseg": semseg.to(torch.uint8),
        "depth": ((classes + 1) * 0.8 * (torch.rand(classes.shape, generator=g) > 0.05)).half(),
        "normals": (normals * 127).round().to(torch.int8),
        "edge": edge.to(torch.uint8),
        "saliency": (classes == 3).to(torch.uint8),
        "parts": parts.to(torch.uint8),
    }
    available = torch.ones(count, len(TASKS), dtype=torch.bool)
    available[:, 5] = torch.arange(count) % 3 == 0
    names = tuple(f"tiny-{i}" for i in range(count))
    made = Split(torch.arange(count) * 7 + 3, names, images, targets, available, f"tiny-{count}-{seed}")
    return replace(made, teacher={name: maps.roll(1, 0) for name, maps in targets.items()})


def tiny_batch(
    names: tuple[str, ...],
    labelled: Tensor,
    seed: int = 0,
    views: int = 0,
    dtype: torch.dtype = torch.float64,
) -> TaughtBatch:
    """A batch of `labelled` (B, T) samples of `tiny_split`, hidden labels replaced by the ignore value."""

    def view(which: int, shown: Tensor = labelled) -> View:
        split = tiny_split(len(labelled), seed + which)
        targets = {}
        for i, name in enumerate(names):
            values = TASKS[name].maps.widen(split.targets[name])
            if name == "normals":  # made unit in `dtype`: float32's last bit is not that of every processor
                values = torch.nn.functional.normalize(split.targets[name].to(dtype), dim=1)
            hidden = ~shown[:, i].view(-1, 1, 1, 1)
            values = torch.where(hidden, torch.full_like(values, TASKS[name].ignore), values)
            targets[name] = values.to(dtype) if values.is_floating_point() else values
        geometry = torch.eye(2, 3, dtype=dtype).repeat(len(labelled), 1, 1)
        return View((split.images.to(dtype) / 255 - 0.45) / 0.25, targets, geometry)

    first = view(0)
    more = tuple(view(100 * (i + 1)) for i in range(views))
    index, teacher = torch.arange(len(labelled)), view(50, torch.ones_like(labelled)).targets
    return TaughtBatch(first.images, first.targets, labelled, labelled, index, more, teacher)


def tiny_problem(names: tuple[str, ...] = THREE, width: int = 8, **changes: Any) -> Problem:
    problem = Problem(
        {n: TASKS[n] for n in names}, SIZE, width, 1, lambda: Encoder(Small(), width), {"normals": 2.0}
    )
    return replace(problem, **changes)


def tiny_protocol(**changes: Any) -> Protocol:
    values: dict[str, Any] = dict(
        name="tiny", tasks=THREE, size=SIZE, encoder="small", width=8, decoder_blocks=1, batch=4, epochs=3.0,
        lr=2e-3,
        scales=(1.0, 1.2), reference="single_task", baseline="multi_task",
    )  # fmt: skip
    return Protocol(**values | changes)


def tiny_spec(
    method: str = "multi_task", labels: str = "one", seed: int = 0, only: tuple[str, ...] = (), **changes: Any
) -> RunSpec:
    """The spec of a tiny run; `only`: the tasks of a one-task run; `changes` are the protocol's."""
    protocol = tiny_protocol(**changes)
    values, changed = resolve_hyperparameters(method, SMALL.get(method, {}))
    version, tasks = method_class(method).version, only or protocol.tasks
    return RunSpec(protocol, "tiny", "tiny-v1", labels, method, version, values, changed, tasks, seed, seed)


METHODS = registry.method_names()
# Methods as they are, and what their defaults do not reach, which a run tells apart.
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in METHODS} | {
    "diffusion(space=prediction)": ("diffusion", {"space": "prediction"})
}
SIX = tuple(TASKS)


def specs(case: str, **changes: Any) -> list[RunSpec]:
    """The runs of a method on the tiny data: one a task where it is a one-task method."""
    method, keywords = CASES[case]
    if keywords:
        spec = tiny_spec(method, **changes)
        values = spec.hyperparameters | keywords
        return [replace(spec, hyperparameters=values, changed=(*spec.changed, *keywords))]
    tasks = changes.get("tasks", THREE)
    if registry.method(method).one_task:
        return [tiny_spec(method, only=(task,), **changes) for task in tasks]
    return [tiny_spec(method, **changes)]


def run_of(spec: RunSpec, train: Split | None = None, tasks: dict[str, Task] = TASKS, **options: Any) -> Run:
    """A run that has not begun."""
    own = {name: tasks[name] for name in spec.protocol.tasks}
    return Run(spec, train or tiny_split(), tiny_split(4, 9), own, Options(**options))


def begun(spec: RunSpec, folder: Path, *given: Any, **options: Any) -> tuple[Run, RunDir, Claim]:
    """A run that has begun, or gone on from its checkpoint, in its folder."""
    run, place = run_of(spec, *given, **options), RunDir(folder, spec.folder)
    claim = place.claim(spec)
    assert claim is not None
    run.start(place)
    return run, place, claim


def trained(
    spec: RunSpec, folder: Path, *given: Any, stop: int = 0, prepare: Callable[[Run], object] = id,
    **options: Any,
) -> Run:  # fmt: skip
    """A run after its last step. stop: after this one instead, with a checkpoint."""
    run, place, claim = begun(spec, folder, *given, **options)
    prepare(run)
    if stop:
        run.options.report = lambda step, steps, loss: run.options.stop.set() if step == stop else None
        with pytest.raises(Interrupted):
            run.train(place, claim)
    else:
        run.train(place, claim)
    claim.release()
    return run


def finished(spec: RunSpec, folder: Path, *given: Any, **options: Any) -> tuple[Run, RunDir, dict[str, Any]]:
    """A run, its folder and its record."""
    run, place, claim = begun(spec, folder, *given, **options)
    run.train(place, claim)
    record = run.finish(place, claim)
    claim.release()
    return run, place, record


def weights(run: Run) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.method.state_dict().items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert not [name for name in a if not torch.equal(a[name], b[name])]


def computed(record: dict[str, Any]) -> dict[str, Any]:
    """A record but for what differs between two computations of it."""
    return {key: value for key, value in record.items() if key not in ("cost", "digest", "environment")}


def failures(found: Iterable[Finding]) -> dict[str, str]:
    """Return {check: why it fails} of a contract."""
    return {finding.check: finding.reason for finding in found if finding.reason}


def replace_in(file: Path, old: str, new: str) -> None:
    """Plant a fault in a file that has the text."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
