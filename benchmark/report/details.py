"""The tables below a board: tests, other references, test images, re-runs, parts of the noise, and papers.

Numbers that papers print, from `results/published.toml`, stand apart from a board's rows: other code and
other choices made them, so they enter no ranking, no CSV and no figure. Their delta m is computed here from
the printed metrics against the file's own single-task row of the same data set, label setting and encoder,
and stands beside that of the paper, which may be relative to another row.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec
import pandas as pd

from benchmark import ROOT
from benchmark.errors import UserError, unknown
from benchmark.files import read_toml
from benchmark.report.board import Board
from benchmark.report.formats import fixed, markdown_table, signed, with_interval
from benchmark.report.rows import Group
from benchmark.report.tables import PARTS, REFERENCES, Values, objects
from benchmark.report.texts import between, decimals, is_reference
from benchmark.typed import convert

PUBLISHED = ROOT / "results" / "published.toml"
TITLE = "Published numbers (other code, their own choice of epoch; not comparable in level)"
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
Columns = dict[str, tuple[str, str, int]]  # {heading: column of the board's frame, kind, decimals}


@dataclass(frozen=True)
class Section:
    """A table of texts, the first of whose columns are names, with notes below."""

    title: str
    table: pd.DataFrame
    notes: list[str]
    names: int = 1

    def markdown(self) -> str:
        """Return it as Markdown."""
        table = markdown_table([*self.table], self.table.values.tolist(), texts=self.names)
        notes = self.notes[0] + "\n" if len(self.notes) == 1 else "".join(f"- {n}\n" for n in self.notes)
        return f"\n## {self.title}\n\n{table}\n\n{notes}"


def sections(board: Board) -> list[Section]:
    """Return the sections and columns for which some row has a value."""
    tests: Columns = {
        "seeds": ("vs_baseline_n", "number", 0),
        "difference": ("vs_baseline_mean", "estimate", 1),
        "test images": ("vs_baseline_images", "signed range", 1),
        "p": ("vs_baseline_p_holm", "p", 0),
        "decidable": ("decidable", "text", 0),
        "P(better)": ("p_better", "number", 2),
        "rho": ("rho", "number", 2),
    }
    other: Columns = {
        "all metrics": ("delta_m_all_metrics", "signed", 1),
        "mean by task": ("delta_m_task_mean", "signed", 1),
        **{name.replace("_", " "): (f"delta_m_{name}", "estimate", 1) for name in REFERENCES},
        "oracle": ("oracle_delta_m", "signed", 1),
    }
    scores: Columns = {}
    again: Columns = {"seeds": ("rerun_n", "number", 0), "Δm: run again": ("rerun_floor", "sd", 2)}
    again["Δm: over seeds"] = ("delta_m_sd", "number", 2)
    noise: Columns = {"seeds": ("variance_split", "text", 0)}
    noise |= {f"Δm: {part}": (f"delta_m_sd_{part}", "sd", 2) for part in PARTS}
    for task, places in zip(board.group.tasks, decimals(board).values(), strict=True):
        title, name = task.title, f"{task.name}_{task.metric}"
        scores[f"{title}: seeds"] = (f"{name}_ci", "range", places)
        scores[f"{title}: test images"] = (f"{name}_images", "range", places)
        again[f"{title}: run again"] = (f"{name}_rerun_sd", "sd", places + 1)
        noise |= {f"{title}: {part}": (f"{name}_sd_{part}", "sd", places) for part in PARTS}
    found, rows = [], objects(board)[: len(board.entries)]
    if contrasts := board.verdicts.contrasts:
        lines = [
            (c.contrast, a, b, with_interval(c.estimate), f"{c.p_holm:.3g}" if c.p_holm else "", c.verdict)
            for a, b, c in contrasts
        ]
        table = pd.DataFrame(lines, columns=["contrast", "first", "second", "difference", "p", "first is"])
        found.append(Section("Named contrasts", table, [_TESTS]))
    for title, columns, key, note in (
        (f"Against {board.baseline.label if board.baseline else ''}", tests, "decidable", _TESTS),
        ("Other Δm, in %", other, "", _OTHER),
        ("Two uncertainties of each score", scores, "", _SCORES),
        ("The same seeds run again", again, "rerun_n", _AGAIN),
        ("Where the noise comes from", noise, "variance_split", _NOISE),
    ):
        kept = [row for row in rows if not key or row.get(key) not in (None, "", "not separable")]
        cells = [{"method": r["method"]} | {c: _cell(r, *how) for c, how in columns.items()} for r in kept]
        table = pd.DataFrame(cells, columns=["method", *columns])
        used = [column for column in columns if table[column].any()]
        if used:
            found.append(Section(title, table.loc[table[used].any(axis=1), ["method", *used]], [note]))
    return found


def _cell(row: Values, name: str, kind: str, places: int) -> str:
    value = row.get(name)
    if kind.endswith("range"):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        form = signed if kind.startswith("signed") else fixed
        return "" if low is None else f"[{form(low, places)}, {form(high, places)}]"
    if kind == "estimate" and is_reference(row) and value == 0:
        return "0 (reference)"
    if kind == "estimate":
        n = "vs_baseline_n" if name == "vs_baseline_mean" else "n_paired"
        return with_interval(between(row, name, f"{name.removesuffix('_mean')}_", n))
    if kind == "sd" and value and not round(value, places):
        return f"{value:.0e}"  # one that the digits would hide keeps a digit
    if kind == "p":
        return "" if value is None else f"{value:.3g}"
    if kind == "text":
        return str(value)
    return signed(value, places) if kind == "signed" else fixed(value, places)


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a paper.

    metrics: {`TASK_METRIC`: value with the digits in print}. source: a key of `Papers.sources`. delta_m: in
    print, in %, relative to the row with the key delta_m_reference.
    """

    key: str
    method: str
    dataset: str
    labels: Literal["published:one", "published:random", "full"]
    encoder: str
    metrics: dict[str, Decimal]
    source: str
    delta_m: Decimal | None = None
    delta_m_reference: str = ""
    note: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, label setting and encoder: rows of one place are compared."""
        return self.dataset, self.labels, self.encoder


class Papers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file.

    metrics: the better direction of each `TASK_METRIC`. reference: the key of its single-task rows. images:
    {data set: "795 + 654"}, the number for training and for the test.
    """

    reference: str
    metrics: dict[str, Literal["higher", "lower"]]
    sources: dict[str, str]
    row: list[Paper]
    images: dict[str, str] = {}

    def find(self, row: Paper, key: str) -> Paper | None:
        """Return the row with this key and the same place as `row`."""
        return next((r for r in self.row if (r.place, r.key) == (row.place, key)), None)

    def delta_m(self, row: Paper, key: str) -> float | None:
        """Return delta m of a row in % against that with this key, or None for other metrics."""
        base = self.find(row, key)
        if base is None or base.metrics.keys() != row.metrics.keys():
            return None
        signs = {m: 1 if direction == "higher" else -1 for m, direction in self.metrics.items()}
        changes = [signs[m] * float(v / base.metrics[m] - 1) for m, v in row.metrics.items()]
        return 100 * sum(changes) / len(changes)


