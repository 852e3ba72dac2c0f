"""Diagnostics over training in the array files of earlier records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EPOCHS = "snapshot_epochs"  # in an array file: (P,)
PREFIX = "snapshots/"  # in an array file, before the name of a diagnostic: (P, *shape)


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
