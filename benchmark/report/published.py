"""Numbers that papers print, from `results/published.toml`: shown below a board, apart from its rows.

Other code and other choices made them, so they enter no ranking, no CSV and no figure. Their delta m is
computed here from the printed metrics against the file's own single-task row of the same data set, label
setting and encoder, and stands beside that of the paper, which may be relative to another row.
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
from benchmark.report.formats import markdown_table, signed
from benchmark.report.rows import Group
from benchmark.typed import convert

PATH = ROOT / "results" / "published.toml"
TITLE = "Published numbers (other code, their own choice of epoch; not comparable in level)"


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


@dataclass(frozen=True)
class Section:
    """Published numbers below a board: a table of texts, one row a paper's, and notes."""

    table: pd.DataFrame
    notes: list[str]


def read(path: Path = PATH) -> Papers:
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


def section(board: Board) -> Section | None:
    """Return the rows of the board's data set and label setting; None for a board for tuning."""
    g = board.group
    if not PATH.is_file() or g.protocol["judge"] != "test":
        return None
    papers, labels = read(), g.labels.removeprefix("published:")
    rows = [
        r
        for r in papers.row
        if f"{g.variant}-".startswith(f"{r.dataset}-") and r.labels.removeprefix("published:") == labels
    ]
    if not rows:
        return None
    metrics = [m for m in papers.metrics if any(m in r.metrics for r in rows)]
    lines = []
    for r in rows:
        line = {"method": r.method, "encoder": r.encoder}
        for m in metrics:
            arrow = "↑" if papers.metrics[m] == "higher" else "↓"
            line[f"{m.replace('_', ' ')} {arrow}"] = str(r.metrics.get(m, ""))
        line["Δm (%)"] = "0" if r.key == papers.reference else signed(papers.delta_m(r, papers.reference), 2)
        line["Δm as printed"] = "" if r.delta_m is None else f"{r.delta_m:+}"
        if r.delta_m is not None and r.delta_m_reference != papers.reference:
            base = papers.find(r, r.delta_m_reference)
            line["Δm as printed"] += f" (against {base.method if base else r.delta_m_reference})"
        lines.append(line | {"source": r.source, "note": r.note})
    used = {r.source for r in rows}
    sources = [f"{name}: {text}." for name, text in papers.sources.items() if name in used]
    return Section(pd.DataFrame(lines), [*_notes(g, rows[0], papers.images), *sources])


def _notes(g: Group, row: Paper, images: dict[str, str]) -> list[str]:
    trained = max((r["images"] for x in g.rows for r in x.records if not r["one_task"]), default=0)
    own = f"{trained} + {max((t.test_images or 0 for t in g.tasks), default=0)}"
    theirs = images.get(row.dataset, own)
    differences = {
        f"images {theirs} in the papers, {own} here": own not in (theirs, f"0 + {theirs.split()[-1]}"),
        f"data {row.dataset} in the papers, {g.variant} here": g.variant != row.dataset,
        f"labels '{row.labels}' in the papers, '{g.labels}' here": g.labels != row.labels,
    }
    return [
        *(f"Not the same: {text}." for text, differs in differences.items() if differs),
        "Δm (%): from these numbers against the single-task row of the same encoder. As printed: against the "
        "same row or the one in brackets.",
    ]


def markdown(board: Board) -> str:
    """Return the section as Markdown, "" where there is none."""
    found = section(board)
    if found is None:
        return ""
    table = markdown_table([*found.table], found.table.values.tolist(), texts=2)
    return f"\n## {TITLE}\n\n{table}\n\n" + "".join(f"- {note}\n" for note in found.notes)
