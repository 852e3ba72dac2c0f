"""The tables below a board: tests, other references, test images, re-runs, parts of the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from benchmark.report.board import Board
from benchmark.report.formats import fixed, markdown_table, signed, with_interval
from benchmark.report.tables import (
    PARTS,
    REFERENCES,
    Values,
    between,
    decimals,
    is_reference,
    objects,
    versus,
)

Cell = Callable[[Values], str]
_TESTS = (
    "p: exact sign-flip test with Holm's correction. P(better): share of seeds ahead. rho: correlation over "
    "seeds. test images: 95 % interval had other test images been drawn (paired bootstrap)."
)
_OTHER = (
    "all metrics, mean by task: over every metric of the tasks. equal epochs, equal steps, full labels: "
    "against references trained so. oracle: best epoch on the test set, a diagnostic and no score."
)
_SCORES = "seeds: 95 % interval of the mean. test images: had others been drawn, for these seeds."
_AGAIN = "run again: standard deviation of one run of a seed; a difference of that size says nothing."
_NOISE = "Standard deviations over draws of labels, over train seeds, and of the rest."


@dataclass(frozen=True)
class Section:
    """A table of texts with a fixed footnote."""

    title: str
    table: pd.DataFrame
    note: str


def sections(board: Board) -> list[Section]:
    """Return the sections and columns for which some row has a value."""
    tests: dict[str, Cell] = {
        "seeds": lambda r: fixed(r["vs_baseline_n"], 0),
        "difference": lambda r: with_interval(versus(r)),
        "test images": _range("vs_baseline_images_", 1, signed),
        "p": lambda r: _p(r["vs_baseline_p_holm"]),
        "decidable": lambda r: str(r["decidable"]),
        "P(better)": lambda r: fixed(r["p_better"], 2),
        "rho": lambda r: fixed(r["rho"], 2),
    }
    other: dict[str, Cell] = {
        "all metrics": lambda r: signed(r["delta_m_all_metrics"]),
        "mean by task": lambda r: signed(r["delta_m_task_mean"]),
        **{name.replace("_", " "): _reference(f"delta_m_{name}") for name in REFERENCES},
        "oracle": lambda r: signed(r["oracle_delta_m"]),
    }
    again: dict[str, Cell] = {
        "seeds": lambda r: fixed(r["rerun_n"], 0),
        "Δm: run again": _sd("rerun_floor", 2),
        "Δm: over seeds": lambda r: fixed(r["delta_m_sd"], 2) if r["rerun_n"] else "",
    }
    scores: dict[str, Cell] = {}
    noise: dict[str, Cell] = {"seeds": lambda r: r["variance_split"].replace("not separable", "")}
    noise |= {f"Δm: {part}": _sd(f"delta_m_sd_{part}", 2) for part in PARTS}
    for task, places in zip(board.group.tasks, decimals(board).values(), strict=True):
        title, name = task.title, f"{task.name}_{task.metric}"
        scores[f"{title}: seeds"] = _range(f"{name}_ci_", places, fixed)
        scores[f"{title}: test images"] = _range(f"{name}_images_", places, fixed)
        again[f"{title}: run again"] = _sd(f"{name}_rerun_sd", places + 1)
        noise |= {f"{title}: {part}": _sd(f"{name}_sd_{part}", places) for part in PARTS}
    found, rows = [], objects(board)[:-1]
    if contrasts := board.verdicts.contrasts:
        lines = [
            (c.contrast, a, b, with_interval(c.estimate), _p(c.p_holm), c.verdict) for a, b, c in contrasts
        ]
        table = pd.DataFrame(lines, columns=["contrast", "first", "second", "difference", "p", "first is"])
        found.append(Section("Named contrasts", table, _TESTS))
    for title, cells, note in (
        (f"Against {board.baseline.label if board.baseline else ''}", tests, _TESTS),
        ("Other Δm, in %", other, _OTHER),
        ("Two uncertainties of each score", scores, _SCORES),
        ("The same seeds run again", again, _AGAIN),
        ("Where the noise comes from", noise, _NOISE),
    ):
        table = pd.DataFrame(
            [{"method": r["method"]} | {c: cell(r) for c, cell in cells.items()} for r in rows]
        )
        used = [column for column in cells if table[column].any()]
        if used:
            found.append(Section(title, table.loc[table[used].any(axis=1), ["method", *used]], note))
    return found


def markdown(board: Board) -> str:
    """Return the sections as Markdown."""
    tables = ((s.title, markdown_table([*s.table], s.table.values.tolist()), s.note) for s in sections(board))
    return "".join(f"\n## {title}\n\n{table}\n\n{note}\n" for title, table, note in tables)


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _reference(name: str) -> Cell:
    def cell(row: Values) -> str:
        if is_reference(row) and row[name] == 0:
            return "0 (reference)"
        return with_interval(between(row, name, f"{name}_", row["n_paired"]))

    return cell


def _range(prefix: str, places: int, form: Callable[[float | None, int], str]) -> Cell:
    """`[30.1, 32.3]`"""

    def cell(row: Values) -> str:
        low, high = row[f"{prefix}low"], row[f"{prefix}high"]
        return "" if low is None else f"[{form(low, places)}, {form(high, places)}]"

    return cell


def _sd(column: str, places: int) -> Cell:
    """A standard deviation; one that the digits would hide keeps a digit."""

    def cell(row: Values) -> str:
        sd = row.get(column)
        return f"{sd:.0e}" if sd and not round(sd, places) else fixed(sd, places)

    return cell
