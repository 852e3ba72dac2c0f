"""A board to read: as a table of texts, as Markdown, as LaTeX for a paper, and for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
from rich.table import Table
from rich.text import Text

from benchmark.report import details
from benchmark.report.board import Board
from benchmark.report.captions import facts, footnotes, notes, verdict
from benchmark.report.formats import (
    digits,
    fixed,
    gibibytes,
    markdown_table,
    millions,
    training_time,
    with_interval,
)
from benchmark.report.grouping import title
from benchmark.report.references import beside
from benchmark.report.rows import TaskInfo
from benchmark.report.tables import Values, between, objects
from benchmark.report.verdict import APART as ROLES_APART

_ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "Δ": r"$\Delta$", "±": r"$\pm$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≥": r"$\geq$", "≤": r"$\leq$", "°": r"$^\circ$", "²": "$^2$", "“": "``", "”": "''",
    "…": r"\ldots{}", "\xd7": r"$\times$", "\u2212": "$-$", "\u2013": "--", "\u2014": "---", "\u2018": "`",
    "\u2019": "'",
}  # fmt: skip
_LAST_LATIN = "\u017f"  # letters up to here are typeset as they are
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # no wider than the text
APART = "Ablations and controls: a table and a family of tests of their own"
NAME = 28  # most characters of a line of a row's name in the terminal


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
    others = beside(board.group, board.others)
    first |= {f"Δm, {name.replace('_', ' ')}": f"delta_m_{name}" for name in others}
    tasks = {f"{t.title} {t.arrow}": f"{t.name}_{t.metric}_mean" for t in board.group.tasks}
    parameters = {"steps": "steps", "training parameters": "params_train"}
    parameters["inference parameters"] = "params_infer"
    last = {"time a seed": "seconds", "memory": "peak_gib", "device": "device"}
    return first | tasks | parameters | last


def texts(board: Board) -> pd.DataFrame:
    """Return the table to read; a score's second line is its change."""
    places, lines, columns = decimals(board), [], headings(board)
    others = [f"delta_m_{name}" for name in beside(board.group, board.others)]
    for row in objects(board):
        reference = row["role"] == "reference" and row["delta_m"] is not None
        baseline = row["role"] == "baseline" and row["n_seeds"]
        lines.append(
            (
                row["method"],
                row["tier"],
                "0 (baseline)" if baseline else with_interval(between(row, "vs_baseline_mean")),
                seeds_text(row),
                "0 (reference)" if reference else with_interval(between(row, "delta_m")),
                *(with_interval(between(row, name)) for name in others),
                *(score_text(row, task, places[task.name]) for task in board.group.tasks),
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
    apart = np.array([row["role"] in ROLES_APART for row in objects(board)])
    return shown[~apart], shown[apart]


def seeds_text(row: Values) -> str:
    """`2/3, 1 failed`; "" for the constant prediction."""
    if row["n_planned"] is None:
        return ""
    return f"{row['n_seeds']}/{row['n_planned']}" + (f", {row['n_failed']} failed" if row["n_failed"] else "")


def score_text(row: Values, task: TaskInfo, places: int) -> str:
    """`31.20 ± 1.10`, below it `(+3.1 [+1.0, +5.2] %)`: a primary metric, its change against the reference"""
    name = f"{task.name}_{task.metric}"
    mean, sd = fixed(row[f"{name}_mean"], places), fixed(row[f"{name}_sd"], places)
    change = between(row, f"{task.name}_change")
    score = f"{mean} ± {sd}" if sd else mean
    return score if change is None or row["role"] == "reference" else f"{score}\n({with_interval(change)} %)"


def markdown(board: Board) -> str:
    """Return the board as a Markdown document."""
    papers = details.papers(board.group)
    table, apart = (markdown_table([*shown], shown.values.tolist(), texts=2) for shown in parts(board))
    apart = f"\n## {APART}\n\n{apart}\n" if apart.count("\n") > 1 else ""
    lines = "".join(f"- {line}\n" for line in notes(board))
    below = "".join(part.markdown() for part in (*details.sections(board), *([papers] if papers else [])))
    return f"# {title(board.group)}\n\n**{verdict(board)}**\n\n{table}\n\n{lines}{apart}{below}"


def escape(text: str) -> str:
    """Prose for LaTeX. A character that the plain fonts of LaTeX lack becomes a question mark."""
    found = "".join(_ESCAPED.get(c, c if c <= _LAST_LATIN else "?") for c in text)
    found = re.sub(r"(?<!\w)'(?=\w)", "`", found).replace(',"', ', "')  # a long list needs places to break
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", found).replace(r"$\Delta$m", r"$\Delta m$")


def latex(board: Board) -> str:
    """Return the board as a `table*` environment, to be `\\input` with the packages booktabs and graphicx.

    Rows of tier 1 are bold, never a maximum. Rows that lack seeds, ablations, references and the constant
    prediction stand below rules of their own.
    """
    shown = pd.concat(parts(board), keys=["", "apart"], names=["part"])
    first, delta = shown.columns[[2, 4]]  # the difference to the baseline, and delta m
    tasks = {f"{t.title} {t.arrow}": f"{t.name} {t.metric} {t.arrow}" for t in board.group.tasks}
    shown = shown[["method", "tier", "seeds", first, delta, *tasks]]
    blocks: list[list[str]] = [[], [], [], []]
    for part, row in zip(shown.index.get_level_values("part"), shown.to_dict("records"), strict=True):
        cells = [escape(str(cell).split("\n")[0]) for cell in row.values()]
        if row["tier"] == "1":
            cells[0], cells[3] = (f"\\textbf{{{cells[i]}}}" for i in (0, 3))
        if not row["tier"].isdigit():
            cells[1] = "--"
        left_out = row["tier"].startswith(("incomplete", "unranked")) or "failed" in row["seeds"]
        beside = row["tier"] in ("not a method", "reference")
        blocks[2 if part else 3 if beside else int(left_out)].append(" & ".join(cells))
    bold = "Bold: tier 1." if (shown["tier"] == "1").any() else "Nothing is ranked."
    bodies = "\\midrule\n".join("".join(f"{line} \\\\\n" for line in block) for block in blocks if block)
    return (
        "% Made by `bench leaderboard` from records; needs \\usepackage{booktabs,graphicx}.\n"
        "\\begin{table*}\n\\centering\n\\caption{"
        f"{escape(f'{title(board.group)}. {verdict(board)} {bold}')}}}\n"
        f"\\label{{tab:{board.name}}}\n\\medskip\n\\small\n{_FIT}\n"
        f"\\begin{{tabular}}{{lcc{'r' * (2 + len(tasks))}}}\n\\toprule\n"
        f"{' & '.join(map(escape, shown.columns))} \\\\\n\\midrule\n{bodies}"
        "\\bottomrule\n\\end{tabular}}\n\n\\medskip\n\\begin{minipage}{\\linewidth}\\scriptsize\\raggedright\n"
        + "\n".join(escape(f"{note.removesuffix('.')}.") for note in notes(board))
        + "\n\\end{minipage}\n\\end{table*}\n"
    )


def text(board: Board) -> Group:
    """Title, table, verdict, facts and footnotes."""
    shown, apart = (_short(part) for part in parts(board))
    below: list[Text | Fitted] = [Fitted(shown)]
    if len(apart):
        below += [Text(APART, style="italic"), Fitted(apart)]
    below += [Text(verdict(board), style="bold")]
    below += [Text(f"{name}: {value}") for name, value in facts(board)]
    below += [Text(note, style="dim") for note in footnotes(board)]
    return Group(Text(title(board.group), style="italic"), *below)


def _short(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with an interval below its value; that of a change is in the CSV."""
    shown = table.drop(columns=["training parameters", "device"])
    for column in shown.columns[1:]:
        shown[column] = shown[column].str.replace(r"\n\((\S+) .*", r"\n\1 %", regex=True)
        shown[column] = shown[column].str.replace(r" (?=[\[(])", "\n", regex=True)
    shown["method"] = shown["method"].str.replace("(", "\n(", n=1, regex=False)
    return shown


@dataclass(frozen=True)
class Fitted:
    """A table of texts as one or more of the terminal's width, each with the first column."""

    table: pd.DataFrame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        first, *others = map(str, self.table.columns)
        width = {
            column: max(
                cell_len(line) for cell in (_header(column), *self.table[column]) for line in cell.split("\n")
            )
            for column in (first, *others)
        }
        room = options.max_width - min(width[first], NAME)
        parts: list[list[str]] = [[]]
        for column in others:
            if parts[-1] and sum(width[c] + 3 for c in (*parts[-1], column)) > room:
                parts.append([])
            parts[-1].append(column)
        for part in parts:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, leading=1, header_style="")
            table.add_column(first, overflow="fold", max_width=NAME)
            for column in part:
                table.add_column(_header(column), justify="right", overflow="fold")
            for row in self.table[[first, *part]].itertuples(index=False):
                table.add_row(*row)
            yield table


def _header(column: str) -> str:
    return column.replace(" ", "\n", 1)
