"""A board as one DataFrame, and its views: CSV, long CSV, JSON objects, and a table of texts to read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmark.report.board import Board, Entry
from benchmark.report.formats import digits, fixed, gibibytes, millions, number, training_time, with_interval
from benchmark.report.naming import protocol_changes
from benchmark.report.references import DELTA_M
from benchmark.report.rows import TaskInfo, canonical
from benchmark.report.statistics import Estimate, estimate

REFERENCES = ("equal_epochs", "equal_steps", "full_labels")
PARTS = {"label_seed": "label_sd", "train_seed": "train_sd", "rest": "rest_sd"}
COSTS = ("gpu_hours", "seconds", "peak_gib", "images_per_second", "device")  # they vary from run to run
LONG = (
    "method", "version", "role", "dataset", "labels", "unit", "label_seed", "train_seed", "state", "task",
    "metric", "value", "device", "run_id",
)  # fmt: skip
Values = dict[str, Any]


def frame(board: Board) -> pd.DataFrame:
    """Return one row a method, sorted by delta m, then the constant prediction.

    Columns have one type each: text, Int64 or float; an absent value is "", NA or NaN. Columns on tuning,
    re-runs of tasks and parts of the variance are there where some row has a value.
    """
    rows = [_row(board, entry) for entry in board.entries]
    # Metrics of the constant prediction that no method reports have no column.
    table = _typed([*rows, _constant(board)], list(rows[0]))
    optional = table.columns.str.contains("^tuning$|_sd_|_rerun_sd$")
    empty = [c for c in table.columns[optional] if (table[c].isna() | (table[c] == "")).all()]
    if table["lr_scale"].dropna().eq(1.0).all():
        empty.append("lr_scale")
    return table.drop(columns=empty)


def long_frame(board: Board) -> pd.DataFrame:
    """Return one row for each method x seed x task x metric, with columns `LONG`, in the board's order.

    Rows without a task hold, a unit each, delta_m (delta m plus the unit's influence: their mean is delta m,
    their spread makes its interval), influence, and vs_baseline. A seed that failed or lacks a run has one
    row that says so, without a value.
    """
    g, found = board.group, []
    for entry in board.entries:
        about = (entry.label, entry.row.version, entry.role, g.variant, g.labels)
        found += [(*about, *line) for line in (*_seeds(board, entry), *_units(entry))]
    return _typed(found, list(LONG))


def csv_text(board: Board) -> str:
    """Return `frame` as CSV with six significant digits."""
    return frame(board).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def long_csv_text(board: Board) -> str:
    """Return `long_frame` as CSV with nine significant digits."""
    return long_frame(board).to_csv(index=False, float_format="%.9g", lineterminator="\n")


def objects(board: Board) -> list[Values]:
    """Return one object a row of `frame`; None for an absent number."""
    table = frame(board).replace([math.inf, -math.inf], math.nan).astype(object)
    return [
        {str(k): v for k, v in row.items()} for row in table.where(table.notna(), None).to_dict("records")
    ]


def decimals(board: Board) -> dict[str, int]:
    """{task: decimals of its primary metric, the same for every row}"""
    spreads = {t: [e.spreads[t.name].get(t.metric) for e in board.entries] for t in board.group.tasks}
    return {task.name: digits(s.mean for s in found if s) for task, found in spreads.items()}


def texts(board: Board) -> pd.DataFrame:
    """Return the table to read; a score's second line is its change."""
    baseline = board.baseline.label if board.baseline else "baseline"
    places, lines = decimals(board), []
    for row in objects(board):
        line = {
            "method": row["method"],
            "tier": row["tier"],
            "seeds": seeds_text(row),
            "Δm (%)": "0 (reference)" if is_reference(row) else with_interval(delta(row)),
            f"Δm - {baseline}'s": with_interval(versus(row)),
        }
        for task in board.group.tasks:
            score, change = score_texts(row, task, places[task.name])
            line[f"{task.title} {task.arrow}"] = f"{score}\n({change})" if change else score
        line["parameters: training"] = millions(row["params_train"])
        line["inference"] = millions(row["params_infer"])
        line["time a seed"] = training_time(row["gpu_hours"], row["seconds"])
        lines.append(line | {"memory": gibibytes(row["peak_gib"]), "device": row["device"]})
    return pd.DataFrame(lines)


def by_seed(entry: Entry) -> dict[int, float]:
    """{unit: delta m plus its influence}: their mean is delta m, their spread makes its interval."""
    return {u: entry.delta.value + psi for u, psi in (entry.psi or {}).items()} if entry.delta else {}


