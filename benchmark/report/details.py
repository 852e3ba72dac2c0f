"""The tables below a board: contrasts, tests, re-runs, parts of the noise, and papers."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from benchmark.report.board import Board
from benchmark.report.contrasts import answers
from benchmark.report.formats import fixed, markdown_table, signed, with_interval
from benchmark.report.papers import alike, published
from benchmark.report.rows import Group
from benchmark.report.tables import PARTS, between, objects

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
    for a in answers(board):
        c, p = a.compared, "" if a.compared.p_holm is None else f"{a.compared.p_holm:.3g}"
        line = {"contrast": a.name, "first": a.first, "second": a.second}
        line |= {"difference": with_interval(c.estimate), "p": p, "first is": c.verdict, "costs": a.costs}
        printed = "" if a.printed is None else f"{signed(a.printed, 2)} ({a.by})"
        why = "; ".join(filter(None, (c.reason.rstrip("."), a.note)))
        named.append(line | {"in print": printed, "the claim": f"{a.claim}: {why}" if why else a.claim})
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
    found = {
        "Named contrasts": (named, f"{_TESTS} {_PRINTED}" if any(x["in print"] for x in named) else _TESTS)
    }
    found[against] = (tests, _TESTS)
    found |= {"The same seeds run again": (again, _AGAIN), "Where the noise comes from": (noise, _NOISE)}
    return [
        Section(title, table.loc[:, (table != "").any()], [note])
        for title, (lines, note) in found.items()
        if len(table := pd.DataFrame(lines).fillna(""))
    ]


def papers(g: Group) -> Section | None:
    """Return the rows of a board's data set and label setting; None for a board for tuning."""
    if g.protocol["judge"] != "test":
        return None
    file = published()
    rows = [r for r in file.row if alike(r, g)]
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
