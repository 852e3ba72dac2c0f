"""A board for the terminal: tables no wider than the terminal, with captions and published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
from rich.table import Table
from rich.text import Text

from benchmark.report import published
from benchmark.report.board import Board
from benchmark.report.captions import facts, footnotes, verdict
from benchmark.report.naming import title
from benchmark.report.tables import texts

NAME = 28  # most characters of a line of a row's name


def text(board: Board) -> Group:
    """Title, table, verdict, facts and footnotes; below them, dim, published numbers."""
    shown = texts(board).drop(columns=["parameters: training", "inference", "device"])
    for column in shown.columns[1:]:  # an interval stands below its value; that of a change is in the CSV
        shown[column] = shown[column].str.replace(r"\n\((\S+) .*", r"\n\1 %", regex=True)
        shown[column] = shown[column].str.replace(r" (?=[\[(])", "\n", regex=True)
    shown["method"] = shown["method"].str.replace("(", "\n(", n=1, regex=False)
    below: list[Text | _Fitted] = [Text(verdict(board), style="bold")]
    below += [Text(f"{name}: {value}") for name, value in facts(board)]
    below += [Text(note, style="dim") for note in footnotes(board)]
    if papers := published.section(board):
        below += [Text(f"\n{published.TITLE}", style="dim italic")]
        below += [_Fitted(papers.table.drop(columns=["source", "note"]), "dim")]
        below += [Text(note, style="dim") for note in papers.notes]
    return Group(Text(title(board.group, None), style="italic"), _Fitted(shown), *below)


@dataclass(frozen=True)
class _Fitted:
    """A table of texts as one or more of the terminal's width, each with the first column."""

    table: pd.DataFrame
    style: str = ""

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
            table = Table(
                box=box.SIMPLE_HEAD, pad_edge=False, leading=1, style=self.style, header_style=self.style
            )
            table.add_column(first, overflow="fold", max_width=NAME)
            for column in part:
                table.add_column(_header(column), justify="right", overflow="fold")
            for row in self.table[[first, *part]].itertuples(index=False):
                table.add_row(*row, style=self.style)
            yield table


def _header(column: str) -> str:
    return column.replace(" ", "\n", 1)