def is_reference(row: Values) -> bool:
    """Tell whether a row is the reference, with a delta m of 0 by definition."""
    return row["role"] == "reference" and row["delta_m"] is not None


def between(row: Values, name: str, prefix: str, n: int | None) -> Estimate | None:
    """Return the estimate in columns `name` and `{prefix}ci_low`, `ci_high`."""
    value = row.get(name)
    return None if value is None else Estimate(value, row[f"{prefix}ci_low"], row[f"{prefix}ci_high"], n or 0)


def delta(row: Values) -> Estimate | None:
    """Return delta m."""
    return between(row, "delta_m", "", row["n_paired"])


def versus(row: Values) -> Estimate | None:
    """Return delta m minus that of the baseline."""
    return between(row, "vs_baseline_mean", "vs_baseline_", row["vs_baseline_n"])


def seeds_text(row: Values) -> str:
    """`2/3, 1 failed`; "" for the constant prediction."""
    if row["n_planned"] is None:
        return ""
    return f"{row['n_seeds']}/{row['n_planned']}" + (f", {row['n_failed']} failed" if row["n_failed"] else "")


def score_texts(row: Values, task: TaskInfo, places: int) -> tuple[str, str]:
    """`31.20 ± 1.10`, and `+3.1 [+1.0, +5.2] %`: a primary metric, and its change against the reference."""
    name = f"{task.name}_{task.metric}"
    mean, sd = fixed(row[f"{name}_mean"], places), fixed(row[f"{name}_sd"], places)
    change = between(row, f"{task.name}_change", f"{task.name}_change_", row["n_paired"])
    own = change is None or row["role"] == "reference"
    return f"{mean} ± {sd}" if sd else mean, "" if own else f"{with_interval(change)} %"


