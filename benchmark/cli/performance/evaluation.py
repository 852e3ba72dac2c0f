"""Evaluation with all metrics of the protocol: on how many images, in how many seconds, and what of it is
prediction.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmark.cli.performance import synthetic
from benchmark.cli.performance.case import Case, Splits, build
from benchmark.cli.performance.found import Column, Found
from benchmark.cli.performance.measure import interleaved
from benchmark.cli.performance.subject import Ground
from benchmark.training.build import normalisation
from benchmark.training.device import autocast
from benchmark.training.evaluate import TestSet

IMAGES = 64  # made up where the protocol does not say how many of the test images it takes
REPEATS = 3


def evaluation(ground: Ground) -> Found:
    """On as many images as the protocol says, else on `IMAGES`."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    count = ground.protocol.test_images or IMAGES
    for subject in ground.subjects:
        if case := build(subject, ground.tasks, ground.device, Splits(), notes):
            rows.append(_row(case, ground, count))
    notes.append(f"on {count} made-up images, as measured; --set test_images=N takes another number")
    columns = (
        Column("method", "name"),
        Column("images", "images"),
        Column("s", "seconds", "{:.2f}"),
        Column("images/s", "images_per_second", "{:.1f}"),
        Column("of that prediction", "prediction_share", "{:.0%}"),
    )
    return Found(
        "evaluation", "predictions and all metrics of every task", columns, rows, tuple(dict.fromkeys(notes))
    )


def _row(case: Case, ground: Ground, count: int) -> dict[str, Any]:
    protocol = case.subject.protocol
    whole = synthetic.split({name: ground.tasks[name] for name in protocol.tasks}, protocol.size, count)
    sets = [
        (run, TestSet(whole, run.tasks, normalisation(run.method), protocol.batch,
        ground.device)) for run in case.runs
    ]  # fmt: skip

    def scores() -> None:
        for run, test in sets:
            test.scores(run.method, protocol.precision)

    @torch.no_grad()
    def predictions() -> None:
        for run, test in sets:
            run.method.eval()
            for start in range(0, test.count, test.batch):
                with autocast(ground.device, protocol.precision):
                    run.method.predict(test.rows(start)[0])

    scores()
    found = interleaved({"scores": scores, "predictions": predictions}, REPEATS, ground.device)
    seconds = found["scores"].median / 1e3
    return {
        "name": case.subject.name,
        "images": count,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "prediction_share": found["predictions"].median / found["scores"].median,
        **found["scores"].row("scores"),
        **found["predictions"].row("predictions"),
    }
