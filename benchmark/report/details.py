"""The tables below a board: tests, re-runs, parts of the noise, and papers.

Numbers that papers print, from `results/published.toml`, stand apart from a board's rows: other code and
other choices made them, so they enter no ranking, no CSV and no figure. Their delta m is computed here from
the printed metrics against the file's own single-task row of the same data set, label setting and encoder,
and stands beside that of the paper, which may be relative to another row.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
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
from benchmark.report.tables import PARTS, between, objects
from benchmark.report.verdict import AHEAD, BEHIND, Comparison
from benchmark.typed import convert

PUBLISHED = ROOT / "results" / "published.toml"
TITLE = "Published numbers (other code, their own choice of epoch; not comparable in level)"
_TESTS = (
    "p: exact sign-flip test with Holm's correction. P(better): share of seeds ahead. rho: correlation over "
    "seeds. test images: 95 % interval had other test images been drawn (paired bootstrap)."
)
_PRINTED = (
    "in print: the difference of two rows of a paper, by other code, of other networks and sizes. A claim "
    "holds or fails where ours is sure, and cannot be told otherwise."
)
_AGAIN = "run again: standard deviation of one run of a seed; a difference of that size says nothing."
_NOISE = "Standard deviations over draws of labels, over train seeds, and of the rest."


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
    """Return the tables for which some row has a value."""
    named, tests, again, noise = (list[dict[str, str]]() for _ in range(4))
    for a, b, c in board.verdicts.contrasts:
        p = "" if c.p_holm is None else f"{c.p_holm:.3g}"
        line = {"contrast": c.contrast, "first": a, "second": b, "difference": with_interval(c.estimate)}
        named.append(line | {"p": p, "first is": c.verdict} | _in_print(board.group, c))
    for row in objects(board)[: len(board.entries)]:
        method = {"method": row["method"]}
        if row["decidable"]:
            low, high = row["vs_baseline_images_low"], row["vs_baseline_images_high"]
            gap = with_interval(between(row, "vs_baseline_mean"))
            line = {"seeds": fixed(row["vs_baseline_n"], 0), "difference": gap}
            line["test images"] = "" if low is None else f"[{signed(low)}, {signed(high)}]"
            line["p"] = "" if (p := row["vs_baseline_p_holm"]) is None else f"{p:.3g}"
            line |= {"decidable": row["decidable"], "P(better)": fixed(row["p_better"], 2)}
            tests.append(method | line | {"rho": fixed(row["rho"], 2)})
        if row["rerun_n"]:
            line = {"seeds": fixed(row["rerun_n"], 0), "Δm: run again": fixed(row["rerun_floor"], 2)}
            again.append(method | line | {"Δm: over seeds": fixed(row["delta_m_sd"], 2)})
        if row["variance_split"] != "not separable":
            columns = {"Δm": "delta_m", **{t.title: f"{t.name}_{t.metric}" for t in board.group.tasks}}
            sds = {f"{k}: {part}": row.get(f"{v}_sd_{part}") for k, v in columns.items() for part in PARTS}
            line = {"seeds": row["variance_split"]}
            noise.append(method | line | {k: "" if v is None else f"{v:.3g}" for k, v in sds.items()})
    against = f"Against {board.baseline.label if board.baseline else ''}"
    printed = any("in print" in line for line in named)
    found = {"Named contrasts": (named, f"{_TESTS} {_PRINTED}" if printed else _TESTS)}
    found[against] = (tests, _TESTS)
    found |= {"The same seeds run again": (again, _AGAIN), "Where the noise comes from": (noise, _NOISE)}
    return [
        Section(title, table.loc[:, (table != "").any()], [note])
        for title, (lines, note) in found.items()
        if len(table := pd.DataFrame(lines).fillna(""))
    ]


class Placed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for a data set, a label setting and an encoder: rows of one such place are compared."""

    dataset: str
    labels: Literal["published:one", "published:random", "full"]
    encoder: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Return the three."""
        return self.dataset, self.labels, self.encoder


class Paper(Placed, frozen=True, forbid_unknown_fields=True):
    """A row of a paper.

    metrics: {`TASK_METRIC`: value with the digits in print}. source: a key of `Papers.sources`. delta_m: in
    print, in %, relative to the row with the key delta_m_reference.
    """

    key: str
    method: str
    metrics: dict[str, Decimal]
    source: str
    delta_m: Decimal | None = None
    delta_m_reference: str = ""
    note: str = ""


class Claim(Placed, frozen=True, forbid_unknown_fields=True):
    """What a paper says of a contrast that a plan named: that its row `first` is ahead of `second`, or not.

    first, second: keys of rows of its place. note: how these differ from the contrast's sides.
    """

    contrast: str
    first: str
    second: str
    note: str = ""


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
    claim: list[Claim] = []

    def find(self, row: Placed, key: str) -> Paper | None:
        """Return the row with this key and the same place as `row`."""
        return next((r for r in self.row if (r.place, r.key) == (row.place, key)), None)

    def sides(self, claim: Claim, where: str = "") -> list[tuple[Paper, float]]:
        """Return both rows of a claim with their delta m. Raises `UserError` where one has none."""
        found = []
        for key in (claim.first, claim.second):
            row = self.find(claim, key)
            delta = self.delta_m(row, self.reference) if row else None
            if row is None or delta is None:
                raise UserError(f"{where}: {key!r} is no row of its place with a Δm; name another.")
            found.append((row, delta))
        return found

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
    for claim in papers.claim:
        papers.sides(claim, f"{path}: claim on {claim.contrast!r}")
    return papers


@cache
def _papers() -> Papers:
    """The file of this checkout, read once for all boards; empty without it."""
    return read_papers() if PUBLISHED.is_file() else Papers(reference="", metrics={}, sources={}, row=[])


def _alike(row: Placed, g: Group) -> bool:
    """Tell whether a row is of a group's data set and label setting, its mask published or drawn."""
    labels = {text.removeprefix("published:") for text in (row.labels, g.labels)}
    return len(labels) == 1 and f"{g.variant}-".startswith(f"{row.dataset}-")


def _in_print(g: Group, c: Comparison) -> dict[str, str]:
    """Return what a paper prints of a contrast, and whether ours bears it out; empty where none does."""
    file = _papers()
    claim = next((x for x in file.claim if x.contrast == c.contrast and _alike(x, g)), None)
    if claim is None:
        return {}
    (first, high), (second, low) = file.sides(claim)
    borne = {AHEAD: high > low, BEHIND: high < low}.get(c.verdict)
    told = "cannot be told" if borne is None else "holds" if borne else "fails"
    why = "; ".join(filter(None, (c.reason.rstrip("."), claim.note)))
    text = f"{signed(high - low, 2)} ({first.method} - {second.method}, {first.source})"
    return {"in print": text, "the claim": f"{told}: {why}" if why else told}


def papers(g: Group) -> Section | None:
    """Return the rows of a board's data set and label setting; None for a board for tuning."""
    if g.protocol["judge"] != "test":
        return None
    file = _papers()
    rows = [r for r in file.row if _alike(r, g)]
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
