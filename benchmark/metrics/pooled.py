"""Metrics of summed statistics, without torch: what each is, and its formula.

Formulas take sums (..., K) over any images, so that one call gives all draws of an image bootstrap. They are
NaN where no pixel was labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

THRESHOLDS = 19  # binary maps are cut at probabilities 0.05, 0.10, ... 0.95
TWICE = 5  # thresholds 0.50 ... 0.70, which tell sigmoids of probabilities apart; none is above 0.732
BETA_SQUARED = 0.3  # of maxF: weighs precision over recall, as is usual for saliency (ATRC)
NEAR_ANGLES = (11.25, 22.5, 30.0)  # degrees

# {meter: {metric: what it is}}, the primary metric first.
ABOUT = {
    "classes": {
        "mIoU": "mean intersection over union of the classes present, in percent; higher is better",
        "pixAcc": "share of labelled pixels of the right class, in percent; higher is better",
    },
    "depth": {
        "absErr": "mean absolute error, in metres; lower is better",
        "relErr": "mean of absolute error over true depth; lower is better",
        "RMSE": "root of the mean squared error, in metres; lower is better",
    },
    "normals": {
        "mErr": "mean angular error, in degrees; lower is better",
        "medErr": "median angular error, in degrees, to 0.05; lower is better",
        **{
            f"within{a:g}": f"share of pixels less than {a:g} degrees off, in percent; higher is better"
            for a in NEAR_ANGLES
        },
    },
    "saliency": {
        "maxF": "F measure (beta squared 0.3) at the best threshold for the data set, in percent; higher is "
        "better",
        "maxF_twice": "maxF as published code computes it, the sigmoid applied twice; only for comparison "
        "with published rows",
    },
    "edge": {
        "boundaryF": "F of boundary pixels matched within 0.0075 of the diagonal, best threshold, in "
        "percent; higher is better",
        "boundaryP": "precision at that threshold, in percent; higher is better",
        "boundaryR": "recall at that threshold, in percent; higher is better",
    },
    "own": {},
    "ods": {
        "odsF": "F of thinned boundary pixels matched one to one, best of 99 thresholds, in percent; higher "
        "is better",
        "odsP": "precision at that threshold, in percent; higher is better",
        "odsR": "recall at that threshold, in percent; higher is better",
    },
}
TASKS = {"semseg": "classes", "parts": "classes", **{k: k for k in ("depth", "normals", "saliency", "edge")}}


def metrics() -> list[dict[str, Any]]:
    """Return {task, metric, primary, summary} of every metric of every task, the primary one first."""
    meters = [*TASKS.items(), ("edge", "ods")]
    return [
        {"task": task, "metric": name, "primary": number == 0, "summary": summary}
        for task, meter in meters
        for number, (name, summary) in enumerate(ABOUT[meter].items())
    ]


def class_iou(sums: Array) -> Array:
    """Return the IoU (..., C) in percent of each class, NaN where the truth has none of it."""
    right, predicted, true = _parts(sums, 3)
    return 100 * _share(right, true + predicted - right, true > 0)


def mean_iou(sums: Array) -> Array:
    """Return the mean IoU in percent over the classes that the truth contains."""
    iou = class_iou(sums)
    present = ~np.isnan(iou)
    return _share(np.where(present, iou, 0).sum(-1), present.sum(-1), present.any(-1))


def mean_error(sums: Array) -> Array:
    """Return the mean over pixels, of their number and the sum of errors."""
    return _share(sums[..., 1], sums[..., 0], sums[..., 0] > 0)


def max_f(sums: Array, thresholds: int = THRESHOLDS) -> Array:
    """Return the greatest F in percent, of negative and positive pixels by level."""
    negative, positive = _parts(sums[..., : 2 * (thresholds + 1)], 2)
    right = at_least(positive)
    # F with precision and recall multiplied out, so that no threshold divides 0 by 0.
    possible = BETA_SQUARED * positive.sum(-1, keepdims=True) + right + at_least(negative)
    best = (100 * (1 + BETA_SQUARED) * right / np.maximum(possible, 1e-12)).max(-1)
    return np.where(sums.any(-1), best, np.nan)


def boundary_scores(sums: Array) -> Array:
    """Return (F, precision, recall) (..., 3) of boundaryF, of wrong, right and found pixels by level."""
    wrong, right, found = _parts(sums, 3)
    predicted = at_least(right) + at_least(wrong)
    scores = best_f(at_least(right), predicted, at_least(found), found.sum(-1, keepdims=True))
    return np.where(sums.any(-1, keepdims=True), scores, np.nan)


def best_f(right: Array, predicted: Array, found: Array, true: Array) -> Array:
    """Return (F, precision, recall) (..., 3) in percent at the threshold (..., L) of greatest F."""
    precision, recall = right / np.maximum(predicted, 1), found / np.maximum(true, 1)
    f = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = np.expand_dims(f.argmax(-1), -1)
    chosen = [np.take_along_axis(values, best, -1) for values in (f, precision, recall)]
    return 100 * np.concatenate(chosen, -1)


def at_least(levels: Array) -> Array:
    """Turn counts per level (..., L + 1) into counts at or above each of the L thresholds (..., L)."""
    return np.cumsum(levels[..., ::-1], -1)[..., ::-1][..., 1:]


def _parts(sums: Array, count: int) -> Array:
    """(..., count * L) to (count, ..., L)."""
    return np.moveaxis(sums.reshape(*sums.shape[:-1], count, -1), -2, 0)


def _share(part: Array, whole: Any, defined: Any) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=defined)


# {primary metric: its formula}. odsF is not here: its counts at 99 thresholds are not kept per image.
PRIMARY: dict[str, Callable[[Array], Array]] = {
    "mIoU": mean_iou,
    "absErr": mean_error,
    "mErr": mean_error,
    "maxF": max_f,
    "boundaryF": lambda sums: boundary_scores(sums)[..., 0],
}
