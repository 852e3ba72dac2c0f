"""What a trained run says of itself: diagnostics, pictures of predictions, and its record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmark.errors import UserError
from benchmark.metrics.constant import constant_predictions
from benchmark.runs import pictures, provenance
from benchmark.runs.schema import check_record, sealed
from benchmark.spec import plugged, registry
from benchmark.spec.run import SCHEMA
from benchmark.training.device import autocast
from benchmark.training.evaluate import Scores
from benchmark.training.flops import Counter, parameters
from datasets import labels
from datasets.tasks import as_dict
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
    rows = [run.test.rows(start) for start in range(0, count, run.test.batch)]
    run.method.eval()
    with autocast(run.options.device, run.spec.protocol.precision):
        raw = [run.method.predict(images) for images, _ in rows]
    run.method.train()
    true = {n: torch.cat([targets[n] for _, targets in rows])[:count].cpu().numpy() for n in run.tasks}
    predicted = {n: torch.cat([maps[n] for maps in raw])[:count].float().cpu().numpy() for n in run.tasks}
    return pictures.panel(run.test.images[:count].numpy(), true, predicted, run.tasks)


def record(run: Run, scores: dict[str, Scores], evaluation_seconds: float) -> dict[str, Any]:
    """Return the record of a run, sealed by its digest."""
    spec, split, method = run.spec, run.train_split, registry.method(run.spec.method)
    labelled = run.mask[:, [spec.protocol.tasks.index(name) for name in spec.tasks]]
    constants = constant_predictions(run.tasks, {name: split.targets[name] for name in spec.tasks}, labelled)
    mask_hash = labels.mask_hash(split.ids, run.mask, spec.protocol.tasks)
    data = {"labels": mask_hash, "data": split.fingerprint, "test_data": run.test_fingerprint}
    kinds = {task.kind for task in run.tasks.values()}
    own = {name: facts for name, facts in plugged.metric_facts().items() if facts["kind"] in kinds}
    by_source = {name: score.by_source for name, score in scores.items() if score.by_source}
    more = {"by_source": by_source, "own_metrics": own}
    found = {
        "schema": SCHEMA,
        "id": spec.id,
        "spec": spec.as_dict(),
        "one_task": method.one_task,
        "summary": method.summary,
        "source": registry.source_hash(spec.method),
        "tasks": {n: as_dict(t) | {"test_images": scores[n].test_images} for n, t in run.tasks.items()},
        "metrics": {name: score.values for name, score in scores.items()},
        "constant": run.test.constant(constants),
        "oracle": _oracle(run, scores),
        "curve": run.curve,
        "cost": _cost(run, evaluation_seconds),  # before diagnostics, whose memory is none of the method's
        "hashes": data | run.feed.hashes | {"init": run.init},
        "label_counts": dict(zip(spec.tasks, labelled.sum(0).tolist(), strict=True)),
        "images": run.feed.images,
        "fit": split.fit,
        "environment": run.environment,
        "diagnostics": {name: _listed(d) for name, d in diagnostics(run).items()},
    } | {key: value for key, value in more.items() if value}
    made = sealed(_rounded(found))
    try:  # what later commands would refuse is refused here, where it can be told from damage
        check_record(json.loads(json.dumps(made)), f"the record of {spec.folder}", spec.id, "")
    except UserError as error:
        raise ValueError(str(error).rstrip("; .")) from None
    return made


def write_arrays(run: Run, scores: dict[str, Scores], path: Path) -> None:
    """Write the statistics of the test images, and which labels the run saw."""
    tables: dict[str, Any] = {name: score.per_image.astype(np.float32) for name, score in scores.items()}
    with path.open("wb") as file:  # numpy would add .npz to a draft's name
        np.savez_compressed(file, **tables, labelled=run.mask.numpy().astype(np.uint8))


def _oracle(run: Run, scores: dict[str, Scores]) -> dict[str, float]:
    """Best value of each primary metric over all evaluations on the test set; a diagnostic, never a score."""
    best = {}
    for name, task in run.tasks.items() if run.spec.protocol.evaluations else ():
        final = next(iter(scores[name].values.values()))
        seen = [final, *(point["test"][name] for point in run.curve if "test" in point)]
        best[name] = max(seen) if task.higher_is_better else min(seen)
    return best


def _listed(diagnostic: Diagnostic) -> dict[str, Any]:
    values = np.asarray(diagnostic.array, dtype=float).tolist()
    labels = [list(axis) for axis in diagnostic.labels]
    axes = {"axes": list(diagnostic.axes)} if diagnostic.axes else {}
    return {"kind": diagnostic.kind, "array": values, "labels": labels, **axes}


def _rounded(value: Any, digits: int = 9) -> Any:
    """Round floats to significant digits, a curve's to 5, to keep records small; null for what JSON lacks."""
    if isinstance(value, dict):
        fewer = ("curve", "diagnostics")
        return {k: v if k == "spec" else _rounded(v, 5 if k in fewer else digits) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def _cost(run: Run, evaluation_seconds: float) -> dict[str, Any]:
    cuda = run.options.device.startswith("cuda")
    return {
        **parameters(run.method),
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
