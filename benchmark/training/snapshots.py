"""Scalar and matrix diagnostics of a run at a few points of its training: when they are taken, and how files
hold them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # it brings torch along, which reports do without
    from methods.base import Diagnostic

POINTS = 8  # of a run at most, the ends of its first and of its last step among them
EPOCHS = "snapshot_epochs"  # in an array file: (P,)
PREFIX = "snapshots/"  # in an array file, before the name of a diagnostic: (P, *shape)

Snapshot = dict[
    str, Any
]  # {"epoch": number, "values": {diagnostic: nested lists of float32}}; plain, for checkpoints


def due(steps: int, every: int) -> frozenset[int]:
    """After how many of the `steps` a snapshot is taken: after the first, and at those multiples of `every`
    that are next to even parts of the training. The one after the last step is made of what the record
    holds."""
    gaps = POINTS - 1
    even = (-(-steps * part // (gaps * every)) * every for part in range(1, gaps))
    return frozenset(step for step in (1, *even) if step < steps)


def snapshot(epoch: float, found: Mapping[str, Diagnostic]) -> Snapshot:
    """What is kept of the diagnostics at one point."""
    values = {
        name: np.asarray(d.array, np.float32).tolist()
        for name, d in found.items()
        if d.kind in ("scalar", "matrix")
    }
    return {"epoch": epoch, "values": values}


def arrays(points: Sequence[Snapshot]) -> dict[str, np.ndarray]:
    """{name in an array file: array} of the diagnostics that are there, in one shape, at every point; nothing
    without any.
    """
    found = {}
    for name in points[0]["values"]:
        held = [np.array(point["values"][name], np.float32) for point in points if name in point["values"]]
        if len(held) == len(points) and len({array.shape for array in held}) == 1:
            found[PREFIX + name] = np.stack(held)
    return {EPOCHS: np.array([point["epoch"] for point in points], np.float32)} | found if found else {}


def read(file: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Epochs (P,) and {diagnostic: (P, *shape)} of an array file, none where it holds no snapshots. Raises
    `ValueError` where these are not as `arrays` makes them."""
    found = {name.removeprefix(PREFIX): file[name].astype(float) for name in file if name.startswith(PREFIX)}
    epochs = file[EPOCHS].astype(float) if EPOCHS in file else np.empty(0)
    wrong = next((name for name, values in found.items() if values.shape[:1] != epochs.shape), None)
    if wrong is not None or epochs.ndim != 1:
        raise ValueError(
            f"its snapshots of {wrong} do not fit its {EPOCHS}"
            if wrong
            else f"its {EPOCHS} are no list of numbers"
        )
    return epochs, found