def read_papers(path: Path = PUBLISHED) -> Papers:
    """Read the file. Raises `UserError` that names a wrong row and key."""
    papers: Papers = convert(read_toml(path, parse_float=Decimal), Papers, str(path))
    places = set()
    for number, row in enumerate(papers.row, 1):
        where = f"{path}: row {number} ({row.method})"
        if (row.place, row.key) in places:
            raise UserError(f"{where} has the key {row.key!r} of a row before; give it its own.")
        places.add((row.place, row.key))
        if row.source not in papers.sources:
            raise UserError(f"{where}: {unknown('source', row.source, papers.sources)}")
        for metric, value in row.metrics.items():
            if metric not in papers.metrics:
                raise UserError(f"{where}: {unknown('metric', metric, papers.metrics)}")
            if not value.is_finite() or not 0 < value < 10**9:
                raise UserError(f"{where}: {metric} is {value}; expected a number above 0, as printed.")
        if not row.metrics or (row.delta_m is None) != (not row.delta_m_reference):
            raise UserError(f"{where} needs metrics, and both or none of delta_m and delta_m_reference.")
    return papers


def papers(g: Group) -> Section | None:
    """Return the rows of a board's data set and label setting; None for a board for tuning."""
    if not PUBLISHED.is_file() or g.protocol["judge"] != "test":
        return None
    file, labels = read_papers(), g.labels.removeprefix("published:")
    alike = [r for r in file.row if r.labels.removeprefix("published:") == labels]
    rows = [r for r in alike if f"{g.variant}-".startswith(f"{r.dataset}-")]
    if not rows:
        return None
    lines = []
    for r in rows:
        line = {"method": r.method, "encoder": r.encoder}
        for metric, better in file.metrics.items():
            if any(metric in other.metrics for other in rows):
                arrow = "↑" if better == "higher" else "↓"
                line[f"{metric.replace('_', ' ')} {arrow}"] = str(r.metrics.get(metric, ""))
        line["Δm (%)"] = "0" if r.key == file.reference else signed(file.delta_m(r, file.reference), 2)
        line["Δm as printed"] = "" if r.delta_m is None else f"{r.delta_m:+}"
        if r.delta_m is not None and r.delta_m_reference != file.reference:
            base = file.find(r, r.delta_m_reference)
            line["Δm as printed"] += f" (against {base.method if base else r.delta_m_reference})"
        lines.append(line | {"source": r.source, "note": r.note})
    trained = max((r["images"] for x in g.rows for r in x.records if not r["one_task"]), default=0)
    own = f"{trained} + {max((t.test_images or 0 for t in g.tasks), default=0)}"
    first, theirs = rows[0], file.images.get(rows[0].dataset, own)
    compared = {"images": (theirs, own), "data": (first.dataset, g.variant)}
    compared["labels"] = (f"'{first.labels}'", f"'{g.labels}'")
    if own == f"0 + {theirs.split()[-1]}":  # no run says how many train images there are
        del compared["images"]
    notes = [f"Not the same: {k} {a} in the papers, {b} here." for k, (a, b) in compared.items() if a != b]
    notes.append(
        "Δm (%): from these numbers against the single-task row of the same encoder. As printed: against the "
        "same row or the one in brackets."
    )
    used = {r.source for r in rows}
    notes += [f"{name}: {text}." for name, text in file.sources.items() if name in used]
    return Section(TITLE, pd.DataFrame(lines), notes, names=2)
