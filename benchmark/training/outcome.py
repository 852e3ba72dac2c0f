"""What a trained run says of itself: diagnostics, pictures of predictions, and the outcome for its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmark.metrics.constant import constant_predictions
from benchmark.runs import pictures, provenance
from benchmark.runs.record import Outcome
from benchmark.training.device import autocast
from benchmark.training.evaluate import Scores
from benchmark.training.flops import Counter
from datasets import labels
from methods.base import Diagnostic, Method

if TYPE_CHECKING:
    from PIL.Image import Image

    from benchmark.training.loop import Run

PANEL_IMAGES = 4  # fixed: the first of the test split


@contextmanager
def _untouched(method: Method) -> Iterator[None]:
    """Restore random generators, buffers (in place: CUDA graphs hold their addresses) and modes."""
    device = next(method.parameters()).device
    modes = [(module, module.training) for module in method.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        try:
            yield
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)
            for module, mode in modes:
                module.training = mode


def diagnostics(run: Run) -> dict[str, Diagnostic]:
    """Return the diagnostics of a run's balancing and, on its first training batch, of its method.

    The batch's hidden labels are hidden, and the run is left without a trace.
    """
    with _untouched(run.method), autocast(run.options.device, run.spec.protocol.precision):
        run.method.eval()
        torch.manual_seed(0)
        return {**run.method.diagnostics(run.feed.batch(0)), **run.stepper.balancing.diagnostics()}


@torch.no_grad()
def panel(run: Run) -> Image:
    """Return the picture of the first test images, their labels and predictions."""
    count = min(PANEL_IMAGES, run.test.count)
    predicted, true = ({name: list[np.ndarray]() for name in run.tasks} for _ in range(2))
    run.method.eval()
    for start in range(0, count, run.test.batch):
        images, targets = run.test.rows(start)
        with autocast(run.options.device, run.spec.protocol.precision):
            predictions = run.method.predict(images)
        for name in run.tasks:
            predicted[name].extend(predictions[name].float().cpu().numpy())
            true[name].extend(targets[name].cpu().numpy())
    run.method.train()
    first, second = ({n: np.stack(v[:count]) for n, v in maps.items()} for maps in (true, predicted))
    return pictures.panel(run.test.images[:count].numpy(), first, second, run.tasks)


def outcome(run: Run, scores: dict[str, Scores], evaluation_seconds: float) -> Outcome:
    """Return what a run's record is made of."""
    spec, split = run.spec, run.train_split
    labelled = run.mask[:, [spec.protocol.tasks.index(name) for name in spec.tasks]]
    constants = constant_predictions(run.tasks, {name: split.targets[name] for name in spec.tasks}, labelled)
    constant = run.test.constant(constants)
    cost = _cost(run, evaluation_seconds)  # before the diagnostics, whose memory is none of the method's
    mask_hash = labels.mask_hash(split.ids, run.mask, spec.protocol.tasks)
    data = {"labels": mask_hash, "data": split.fingerprint, "test_data": run.test_fingerprint}
    return Outcome(
        tasks=run.tasks,
        metrics={name: score.values for name, score in scores.items()},
        constant=constant,
        per_image={name: score.per_image for name, score in scores.items()},
        test_images={name: score.test_images for name, score in scores.items()},
        curve=run.curve,
        cost=cost,
        hashes=data | run.feed.hashes | {"init": run.init},
        label_counts=dict(zip(spec.tasks, labelled.sum(0).tolist(), strict=True)),
        images=run.feed.images,
        mask=run.mask.numpy(),
        fit=split.fit,
        by_source={name: score.by_source for name, score in scores.items() if score.by_source},
        environment=run.environment,
        diagnostics=diagnostics(run),
    )


def _cost(run: Run, evaluation_seconds: float) -> dict[str, Any]:
    cuda = run.options.device.startswith("cuda")
    shipped = {id(p): p.numel() for module in run.method.inference_modules() for p in module.parameters()}
    return {
        "params_train": sum(p.numel() for p in run.method.parameters()),
        "params_infer": sum(shipped.values()),
        "steps": run.feed.steps,
        "seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "evaluation_seconds": evaluation_seconds,
        "gpu_hours": run.seconds / 3600 if cuda else 0.0,
        # A process holds several runs, so only the device's own counter tells what one of them took.
        "peak_gib": run.peak() / 2**30 if cuda else None,
        "images_per_second": run.feed.steps * run.spec.protocol.batch / max(run.seconds, 1e-9),
        "device": provenance.device_name(run.options.device),
        "captured": run.loop.captured,
        "operations": _operations(run),
    }


def _operations(run: Run) -> int | None:
    """Count all steps' operations, on the first batch once more: counting may round otherwise.

    None where a device is too full for a step beside its captured graph, which must not cost the run.
    """
    with _untouched(run.method), torch.enable_grad(), Counter() as counter:
        run.method.train()
        try:
            with autocast(run.options.device, run.spec.protocol.precision):
                losses = run.method.losses(run.feed.batch(0), torch.zeros((), device=run.stepper.device))
            losses.total().backward()
        except torch.OutOfMemoryError:
            return None
        finally:
            run.method.zero_grad()
    return counter.total * run.feed.steps
