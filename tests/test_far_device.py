"""What a GPU would refuse, or wait for, found by steps and evaluation on a device of no content."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.metrics.maps import meter
from benchmark.spec import registry
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import BALANCES
from benchmark.training.cuda_graph import _Absent
from benchmark.training.loop import Run
from methods.base import Batch, Losses, ViewKind
from tests.far import Crossed, Far
from tests.helpers import CASES, FOUR, SIX, TASKS, run_of, specs, tiny_spec

LOSSES = [name for name, entry in BALANCES.items() if entry.kind == "losses"]
DEVICE = "meta"


def batch_of(run: Run) -> Batch:
    host: Any = _Absent()
    return run.feed.batch_at(run.stepper.at, None, host)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    """A device that knows no autocast, no fused update and no lists of tensors, which are left out here."""
    known = {name: getattr(nn.utils, name) for name in ("get_total_norm", "clip_grads_with_norm_")}
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    for name, function in known.items():
        monkeypatch.setattr(nn.utils, name, lambda *a, f=function, **k: f(*a, **{**k, "foreach": False}))
    with Far(DEVICE) as mode:
        yield mode


def step(far: Far, spec: RunSpec) -> Run:
    """A run after one step of which nothing crossed to the host or back."""
    run = run_of(spec, device=far.device)
    run.stepper.optimiser.step = lambda: None  # type: ignore[assignment,method-assign]
    run.method.train()
    far.strict = True
    run.stepper.advance(batch_of(run))
    far.strict = False
    return run


@pytest.mark.parametrize("method", CASES)
def test_steps_and_evaluation_take_nothing_from_the_host_and_give_it_nothing(method: str, far: Far) -> None:
    run = step(far, specs(method, tasks=SIX if method == "multi_task" else FOUR, labels="random")[-1])
    gradients = [p.grad for p in run.method.parameters() if p.grad is not None]
    assert gradients and all(g.device.type == DEVICE for g in gradients)
    run.method.eval()
    with torch.no_grad():
        images, targets = run.test.rows(0)
        far.strict = True
        predictions = run.method.predict(images)
        assert all(p.device.type == DEVICE and p.dtype == torch.float32 for p in predictions.values())
        if method == "multi_task":  # of such predictions metrics are alike whoever made them
            for name, task in run.tasks.items():
                row = meter(task).statistics(predictions[name], targets[name])
                assert row.device.type == DEVICE and len(row) == len(images)


@pytest.mark.parametrize("balance", LOSSES)
def test_so_it_does_under_every_balancing_of_losses(balance: str, far: Far) -> None:
    step(far, replace(tiny_spec("multi_task", "random"), balance=balance))


def test_and_with_every_augmentation(far: Far) -> None:
    step(far, tiny_spec(scales=(0.5, 1.5), scale_draw="uniform", colour=0.2, flip=True, clip=0.5))


def test_and_views_with_squares_erased(far: Far, fixmatch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = step(far, tiny_spec(fixmatch, "random", tasks=tuple(TASKS)))
    erased = batch_of(run).views[0].erased
    assert erased is not None and erased.device.type == DEVICE
    monkeypatch.setattr(registry.method("consistency"), "views", (ViewKind(colour=0.5, cutout=0.3),))
    step(far, tiny_spec("consistency", scales=(0.5, 1.5), scale_draw="uniform"))


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "a tensor made on the host": lambda x: (x * torch.ones(2)).mean(),
    "numbers sent": lambda x: x * torch.tensor([1.0, 1.0], device=x.device).mean(),
    "a number sent": lambda x: x * torch.tensor(1.0, device=x.device),
    "rows counted on the host": lambda x: x.expand(3)[torch.arange(2)].mean(),
    "a read": lambda x: x * float(x),
    "a branch": lambda x: x if x > 0 else -x,
    "a choice by value": lambda x: x.expand(3)[x.expand(3) > 0].sum(),
    "a copy": lambda x: x + x.cpu(),
    "a join": lambda x: torch.stack([x, torch.zeros(())]).sum(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_be_found(fault: str, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = registry.method("multi_task")
    original = kind.losses

    def losses(self: Any, batch: Batch, progress: Tensor) -> Losses:
        found = original(self, batch, progress).tasks
        return Losses({name: FAULTS[fault](value) for name, value in found.items()})

    monkeypatch.setattr(kind, "losses", losses)
    with pytest.raises(Crossed):
        step(far, tiny_spec())


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    """A GPU without a driver: its autocast and its memory formats, but no backward pass."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, which tests/test_capture.py asks itself")
    if torch.__version__ < "2.15":
        pytest.skip("before 2.15 torch asks the driver where a parameter lies")
    answers = {"get_device_name": "none", "mem_get_info": (2**33, 2**33)}
    streams = ["current_stream", "default_stream", "Stream", "set_stream"]
    answers |= dict.fromkeys([*streams, "_lazy_init", "empty_cache", "reset_peak_memory_stats"])
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, found=value: found)
    # As torch's own, which takes no device without a number.
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: torch.cuda._utils._get_device_index(device))
    with Far("cuda") as mode:
        yield mode


@contextlib.contextmanager
def autocast(cuda: Far, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("is_available", "is_bf16_supported"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: True)
    cuda.strict = True
    with torch.autocast("cuda", torch.bfloat16):
        yield


@pytest.mark.parametrize("method", CASES)
def test_methods_agree_with_cudas_autocast(method: str, cuda: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = SIX if method == "multi_task" else FOUR
    run = run_of(specs(method, tasks=tasks, precision="bf16")[-1], device=cuda.device)
    batch = batch_of(run)
    convolutions = [m.weight for m in run.method.modules() if isinstance(m, nn.Conv2d)]
    for value in (batch.images, *convolutions):
        assert value.is_contiguous(memory_format=torch.channels_last) and value.device.type == "cuda"
    with autocast(cuda, monkeypatch):
        losses = run.method.train().losses(batch, torch.zeros((), device="cuda"))
        with torch.no_grad():
            predictions = run.method.eval().predict(batch.images)
    for loss in (losses.tasks | losses.extra).values():
        assert loss.dtype == torch.float32 and not loss.dim()
    assert all(p.dtype == torch.float32 for p in predictions.values())


def test_what_that_autocast_refuses_would_be_found(cuda: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses binary_cross_entropy, which a CPU's takes."""
    chances = torch.rand(4, device="cuda")
    with autocast(cuda, monkeypatch), pytest.raises(RuntimeError, match="unsafe to autocast"):
        nn.functional.binary_cross_entropy(chances, chances)
