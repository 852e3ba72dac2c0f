"""The studies by their names, and what they say of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch

from benchmark.cli.performance import boards, evaluation, methods, profile, start, sweeps
from benchmark.cli.performance.found import Found
from benchmark.cli.performance.subject import Ground
from benchmark.runs import provenance

STUDIES: dict[str, Callable[[Ground], Found]] = {
    "methods": methods.methods,
    "batch": sweeps.batch,
    "tasks": sweeps.tasks,
    "size": sweeps.size,
    "threads": sweeps.threads,
    "layout": sweeps.layout,
    "where": profile.where,
    "evaluation": evaluation.evaluation,
    "start": start.start,
    "leaderboard": lambda ground: boards.leaderboard(ground.published),
}


def machine(ground: Ground) -> dict[str, Any]:
    """What figures hold for: device, software, arithmetic, the load that the machine has besides, and the
    date.
    """
    p = ground.protocol
    found = provenance.environment(ground.device, p.threads)
    if ground.device.startswith("cuda"):
        found |= {
            "cuda": torch.version.cuda,
            "memory_gib": torch.cuda.get_device_properties(ground.device).total_memory / 2**30,
        }
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    plan = {
        "protocol": p.name,
        "batch": p.batch,
        "size": list(p.size),
        "encoder": p.encoder,
        "precision": p.precision,
    }
    return (
        found
        | plan
        | {"load": load, "steps": ground.steps, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    )
