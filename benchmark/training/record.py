"""What a finished run leaves: its record, arrays and pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmark.files import replacing
from benchmark.metrics.constant import constant_predictions
from benchmark.runs import digest, pictures, provenance
from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.run import SCHEMA
from benchmark.training import probe, snapshots
from benchmark.training.device import autocast
from benchmark.training.evaluate import Scores
from datasets import labels
from datasets.tasks import as_dict
from methods.base import Diagnostic

if TYPE_CHECKING:
    from benchmark.training.loop import Run

PANEL_IMAGES = 4  # fixed: the first of the test split


def assemble(
    run: Run, folder: RunDir, token: str, scores: dict[str, Scores], evaluation_seconds: float
) -> dict[str, Any]:
    """Write per_image.npz and panel.webp into the run's folder and return its record."""
    spec, split = run.spec, run.train_split
    columns = [spec.protocol.tasks.index(name) for name in spec.tasks]
    labelled = labels.restrict(run.mask, columns)
    with replacing(folder.file("panel.webp"), token) as draft:
        _write_panel(run, draft)
    constants = constant_predictions(run.tasks, {name: split.targets[name] for name in spec.tasks}, labelled)
    constant = run.test.constant(constants)
    cost = _cost(
        run, evaluation_seconds
    )  # before the diagnostics: the memory that they take is none of the method's
    diagnostics = probe.diagnostics(run)
    with replacing(folder.file("per_image.npz"), token) as draft:
        _write_arrays(run, draft, scores, diagnostics)
    record = _rounded(
        {
            "schema": SCHEMA,
            "id": spec.id,
            "spec": spec.as_dict(),
            "one_task": type(run.method).one_task,
            "summary": type(run.method).summary,
            "source": registry.source_hash(spec.method),
            "tasks": {
                name: as_dict(task) | {"test_images": scores[name].test_images}
                for name, task in run.tasks.items()
            },
            "metrics": {name: score.values for name, score in scores.items()},
            "constant": constant,
            "oracle": _oracle(run, scores),
            "curve": run.curve,
            "cost": cost,
            "hashes": {
                "labels": labels.mask_hash(split.ids, run.mask, spec.protocol.tasks),
                "data": split.fingerprint,
                "test_data": run.test_fingerprint,
                **run.feed.hashes,
                "init": run.init,
            },
            "label_counts": dict(zip(spec.tasks, labelled.sum(0).tolist(), strict=True)),
            "images": run.feed.images,
            "fit": split.fit,
            "environment": run.environment,
            "diagnostics": _listed(diagnostics),
        }
    )
    return digest.sealed(record)


def _write_arrays(
    run: Run, path: Path, scores: dict[str, Scores], diagnostics: dict[str, Diagnostic]
) -> None:
    tables: dict[str, Any] = {name: score.per_image.astype(np.float32) for name, score in scores.items()}
    tables |= snapshots.arrays([*run.snapshots, snapshots.snapshot(run.epoch, diagnostics)])
    with path.open("wb") as file:  # numpy would add .npz to a draft's name
        np.savez_compressed(file, **tables, labelled=run.mask.numpy().astype(np.uint8))


@torch.no_grad()
def _write_panel(run: Run, path: Path) -> None:
    count = min(PANEL_IMAGES, run.test.count)
    here: dict[str, list[np.ndarray]] = {name: [] for name in run.tasks}
    truth: dict[str, list[np.ndarray]] = {name: [] for name in run.tasks}
    run.method.eval()
    for start in range(0, count, run.test.batch):
        images, targets = run.test.rows(start)
        with autocast(run.options.device, run.spec.protocol.precision):
            predictions = run.method.predict(images)
        for name in run.tasks:
            here[name].extend(predictions[name].float().cpu().numpy())
            truth[name].extend(targets[name].cpu().numpy())
    run.method.train()
    predicted, true = ({n: np.stack(v[:count]) for n, v in maps.items()} for maps in (here, truth))
    panel = pictures.panel(run.test.images[:count].numpy(), true, predicted, run.tasks)
    pictures.save_webp(panel, path)


def _oracle(run: Run, scores: dict[str, Scores]) -> dict[str, float]:
    """Best value of each primary metric on the test set over all evaluations; a diagnostic, never a score."""
    if not run.spec.protocol.evaluations:
        return {}
    best = {}
    for name, task in run.tasks.items():
        final = next(iter(scores[name].values.values()))
        seen = [final, *(point["test"][name] for point in run.curve if "test" in point)]
        best[name] = max(seen) if task.higher_is_better else min(seen)
    return best


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
    }


def _listed(diagnostics: dict[str, Diagnostic]) -> dict[str, Any]:
    return {
        name: {
            "kind": d.kind,
            "array": np.asarray(d.array, dtype=float).tolist(),
            "labels": [list(axis) for axis in d.labels],
        }
        | ({"axes": list(d.axes)} if d.axes else {})
        for name, d in diagnostics.items()
    }


def _rounded(value: Any, digits: int = 9) -> Any:
    """Floats at so many significant digits, a curve's at 5, to keep records small. JSON has no NaN: undefined
    is null.
    """
    if isinstance(value, dict):
        return {
            k: v if k == "spec" else _rounded(v, 5 if k in ("curve", "diagnostics") else digits)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
