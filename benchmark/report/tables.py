"""A board as one DataFrame, as CSV, long CSV and JSON objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import printable
from benchmark.report.board import Board, Entry
from benchmark.report.formats import number
from benchmark.report.grouping import protocol_changes
from benchmark.report.references import DELTA_M, REFERENCES, beside
from benchmark.report.rows import Group, Row, canonical
from benchmark.report.statistics import Array, Estimate, changes, delta_m, deviation, difference, estimate
from benchmark.report.verdict import TOO_FEW

PARTS = {"label_seed": "label_sd", "train_seed": "train_sd", "rest": "rest_sd"}
COSTS = ("gpu_hours", "seconds", "peak_gib", "images_per_second", "device")  # they vary from run to run
LONG = (
    "method", "version", "role", "dataset", "labels", "unit", "label_seed", "train_seed", "task", "metric",
    "value", "device", "run_id",
)  # fmt: skip
_INTERVALS = {"delta_m": "ci", "vs_baseline_mean": "vs_baseline_ci"}  # bounds of any other X are X_ci_...
_FORMULA = re.compile(r"[=@]|[+-][A-Za-z(]")  # how a text begins that a spreadsheet takes for one
Values = dict[str, Any]


@lru_cache(maxsize=16)
def frame(board: Board) -> pd.DataFrame:
    """Return one row a method, sorted by delta m, ablations, references of other budgets, the constant one.

    Columns have one type each: text, Int64 or float; an absent value is "", NA or NaN. Columns on tuning,
    parts of the variance and minutes of labelling are there where some row has a value.
    """
    rows = [_row(board, entry) for entry in board.entries]
    # Metrics of the constant prediction that no method reports have no column.
    table = _typed([*rows, *_beside(board), _constant(board)], list(rows[0]))
    optional = table.columns.str.contains("^tuning$|^label_minutes$|_sd_")
    empty = [c for c in table.columns[optional] if (table[c].isna() | (table[c] == "")).all()]
    if table["lr_scale"].dropna().eq(1.0).all():
        empty.append("lr_scale")
    return table.drop(columns=empty)


def long_frame(board: Board) -> pd.DataFrame:
    """Return one row for each method x seed x task x metric, with columns `LONG`, in the board's order."""
    g, found = board.group, []
    for entry in board.entries:
        about = (entry.label, entry.row.version, entry.role, g.variant, g.labels)
        for pair, seed in sorted(entry.row.seeds.items()):
            for task, r in ((t, r) for t in g.tasks for r in seed.records if t.name in r.spec["tasks"]):
                values = seed.metrics[task.name]
                for metric in (task.metric, *sorted(values.keys() - {task.metric})):
                    value = (task.name, metric, values[metric], r["cost"]["device"], r.id)
                    found.append((*about, g.unit(pair), *pair, *value))
    return _typed(found, list(LONG))


def csv_text(board: Board) -> str:
    """Return `frame` as CSV with six significant digits."""
    return csv(frame(board))


def long_csv_text(board: Board) -> str:
    """Return `long_frame` as CSV with nine significant digits."""
    return csv(long_frame(board), "%.9g")


def csv(table: pd.DataFrame, number: str = "%.6g") -> str:
    """Return a table as CSV, without control codes, and with no text that a spreadsheet would compute."""
    safe = table.copy()
    for column in (name for name in table if not pd.api.types.is_numeric_dtype(table[name])):
        safe[column] = [f"'{v}" if isinstance(v, str) and _FORMULA.match(v) else v for v in table[column]]
    return printable(safe.to_csv(index=False, float_format=number, lineterminator="\n"))


@lru_cache(maxsize=16)
def objects(board: Board) -> list[Values]:
    """Return one object a row of `frame`; None for an absent number."""
    table = frame(board).astype(object)
    rows: Any = table.where(table.notna(), None).to_dict("records")
    return [*rows]


def between(row: Values, name: str) -> Estimate | None:
    """Return the estimate in a column, with its bounds and its number of units."""
    if (value := row.get(name)) is None:
        return None
    low, high = (row.get(column) for column in _bounds(_INTERVALS.get(name, f"{name}_ci"), None))
    return Estimate(value, low, high, row["vs_baseline_n" if name == "vs_baseline_mean" else "n_paired"] or 0)


