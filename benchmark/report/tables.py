"""A board as CSV and as Markdown: every column computed from records, byte for byte the same from the same
records.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from benchmark.report import columns as beside
from benchmark.report import details
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seeds_cell, sentences
from benchmark.report.columns import Cells, bounds, number
from benchmark.report.formats import (
    digits,
    fixed,
    gibibytes,
    millions,
    signed,
    training_time,
    with_interval,
    with_sd,
)
from benchmark.report.naming import protocol_changes, title
from benchmark.report.rows import Cost, canonical

_LEADING = ("tier", "method", "hyperparameters", "version", "balance", "role", "dataset", "labels")
_SEEDS = ("n_seeds", "n_paired", "n_planned", "n_failed")
_PROVENANCE = (
    "params_train",
    "params_infer",
    "label_masks",
    "data",
    "protocol",
    "protocol_changes",
    "dirty",
    "run_ids",
)
_COST = (
    "gpu_hours",
    "seconds",
    "peak_gib",
    "images_per_second",
    "device",
)  # last: they vary from run to run by nature


def _seeded(values: Mapping[int, float] | None) -> str:
    """`0:31.2 1:30.4`: the value of each unit."""
    return " ".join(f"{unit}:{number(value)}" for unit, value in (values or {}).items())


def _secondary(board: Board) -> dict[str, list[str]]:
    """{task: metrics beside the primary one that any row has}"""
    return {
        t.name: sorted({m for e in board.entries for m in e.spreads[t.name]} - {t.metric})
        for t in board.group.tasks
    }


def _row(board: Board, entry: Entry, secondary: dict[str, list[str]]) -> Cells:
    row, g = entry.row, board.group
    cells: Cells = {
        "tier": entry.tier or "unranked",
        "method": entry.label,
        "hyperparameters": canonical(row.changed) if row.changed else "",
        "version": str(row.version),
        "balance": row.balance,
        "role": entry.role,
        "dataset": g.variant,
        "labels": g.labels,
        "n_seeds": str(len(entry.units)),
        "n_paired": str(len(entry.paired)),
        "n_planned": str(len(board.planned)),
        "n_failed": str(entry.failed),
    }
    cells |= bounds("delta_m", entry.delta, "ci_low", "ci_high")
    by_seed = (
        {unit: entry.delta.value + psi for unit, psi in entry.psi.items()}
        if entry.delta and entry.psi
        else None
    )
    cells["delta_m_seeds"] = _seeded(by_seed)
    cells |= bounds("vs_baseline_mean", entry.versus, "vs_baseline_ci_low", "vs_baseline_ci_high")
    cells["vs_baseline_n"] = str(entry.versus.n) if entry.versus else ""
    cells["decidable"] = (
        "" if entry.decidable is None else "yes" if entry.decidable else "too few seeds to decide"
    )
    cells |= beside.cells(board, entry)
    for task in g.tasks:
        change = (entry.changes or {}).get(task.name)
        for metric in (task.metric, *secondary[task.name]):
            name, spread = f"{task.name}_{metric}", entry.spreads[task.name].get(metric)
            cells[f"{name}_mean"], cells[f"{name}_sd"] = (
                number(spread.mean if spread else None),
                number(spread.sd if spread else None),
            )
            if metric == task.metric:
                cells[f"{name}_seeds"] = _seeded(entry.by_unit[task.name].get(metric))
                cells |= bounds(
                    f"{task.name}_change", change, f"{task.name}_change_ci_low", f"{task.name}_change_ci_high"
                )
    records = row.records
    masks = {r.spec["label_seed"]: r["hashes"]["labels"] for r in records}
    cost = entry.cost or Cost(None, None, None, None, None, None, "")
    return cells | {
        "tuning": _tuning(entry),
        "lr_scale": number(_rate(entry)),
        "params_train": number_exact(cost.params_train),
        "params_infer": number_exact(cost.params_infer),
        "label_masks": " ".join(f"{seed}:{mask}" for seed, mask in sorted(masks.items())),
        "data": records[0]["hashes"]["data"] if records else "",
        "protocol": f"{g.protocol['name']} v{g.protocol['version']}",
        "protocol_changes": ", ".join(protocol_changes(g.protocol)),
        "dirty": "yes" if any(r["environment"].get("dirty") for r in records) else "no",
        "run_ids": " ".join(r.id for r in records),
        "gpu_hours": number(cost.gpu_hours),
        "seconds": number(cost.seconds),
        "peak_gib": number(cost.peak_gib),
        "images_per_second": number(cost.images_per_second),
        "device": cost.device,
    }


def number_exact(count: float | None) -> str:
    """A count, all digits."""
    return "" if count is None else f"{count:.0f}"


def _tuning(entry: Entry) -> str:
    """How the row's keywords were searched; its column is there where any row's were."""
    return str(entry.row.records[0].spec.get("tuning", "")) if entry.row.records else ""


def _rate(entry: Entry) -> float | None:
    """The row's learning rate over the protocol's; its column is there where any row's is not 1."""
    return float(entry.row.records[0].spec.get("lr_scale", 1.0)) if entry.row.records else None


