"""What stands beside delta m, as columns of a board's CSV."""

from __future__ import annotations

from benchmark.report.board import Board, Entry
from benchmark.report.references import DELTA_M
from benchmark.report.statistics import Estimate, Split

Cells = dict[str, str]
NOT_SEPARABLE = "not separable"
REFERENCES = ("equal_epochs", "equal_steps", "full_labels")
PARTS = {"label_seed": "label_sd", "train_seed": "train_sd", "rest": "rest_sd"}


def number(value: float | None) -> str:
    """Six significant digits, the one float format of every CSV."""
    text = "" if value is None else f"{value:.6g}"
    return "0" if text == "-0" else text


def bounds(name: str, found: Estimate | None, low: str, high: str) -> Cells:
    """An estimate's value under `name`, and its bounds."""
    return {
        name: number(found.value if found else None),
        low: number(found.low if found else None),
        high: number(found.high if found else None),
    }


def cells(board: Board, entry: Entry) -> Cells:
    """{column: text} of a row's line in the CSV; `columns` has their order."""
    compared, beside = entry.compared, entry.beside
    images, again = beside.images, board.reruns.get(entry.label)
    found: Cells = {
        "vs_baseline_p_holm": number(compared.p_holm if compared else None),
        "p_better": number(compared.p_better if compared else None),
        "rho": number(compared.rho if compared else None),
        "rerun_floor": number(again.sd if again else None),
        "rerun_n": str(again.n) if again else "",
        "oracle_delta_m": number(beside.oracle),
        "delta_m_all_metrics": number(beside.definitions.all_metrics),
        "delta_m_task_mean": number(beside.definitions.task_mean),
    }
    for name in REFERENCES:
        column = f"delta_m_{name}"
        found |= bounds(column, getattr(beside.against, name), f"{column}_ci_low", f"{column}_ci_high")
    found |= _images("delta_m", images.delta if images else None) | _images(
        "vs_baseline", images.versus if images else None
    )
    for task in board.group.tasks:
        found |= _images(f"{task.name}_{task.metric}", images.scores[task.name] if images else None)
    found["variance_split"] = grid(beside.variance)
    for name, column in split_columns(board).items():
        split = beside.variance.get(name)
        found |= {
            f"{column}_sd_{part}": number(getattr(split, sd) if split else None) for part, sd in PARTS.items()
        }
    return found


def columns(board: Board) -> list[str]:
    """The columns of `cells` but for the first three, which stand beside the comparison with the baseline."""
    names = ["rerun_floor", "rerun_n", "oracle_delta_m", "delta_m_all_metrics", "delta_m_task_mean"]
    names += [f"delta_m_{name}{end}" for name in REFERENCES for end in ("", "_ci_low", "_ci_high")]
    imaged = ["delta_m", "vs_baseline", *(f"{t.name}_{t.metric}" for t in board.group.tasks)]
    names += [f"{name}_images_{end}" for name in imaged for end in ("low", "high")]
    split = [f"{column}_sd_{part}" for column in split_columns(board).values() for part in PARTS]
    return [*names, "variance_split", *split]


def _images(name: str, found: Estimate | None) -> Cells:
    """The bounds alone: the value is that of the board."""
    low, high = (found.low, found.high) if found else (None, None)
    return {f"{name}_images_low": number(low), f"{name}_images_high": number(high)}


def grid(found: dict[str, Split]) -> str:
    """`5 x 5`"""
    split = next(iter(found.values()), None)
    return f"{split.label_seeds} x {split.train_seeds}" if split else NOT_SEPARABLE


def split_columns(board: Board) -> dict[str, str]:
    """{what is split: the start of its columns}, of what any row has."""
    names = {DELTA_M: "delta_m"} | {t.name: f"{t.name}_{t.metric}" for t in board.group.tasks}
    return {
        name: column
        for name, column in names.items()
        if any(name in e.beside.variance for e in board.entries)
    }
