"""A board for the terminal: short, readable at 100 columns."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from benchmark.report.board import Board, Entry
from benchmark.report.captions import seeds_cell, sentences
from benchmark.report.formats import fixed, gibibytes, interval, signed, training_time
from benchmark.report.rows import TaskInfo
from benchmark.report.tables import decimals, title


def text(board: Board) -> Table:
    """One row a method: seeds, delta m with its interval, each task's score and relative change, cost; the caption below."""
    tasks, places = board.group.tasks, decimals(board)
    costs = len(tasks) <= 4  # 100 columns do not hold more
    table = Table(
        title=title(board),
        title_justify="left",
        caption=_caption(board, costs),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        leading=1,
    )
    table.add_column("method", overflow="fold", min_width=max((len(e.row.method) for e in board.entries), default=0))
    table.add_column("seeds", justify="right")
    table.add_column("Δm %\n[95 %]", justify="right", no_wrap=True)
    for task in tasks:
        table.add_column(f"{task.name}\n{task.metric}\n{task.unit} {task.arrow}".strip(), justify="right", no_wrap=True)
    if costs:
        table.add_column("cost\na seed", justify="right", no_wrap=True)
    for entry in board.entries:
        delta = "0\nreference" if entry.role == "reference" and entry.delta else ""
        if entry.delta and not delta:
            delta = f"{signed(entry.delta.value)}\n{interval(entry.delta)}"
        cost = f"{training_time(entry.cost)}\n{gibibytes(entry.cost.peak_gib)}" if entry.cost else ""
        cells = [_score(board, entry, task, places[task.name], len(tasks) > 3) for task in tasks]
        name = Text(entry.label.replace("(", "\n(", 1), style="dim" if entry.row.outdated else "")
        table.add_row(name, seeds_cell(entry, len(board.planned)).replace(", ", "\n"), delta, *cells, *[cost] * costs)
    table.add_section()
    constant = board.constant
    floor = [
        f"{fixed(constant.means[t.name].get(t.metric), places[t.name])}\n{_percent(constant.changes.get(t.name))}" for t in tasks
    ]
    table.add_row("constant\n(no method)", "", signed(constant.delta), *floor, style="dim")
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


def _caption(board: Board, costs: bool) -> Text:
    answer, *rest = sentences(board) + ([] if costs else ["Costs are in the CSV and Markdown tables."])
    return Text.assemble((answer, "bold not dim not italic"), *("\n" + sentence for sentence in rest), style="not italic")