def _typed(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    """Return rows, dicts or tuples, as a table; column by column in plain Python, which takes a tenth."""
    table: dict[str, Any] = {}
    for place, name in enumerate(columns):
        values = [row.get(name) if isinstance(row, dict) else row[place] for row in rows]
        match pd.api.types.infer_dtype(values, skipna=True):
            case "string":
                texts = [v if isinstance(v, str) else "" for v in values]
                table[name] = pd.Series(texts, dtype=object)
            case "integer":
                table[name] = pd.array(values, dtype="Int64")
            case _:
                table[name] = np.array(values, dtype=float) + 0.0  # no -0
    return pd.DataFrame(table, columns=columns)


def _bounds(prefix: str, found: Estimate | None) -> Values:
    return {f"{prefix}_{end}": found and getattr(found, end) for end in ("low", "high")}


def _valued(name: str, found: Estimate | None) -> Values:
    return {name: found and found.value, **_bounds(_INTERVALS.get(name, f"{name}_ci"), found)}


def _mean_sd(name: str, values: Array | None) -> Values:
    mean = None if values is None else float(values.mean())
    return {f"{name}_mean": mean, f"{name}_sd": None if values is None else deviation(values)}


def _by_unit(values: Mapping[int, float]) -> str:
    """`0:31.2 1:30.4`"""
    return " ".join(f"{unit}:{number(value)}" for unit, value in values.items())


def _row(board: Board, entry: Entry) -> Values:
    """The columns of one row, in their order."""
    row, g, delta = entry.row, board.group, entry.delta
    compared, again = entry.compared, board.reruns.get(entry.label)
    split, seeds = next(iter(entry.variance.values()), None), np.array([*entry.by_seed.values()])
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
        "n_planned": len(g.planned),
        "n_failed": len(row.failed),
        **_valued("delta_m", delta),
        "delta_m_sd": deviation(seeds) if delta and delta.high is not None else None,
        "delta_m_seeds": _by_unit(entry.by_seed),
        **_valued("vs_baseline_mean", compared.estimate if compared else None),
        "vs_baseline_n": compared and compared.estimate.n,
        "vs_baseline_p_holm": compared and compared.p_holm,
        "decidable": {None: "", True: "yes", False: TOO_FEW}[entry.decidable],
        "p_better": compared and compared.p_better,
        "rho": compared and compared.rho,
    }
    for task in g.tasks:
        name, values = f"{task.name}_{task.metric}", entry.metrics[task.name].get(task.metric)
        cells |= _mean_sd(name, values)
        cells |= _bounds(f"{name}_ci", None if values is None else estimate(float(values.mean()), values))
        cells[f"{name}_seeds"] = (
            "" if values is None else _by_unit(dict(zip(entry.units, values, strict=True)))
        )
        cells |= _valued(f"{task.name}_change", entry.changes.get(task.name))
    for task in g.tasks:
        for metric in sorted({m for e in board.entries for m in e.metrics[task.name]} - {task.metric}):
            cells |= _mean_sd(f"{task.name}_{metric}", entry.metrics[task.name].get(metric))
    cells |= {"rerun_floor": again and again.sd, "rerun_n": again and again.n}
    cells |= entry.definitions
    for name in REFERENCES:
        cells |= _valued(f"delta_m_{name}", entry.against.get(name))
    for name, over_images in entry.images.items():
        cells |= _bounds(f"{name}_images", over_images)
    cells["variance_split"] = f"{split.label_seeds} x {split.train_seeds}" if split else "not separable"
    for name, column in {DELTA_M: "delta_m", **{t.name: f"{t.name}_{t.metric}" for t in g.tasks}}.items():
        split = entry.variance.get(name)
        cells |= {f"{column}_sd_{part}": getattr(split, sd, None) for part, sd in PARTS.items()}
    return cells | _runs(g, row)


def _runs(g: Group, row: Row) -> Values:
    """The columns on the runs of a row, which end in what they cost."""
    records = row.records
    masks = {r.spec["label_seed"]: r["hashes"]["labels"] for r in records}
    return {
        "tuning": str(records[0].spec.get("tuning", "")) if records else "",
        "lr_scale": records[0].spec.get("lr_scale", 1.0) if records else None,
        **{
            name: (n := row.cost.get(name)) and round(n) for name in ("steps", "params_train", "params_infer")
        },
        "label_minutes": g.minutes(row),
        "label_masks": " ".join(f"{seed}:{mask}" for seed, mask in sorted(masks.items())),
        "data": records[0]["hashes"]["data"] if records else "",
        "protocol": f"{g.protocol['name']} v{g.protocol['version']}",
        "protocol_changes": ", ".join(protocol_changes(g.protocol)),
        "dirty": "yes" if any(r["environment"].get("dirty") for r in records) else "no",
        "run_ids": " ".join(r.id for r in records),
        **{name: row.cost.get(name, "" if name == "device" else None) for name in COSTS},
    }


def _beside(board: Board) -> Iterator[Values]:
    """The rows of references at another budget, whose runs are those of another group."""
    g, (reference, baseline) = board.group, board.references
    for other in beside(g, board.others).values():
        pairs, label = other.g.shared(other.row), other.label
        cells: Values = {"tier": "reference", "method": label, "role": "reference of another budget"}
        cells |= {"version": other.row.version, "dataset": g.variant, "labels": g.labels}
        cells |= {"n_seeds": len(pairs), "n_planned": len(g.planned), "n_failed": len(other.row.failed)}
        for task in g.tasks:
            values = np.array([*other.g.by_unit(other.row, task.name, task.metric, pairs).values()])
            cells |= _mean_sd(f"{task.name}_{task.metric}", values)
        shared = g.shared(*(row for row in (reference, baseline) if row))
        both = [pair for pair in shared if pair in pairs]
        if reference and both and (base := g.scores(reference, both)).mean(0).all():
            scores = other.g.scores(other.row, both)
            cells |= _valued("delta_m", delta_m(scores, base, g.signs)) | {"n_paired": len(both)}
            if baseline:
                found = difference(scores, g.scores(baseline, both), base, g.signs)
                cells |= _valued("vs_baseline_mean", found) | {"vs_baseline_n": len(both)}
        yield cells | _runs(other.g, other.row)


def _constant(board: Board) -> Values:
    g, means = board.group, board.constant
    cells: Values = {"tier": "not a method", "method": "constant", "dataset": g.variant, "labels": g.labels}
    for task in g.tasks:
        cells |= {f"{task.name}_{metric}_mean": value for metric, value in means[task.name].items()}
    base = board.reference and [board.reference.metrics[t.name].get(t.metric) for t in g.tasks]
    if base and all(t.metric in means[t.name] for t in g.tasks) and all(v is not None for v in base):
        scores = np.array([[means[t.name][t.metric] for t in g.tasks]])
        found = changes(scores, np.array(base, dtype=float).T, g.signs)
        if np.isfinite(found).all():
            cells |= {f"{t.name}_change": value for t, value in zip(g.tasks, found.tolist(), strict=True)}
            cells["delta_m"] = float(found.mean())
    return cells
