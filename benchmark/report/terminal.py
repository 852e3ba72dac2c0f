"""A board for the terminal: the table at the width that there is, and prose around it at the console's
own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchmark.report import published
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seeds_cell, sentences
from benchmark.report.formats import fixed, gibibytes, interval, signed, training_time
from benchmark.report.naming import title
from benchmark.report.rows import TaskInfo
from benchmark.report.tables import decimals


def text(board: Board) -> Group:
    """Title, table and caption; below them, dim, what papers print. One row a method: seeds, delta m with its
    interval, each task's score and change, cost."""
    answer, *rest = (Text(sentence) for sentence in sentences(board))
    answer.stylize("bold")
    papers = published.section(board)
    below = [_Papers(papers)] if papers else []
    return Group(Text(title(board.group, None), style="italic"), _Fitted(board), answer, *rest, *below)


@dataclass(frozen=True)
class _Fitted:
    """The table of a board in the first of these layouts that fits: whole; standard deviations on lines of
    their own; without costs; then its tasks in two tables, three, and so on, one below the other."""

    board: Board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        tasks = self.board.group.tasks
        whole = [
            [_table(self.board, tasks, costs, narrow)]
            for costs, narrow in ((True, False), (True, True), (False, True))
        ]
        split = [
            [_table(self.board, p, False, True, p == parts[0]) for p in parts]
            for parts in map(self._parts, self._counts)
        ]
        layouts = [*whole, *split]
        fits = (all(_width(console, options, t) <= options.max_width for t in tables) for tables in layouts)
        chosen = next((i for i, fit in enumerate(fits) if fit), len(layouts) - 1)
        yield from layouts[chosen]
        if chosen >= 2:
            yield Text(
                "Costs need more columns than this terminal has; they are in the CSV and Markdown tables.",
                style="dim",
            )

    @property
    def _counts(self) -> range:
        return range(2, len(self.board.group.tasks) + 1)

    def _parts(self, count: int) -> list[tuple[TaskInfo, ...]]:
        tasks = self.board.group.tasks
        size = -(-len(tasks) // count)
        return [tasks[i : i + size] for i in range(0, len(tasks), size)]


@dataclass(frozen=True)
class _Papers:
    """Published numbers: a table without details, or where that does not fit a line a row."""

    section: published.Section

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        header, *lines = (line[: -self.section.extra] for line in (self.section.header, *self.section.lines))
        yield Text(f"\n{published.TITLE}", style="dim italic")
        table = Table(
            box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, style="dim", header_style="dim"
        )
        for name, width in zip(header[:2], (12, 8), strict=True):
            table.add_column(name, overflow="fold", min_width=width)
        for name in header[2:]:
            table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
        for line in lines:
            table.add_row(*line)
        if _width(console, options, table) <= options.max_width:
            yield table
        else:
            for line in lines:
                named = (f"{name} {cell}" for name, cell in zip(header[2:], line[2:], strict=True) if cell)
                yield Text(f"{line[0]} ({line[1]}): {', '.join(named)}", style="dim")
        yield from (Text(sentence, style="dim") for sentence in self.section.sentences)
        yield Text("Sources, notes and the Δm that the papers print are in the Markdown table.", style="dim")


def _width(console: Console, options: ConsoleOptions, table: Table) -> int:
    """The fewest columns that show a table without cutting a number."""
    return Measurement.get(console, options.update(max_width=10_000), table).minimum


def _table(board: Board, tasks: Sequence[TaskInfo], costs: bool, narrow: bool, first: bool = True) -> Table:
    """first: with seeds and delta m."""
    places = decimals(board)
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, leading=1)
    table.add_column(
        "method", overflow="fold", min_width=max((len(e.row.method) for e in board.entries), default=0)
    )
    if first:
        table.add_column("seeds", justify="right", no_wrap=True)
        table.add_column("Δm %\n[95 %]", justify="right", no_wrap=True)
    for task in tasks:
        table.add_column(
            f"{task.name}\n{task.metric}\n{task.unit} {task.arrow}".strip(), justify="right", no_wrap=True
        )
    if costs:
        table.add_column("cost\na seed", justify="right", no_wrap=True)
    for entry in board.entries:
        delta = "0\nreference" if entry.role == "reference" and entry.delta else ""
        if entry.delta and not delta:
            delta = (
                f"{signed(entry.delta.value)}\n{interval(entry.delta).replace('(seeds ', '(seeds' + chr(10))}"
            )
        cost = f"{training_time(entry.cost)}\n{gibibytes(entry.cost.peak_gib)}" if entry.cost else ""
        cells = [_score(board, entry, task, places[task.name], narrow) for task in tasks]
        name = Text(entry.label.replace("(", "\n(", 1), style="dim" if entry.row.outdated else "")
        leading = [seeds_cell(entry, len(board.planned)).replace(", ", "\n"), delta] if first else []
        table.add_row(name, *leading, *cells, *[cost] * costs)
    table.add_section()
    constant = board.constant
    floor = [
        f"{fixed(constant.means[t.name].get(t.metric), places[t.name])}\n"
        f"{_percent(constant.changes.get(t.name))}"
        for t in tasks
    ]
    leading = ["", signed(constant.delta)] if first else []
    table.add_row("constant\n(no method)", *leading, *floor, style="dim")
    for column in table.columns[1:]:  # all but the method's name, which folds
        column.min_width = max(
            cell_len(line) for cell in (column.header, *column.cells) for line in str(cell).split("\n")
        )
    return table


def _score(board: Board, entry: Entry, task: TaskInfo, places: int, narrow: bool) -> str:
    spread, change = entry.spreads[task.name].get(task.metric), (entry.changes or {}).get(task.name)
    if spread is None:
        return ""
    sd = "" if spread.sd is None else f"{chr(10) if narrow else ' '}± {fixed(spread.sd, places)}"
    return f"{fixed(spread.mean, places)}{sd}" + (
        f"\n{_percent(change.value)}" if change and entry is not board.reference else ""
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{signed(value)} %"