def _constant(board: Board) -> Cells:
    cells: Cells = {
        "tier": "not a method",
        "method": "constant",
        "dataset": board.group.variant,
        "labels": board.group.labels,
    }
    cells["delta_m"] = number(board.constant.delta)
    for task in board.group.tasks:
        cells |= {
            f"{task.name}_{metric}_mean": number(v) for metric, v in board.constant.means[task.name].items()
        }
        cells[f"{task.name}_change"] = number(board.constant.changes.get(task.name))
    return cells


def columns(board: Board) -> list[str]:
    """The columns of a board's CSV, in their fixed order."""
    names = [*_LEADING, *_SEEDS, "delta_m", "ci_low", "ci_high", "delta_m_seeds"]
    names += ["vs_baseline_mean", "vs_baseline_ci_low", "vs_baseline_ci_high", "vs_baseline_n"]
    names += ["vs_baseline_p_holm", "decidable", "p_better", "rho"]
    for task in board.group.tasks:
        primary, change = f"{task.name}_{task.metric}", f"{task.name}_change"
        names += [
            f"{primary}_mean",
            f"{primary}_sd",
            f"{primary}_seeds",
            change,
            f"{change}_ci_low",
            f"{change}_ci_high",
        ]
    for task in board.group.tasks:
        names += [f"{task.name}_{m}_{what}" for m in _secondary(board)[task.name] for what in ("mean", "sd")]
    tuned = ["tuning"] if any(_tuning(entry) for entry in board.entries) else []
    tuned += ["lr_scale"] if any(_rate(entry) not in (None, 1.0) for entry in board.entries) else []
    return [*names, *beside.columns(board), *tuned, *_PROVENANCE, *_COST]


def csv_text(board: Board) -> str:
    """The board as CSV: one line a row, sorted by delta m, then the constant predictor, which is not a
    method.
    """
    out = io.StringIO()
    names, secondary = columns(board), _secondary(board)
    # The constant's metrics that no method reports have no column.
    writer = csv.DictWriter(out, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*(_row(board, entry, secondary) for entry in board.entries), _constant(board)])
    return out.getvalue()


def decimals(board: Board) -> dict[str, int]:
    """{task: decimals of its primary metric, the same for every row}"""
    return {
        t.name: digits(
            [e.spreads[t.name][t.metric].mean for e in board.entries if t.metric in e.spreads[t.name]]
        )
        for t in board.group.tasks
    }


def markdown(board: Board) -> str:
    """The board as a Markdown document: title, table, caption."""
    g, places = board.group, decimals(board)
    baseline = board.baseline.label if board.baseline else "baseline"
    header = ["method", "tier", "seeds", "Δm (%)", f"Δm - {baseline}'s"]
    header += [f"{t.title} {t.arrow}" for t in g.tasks]
    header += ["parameters: training", "inference", "time a seed", "memory", "device"]
    lines = []
    for entry in board.entries:
        cost = entry.cost
        line = [entry.label, entry.tier or "unranked", seeds_cell(entry, len(board.planned))]
        line += [
            "0 (reference)" if entry is board.reference and entry.delta else with_interval(entry.delta),
            with_interval(entry.versus),
        ]
        for t in g.tasks:
            change = (entry.changes or {}).get(t.name)
            value = with_sd(entry.spreads[t.name].get(t.metric), places[t.name])
            line.append(
                value + (f" ({with_interval(change)} %)" if change and entry is not board.reference else "")
            )
        line += (
            [millions(cost.params_train), millions(cost.params_infer), training_time(cost)]
            if cost
            else [""] * 3
        )
        line += [gibibytes(cost.peak_gib), cost.device] if cost else [""] * 2
        lines.append(line)
    constant = board.constant
    floor = ["constant", "not a method", "", signed(constant.delta), ""]
    for t in g.tasks:
        mean, against = constant.means[t.name].get(t.metric), constant.changes.get(t.name)
        floor.append(fixed(mean, places[t.name]) + (f" ({signed(against)} %)" if against is not None else ""))
    lines.append([*floor, *[""] * 5])
    table = [header, ["---"] * 3 + ["---:"] * (len(header) - 4) + ["---"], *lines]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)
    caption = "\n".join(f"- {sentence}" for sentence in sentences(board))
    return f"# {title(g, None)}\n\n{body}\n\n{caption}\n{details.markdown(board, places)}"