def _typed(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    for name in columns:
        match pd.api.types.infer_dtype(table[name], skipna=True):
            case "string":
                table[name] = table[name].fillna("")
            case "integer":
                table[name] = table[name].astype("Int64")
            case _:
                table[name] = table[name].astype(float) + 0.0  # no -0
    return table


def _bounds(prefix: str, found: Any) -> Values:
    return {f"{prefix}_{end}": getattr(found, end, None) for end in ("low", "high")}


def _by_unit(values: Mapping[int, float]) -> str:
    """`0:31.2 1:30.4`"""
    return " ".join(f"{unit}:{number(value)}" for unit, value in values.items())


def _row(board: Board, entry: Entry) -> Values:
    """The columns of one row, in their order."""
    row, g, beside, images = entry.row, board.group, entry.beside, entry.beside.images
    compared, again, records = entry.compared, board.reruns.get(entry.label), entry.row.records
    psi, split = [*(entry.psi or {}).values()], next(iter(beside.variance.values()), None)
    masks = {r.spec["label_seed"]: r["hashes"]["labels"] for r in records}
    cells: Values = {
        "tier": entry.tier or "unranked",
        "method": entry.label,
        "hyperparameters": canonical(row.changed) if row.changed else "",
        "version": row.version,
        "balance": row.balance,
        "role": entry.role,
        "dataset": g.variant,
        "labels": g.labels,
        "n_seeds": len(entry.units),
        "n_paired": len(entry.paired),
        "n_planned": len(board.planned),
        "n_failed": entry.failed,
        "delta_m": getattr(entry.delta, "value", None),
        **_bounds("ci", entry.delta),
        "delta_m_sd": np.std(psi, ddof=1) if len(psi) > 1 and any(psi) else None,
        "delta_m_seeds": _by_unit(by_seed(entry)),
        "vs_baseline_mean": getattr(entry.versus, "value", None),
        **_bounds("vs_baseline_ci", entry.versus),
        "vs_baseline_n": getattr(entry.versus, "n", None),
        "vs_baseline_p_holm": getattr(compared, "p_holm", None),
        "decidable": {None: "", True: "yes", False: "too few seeds to decide"}[entry.decidable],
        "p_better": getattr(compared, "p_better", None),
        "rho": getattr(compared, "rho", None),
    }
    for task in g.tasks:
        name, spread = f"{task.name}_{task.metric}", entry.spreads[task.name].get(task.metric)
        values, change = entry.by_unit[task.name].get(task.metric, {}), (entry.changes or {}).get(task.name)
        cells |= {f"{name}_{part}": getattr(spread, part, None) for part in ("mean", "sd")}
        cells |= _bounds(
            f"{name}_ci", estimate(spread.mean, np.array([*values.values()])) if spread else None
        )
        cells[f"{name}_seeds"] = _by_unit(values)
        cells[f"{task.name}_change"] = getattr(change, "value", None)
        cells |= _bounds(f"{task.name}_change_ci", change)
    for task in g.tasks:
        for metric in sorted({m for e in board.entries for m in e.spreads[task.name]} - {task.metric}):
            spread = entry.spreads[task.name].get(metric)
            cells |= {f"{task.name}_{metric}_{part}": getattr(spread, part, None) for part in ("mean", "sd")}
    cells |= {"rerun_floor": again.sd if again else None, "rerun_n": again.n if again else None}
    cells |= {f"{t.name}_{t.metric}_rerun_sd": again.tasks[t.name] if again else None for t in g.tasks}
    cells["oracle_delta_m"] = beside.oracle
    cells["delta_m_all_metrics"] = beside.all_metrics
    cells["delta_m_task_mean"] = beside.task_mean
    for name in REFERENCES:
        found = beside.against.get(name)
        cells[f"delta_m_{name}"] = getattr(found, "value", None)
        cells |= _bounds(f"delta_m_{name}_ci", found)
    cells |= _bounds("delta_m_images", images and images.delta)
    cells |= _bounds("vs_baseline_images", images and images.versus)
    for task in g.tasks:
        cells |= _bounds(f"{task.name}_{task.metric}_images", images and images.scores[task.name])
    cells["variance_split"] = f"{split.label_seeds} x {split.train_seeds}" if split else "not separable"
    for name, column in {DELTA_M: "delta_m", **{t.name: f"{t.name}_{t.metric}" for t in g.tasks}}.items():
        split = beside.variance.get(name)
        cells |= {f"{column}_sd_{part}": getattr(split, sd, None) for part, sd in PARTS.items()}
    parameters = {name: getattr(entry.cost, name, None) for name in ("params_train", "params_infer")}
    return cells | {
        "tuning": str(records[0].spec.get("tuning", "")) if records else "",
        "lr_scale": records[0].spec.get("lr_scale", 1.0) if records else None,
        **{name: count and round(count) for name, count in parameters.items()},
        "label_masks": " ".join(f"{seed}:{mask}" for seed, mask in sorted(masks.items())),
        "data": records[0]["hashes"]["data"] if records else "",
        "protocol": f"{g.protocol['name']} v{g.protocol['version']}",
        "protocol_changes": ", ".join(protocol_changes(g.protocol)),
        "dirty": "yes" if any(r["environment"].get("dirty") for r in records) else "no",
        "run_ids": " ".join(r.id for r in records),
        **{name: getattr(entry.cost, name, "" if name == "device" else None) for name in COSTS},
    }


def _constant(board: Board) -> Values:
    g, found = board.group, board.constant
    cells: Values = {"tier": "not a method", "method": "constant", "dataset": g.variant, "labels": g.labels}
    cells["delta_m"] = found.delta
    for task in g.tasks:
        cells |= {f"{task.name}_{metric}_mean": value for metric, value in found.means[task.name].items()}
        cells[f"{task.name}_change"] = found.changes.get(task.name)
    return cells


def _seeds(board: Board, entry: Entry) -> Iterator[tuple[Any, ...]]:
    """The columns of `LONG` from `unit` on, of the row's seeds."""
    row = entry.row
    for pair in sorted(row.attempted):
        where = (board.group.unit(pair), *pair)
        if pair in row.failed or pair in row.partial:
            yield *where, "failed" if pair in row.failed else "incomplete", "", "", None, "", ""
        for task in board.group.tasks if pair in row.seeds else ():
            record = next(r for r in row.seeds[pair].records if task.name in r.spec["tasks"])
            metrics = row.seeds[pair].metrics(task.name)
            for metric in (task.metric, *sorted(metrics.keys() - {task.metric})):
                yield *where, "done", task.name, metric, metrics[metric], record["cost"]["device"], record.id


def _units(entry: Entry) -> Iterator[tuple[Any, ...]]:
    found: dict[str, Mapping[int, float]] = {"delta_m": by_seed(entry), "influence": entry.psi or {}}
    found["vs_baseline"] = entry.compared.differences if entry.compared else {}
    for metric, values in found.items():
        for unit, value in sorted(values.items()):
            # Below 1e-9 sums differ from machine to machine.
            yield unit, None, None, "done", "", metric, round(value, 9), "", ""
