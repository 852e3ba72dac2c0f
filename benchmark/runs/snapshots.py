"""Diagnostics over training in the array files of earlier records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EPOCHS = "snapshot_epochs"  # in an array file: (P,)
PREFIX = "snapshots/"  # in an array file, before the name of a diagnostic: (P, *shape)


def read(file: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return epochs (P,) and {diagnostic: (P, *shape)} of an array file. Raises `ValueError`."""
    found = {name.removeprefix(PREFIX): file[name].astype(float) for name in file if name.startswith(PREFIX)}
    epochs = file[EPOCHS].astype(float) if EPOCHS in file else np.empty(0)
    if epochs.ndim != 1 or any(values.shape[:1] != epochs.shape for values in found.values()):
        raise ValueError(f"its snapshots do not fit its {EPOCHS}")
    return epochs, found
