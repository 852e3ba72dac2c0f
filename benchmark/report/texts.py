"""A board as a table of texts to read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.report.board import Board
from benchmark.report.formats import digits, fixed, gibibytes, millions, training_time, with_interval
from benchmark.report.rows import TaskInfo
from benchmark.report.statistics import Estimate
from benchmark.report.tables import REFERENCES, Values, objects
from benchmark.report.verdict import APART


def decimals(board: Board) -> dict[str, int]:
    """{task: decimals of its primary metric, the same for every row}"""
    values = {t: [e.metrics[t.name].get(t.metric) for e in board.entries] for t in board.group.tasks}
    return {t.name: digits(float(v.mean()) for v in found if v is not None) for t, found in values.items()}


def headings(board: Board) -> dict[str, str]:
    """{heading of `texts`: the column of `frame` that it shows}"""
    baseline = board.baseline.label if board.baseline else "baseline"
    reference = board.group.protocol["reference"] or "reference"
    first = {"method": "method", "tier": "tier", f"vs {baseline} (points)": "vs_baseline_mean"}
    first |= {"seeds": "n_seeds", f"Δm vs {reference} (%)": "delta_m"}
    others = [name for name, other in board.others.items() if other.g is not board.group]
    first |= {f"Δm, {name.replace('_', ' ')}": f"delta_m_{name}" for name in REFERENCES[:2] if name in others}
    tasks = {f"{t.title} {t.arrow}": f"{t.name}_{t.metric}_mean" for t in board.group.tasks}
    parameters = {"steps": "steps", "training parameters": "params_train"}
    parameters["inference parameters"] = "params_infer"
    last = {"time a seed": "seconds", "memory": "peak_gib", "device": "device"}
    return first | tasks | parameters | last


def texts(board: Board) -> pd.DataFrame:
    """Return the table to read; a score's second line is its change."""
    places, lines, columns = decimals(board), [], headings(board)
    others = [name for name in columns.values() if name in {f"delta_m_{r}" for r in REFERENCES}]
    for row in objects(board):
        scores = [score_text(row, task, places[task.name]) for task in board.group.tasks]
        own = is_reference(row)
        lines.append(
            (
                row["method"],
                row["tier"],
                "0 (baseline)"
                if row["role"] == "baseline" and row["n_seeds"]
                else with_interval(versus(row)),
                seeds_text(row),
                "0 (reference)" if own else with_interval(between(row, "delta_m", "", "n_paired")),
                *(with_interval(between(row, name, f"{name}_", "n_paired")) for name in others),
                *scores,
                fixed(row["steps"], 0),
                millions(row["params_train"]),
                millions(row["params_infer"]),
                training_time(row["gpu_hours"], row["seconds"]),
                gibibytes(row["peak_gib"]),
                row["device"],
            )
        )
    return pd.DataFrame(lines, columns=[*columns])


def parts(board: Board) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `texts` of the methods with references and constant, and of the ablations and controls."""
    shown = texts(board)
    apart = np.array([row["role"] in APART for row in objects(board)])
    return shown[~apart], shown[apart]


def is_reference(row: Values) -> bool:
    """Tell whether a row is the reference, with a delta m of 0 by definition."""
    return row["role"] == "reference" and row["delta_m"] is not None


def between(row: Values, name: str, prefix: str, n: str) -> Estimate | None:
    """Return the estimate in columns `name`, `{prefix}ci_low`, `{prefix}ci_high` and n."""
    value = row.get(name)
    low, high = row.get(f"{prefix}ci_low"), row.get(f"{prefix}ci_high")
    return None if value is None else Estimate(value, low, high, row[n] or 0)


def versus(row: Values) -> Estimate | None:
    """Return delta m minus that of the baseline."""
    return between(row, "vs_baseline_mean", "vs_baseline_", "vs_baseline_n")


def seeds_text(row: Values) -> str:
    """`2/3, 1 failed`; "" for the constant prediction."""
    if row["n_planned"] is None:
        return ""
    return f"{row['n_seeds']}/{row['n_planned']}" + (f", {row['n_failed']} failed" if row["n_failed"] else "")


def score_text(row: Values, task: TaskInfo, places: int) -> str:
    """`31.20 ± 1.10`, below it `(+3.1 [+1.0, +5.2] %)`: a primary metric, its change against the reference"""
    name = f"{task.name}_{task.metric}"
    mean, sd = fixed(row[f"{name}_mean"], places), fixed(row[f"{name}_sd"], places)
    change = between(row, f"{task.name}_change", f"{task.name}_change_", "n_paired")
    score = f"{mean} ± {sd}" if sd else mean
    return score if change is None or row["role"] == "reference" else f"{score}\n({with_interval(change)} %)"
