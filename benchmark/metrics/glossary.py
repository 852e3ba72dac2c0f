"""What the metrics of each task are, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmark.metrics.maps import meter
from datasets import tasks


def metrics() -> list[dict[str, Any]]:
    """{task, metric, primary, summary} of every metric of every task, the primary one first."""
    kinds = [
        tasks.semseg(("a",)),
        tasks.parts(("a",)),
        tasks.depth(),
        tasks.normals(),
        tasks.saliency(),
        tasks.edge(),
    ]
    kinds.append(replace(tasks.edge(), metric="odsF"))
    return [
        {"task": t.name, "metric": name, "primary": name == t.metric, "summary": about}
        for t in kinds
        for name, about in meter(t).about.items()
    ]
