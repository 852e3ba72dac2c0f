"""What each component of a method brings: steps from its plainest to its full row, or what is lost without
each one.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmark.report import ablation
from benchmark.report.board import Board, Entry
from benchmark.report.figures import style
from benchmark.report.figures.limits import limits
from benchmark.report.figures.style import comparable, heading, minus, wrapped
from benchmark.report.figures.wins import gap
from benchmark.report.formats import interval, signed
from benchmark.report.naming import value_text
from benchmark.report.rows import MORE
from benchmark.report.statistics import Estimate

FIGURE = "ablation"
MAX_BARS = 12
_WHAT = (
    "Bars: what each step changes, in points of Δm; lines: its 95 % interval, paired by seed, cut at "
    "the "
    "frame"
)
_UP, _DOWN, _WHOLE = (
    "#7b6fb0",
    "#e08214",
    "#b8b8b8",
)  # the sides of the map of `changes`; grey for delta m itself


@dataclass(frozen=True)
class Bar:
    """A row: its delta m, and the difference to the row before or, where nothing is cumulative, to the
    first.
    """

    name: str
    delta: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True)
class Block:
    """Bars in the order of their rows. cumulative: each builds on the one before; else each differs from the
    first.
    """

    title: str
    bars: tuple[Bar, ...]
    cumulative: bool


def of_tables(tables: Sequence[ablation.Table]) -> list[Block]:
    """A block for each table of `bench ablate`, with the plan's names in its order, where rows have a
    difference.
    """
    blocks = []
    for table in tables:
        bars = tuple(Bar(line.name, line.delta, line.difference) for line in table.lines)
        if any(bar.difference for bar in bars):
            about = f"{table.title}. Δm against {table.reference}"
            blocks.append(Block(about, bars, table.compared == ablation.ABOVE))
    return blocks


def draw_tables(tables: Sequence[ablation.Table], plan: str, stem: Path) -> list[Path]:
    """The figure of an ablation, SVG and PNG; none where no row can be compared, and an earlier one is
    removed.
    """
    for suffix in (".svg", ".png"):
        stem.with_name(stem.name + suffix).unlink(missing_ok=True)
    blocks = of_tables(tables)
    return (
        _figure(blocks, textwrap.fill(f"Ablation: plan {plan}. {_WHAT}", int(15 * style.WIDTH)), stem)
        if blocks
        else []
    )


def waterfall(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """The rows of each method that differ in hyperparameters, against its row with the fewest changes."""
    blocks: list[Block] = []
    notes: list[str] = []
    by_method: dict[str, list[Entry]] = defaultdict(list)
    for entry in comparable(board):
        by_method[entry.row.method].append(entry)
    for method, entries in sorted(by_method.items()):
        full = min(entries, key=lambda e: (len(e.row.changed), e.row.balance != "equal", e.label))
        others = [e for e in entries if _apart(full, e) and _alike(full, e)]
        steps = _chain(full, others)
        if len(steps) < 2:
            steps = []
        else:
            blocks.append(_steps(board, method, [*steps, full]))
        single = [e for e in others if e not in steps]
        if single and steps:  # the last step is a change alone, too
            single = [e for e in others if e in single or e is steps[-1]]
        notes += [
            f"{FIGURE}: {e.label} is left out, because only {MAX_BARS} rows are drawn."
            for e in single[MAX_BARS:]
        ]
        if single:
            blocks.append(_singles(board, method, full, single[:MAX_BARS]))
    blocks = [block for block in blocks if any(bar.difference for bar in block.bars)]
    if not blocks:
        return [], [
            *notes,
            f"{FIGURE}: no method has rows here that differ in hyperparameters alone and share seeds.",
        ]
    return _figure(blocks, heading(board, f"Ablation. {_WHAT}"), folder / FIGURE), notes


def _apart(full: Entry, entry: Entry) -> dict[str, Any]:
    """{hyperparameter: value} of a row where it differs from the full one."""
    mine, other = _hyperparameters(entry), _hyperparameters(full)
    return {
        name: mine.get(name)
        for name in sorted({*entry.row.changed, *full.row.changed})
        if mine.get(name) != other.get(name)
    }


def _alike(a: Entry, b: Entry) -> bool:
    """Whether nothing but hyperparameters tells two rows of a method apart."""
    specs = [e.row.records[0].spec for e in (a, b)]
    return all(
        specs[0].get(key) == specs[1].get(key) for key in ("method_version", "balance", *MORE.values())
    )


def _hyperparameters(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = entry.row.records[0].spec["hyperparameters"]
    return found


def _chain(full: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """The longest chain of rows, from the plainest on, each of which differs from the full one in a part of
    what the one before differs in."""
    found: dict[int, list[Entry]] = {}
    ordered = sorted(entries, key=lambda e: (len(_apart(full, e)), e.label))
    for i, entry in enumerate(ordered):
        items = _apart(full, entry).items()
        before = [found[k] for k in range(i) if _apart(full, ordered[k]).items() < items]
        found[i] = [entry, *max(before, key=len, default=[])]
    return max(found.values(), key=len, default=[])


def _steps(board: Board, method: str, rows: Sequence[Entry]) -> Block:
    full = rows[-1]
    bars = [Bar(_words(_apart(full, rows[0]), "without"), rows[0].delta, None)]
    for before, entry in pairwise(rows):
        back = _apart(entry, before).keys()
        removed = {name: _hyperparameters(entry).get(name) for name in back}
        bars.append(Bar(_words(removed, "+"), entry.delta, gap(board, entry, before)))
    return Block(f"{method}, step by step. Δm against {_reference(board)}", tuple(bars), True)


def _singles(board: Board, method: str, full: Entry, rows: Sequence[Entry]) -> Block:
    bars = [Bar(full.label, full.delta, None)]
    bars += [
        Bar(_words(_apart(full, entry), "without"), entry.delta, gap(board, entry, full)) for entry in rows
    ]
    return Block(f"{method}, each change alone. Δm against {_reference(board)}", tuple(bars), False)


def _reference(board: Board) -> str:
    return board.reference.label if board.reference else ""


def _words(values: dict[str, Any], switched: str) -> str:
    """`without tke, vq` or `+ tke, vq` where all are switches; else `codes=64, tke=false`."""
    if all(value is (switched == "+") for value in values.values()):
        return f"{switched} {', '.join(sorted(values))}"
    return ", ".join(f"{name}={value_text(value)}" for name, value in sorted(values.items()))


def _figure(blocks: Sequence[Block], title: str, stem: Path) -> list[Path]:
    heights = [0.75 + 0.3 * len(block.bars) for block in blocks]
    with style.figure(style.WIDTH, 0.25 + 0.14 * title.count("\n") + sum(heights)) as fig:
        axes = fig.subplots(len(blocks), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for ax, block in zip(axes, blocks, strict=True):
            _draw(ax, block)
        style.add_title(fig, title)
        return style.save(fig, stem)


def _draw(ax: Axes, block: Block) -> None:
    """Cumulative: delta m of the first row from 0, then a bar from each row's level to the next. Else bars
    from 0.
    """
    bars = [_placed(bar, block.cumulative, first=i == 0) for i, bar in enumerate(block.bars)]
    ends = [0.0, *(end for start, width in bars for end in (start, start + width))]
    intervals = [
        (start, d.low, d.high)
        for (start, _), d in zip(bars, (b.difference for b in block.bars), strict=True)
        if d
    ]
    bounds = (start + bound for start, *both in intervals for bound in both if bound is not None)
    low, high = limits(ends, bounds, margin=0.04)
    for y, (bar, (start, width)) in enumerate(zip(block.bars, bars, strict=True)):
        found = bar.difference
        ax.barh(
            y,
            width,
            left=start,
            height=0.62,
            color=_WHOLE if found is None else _UP if width >= 0 else _DOWN,
            zorder=2,
        )
        if found and found.low is not None and found.high is not None:
            ax.plot(
                [max(start + found.low, low), min(start + found.high, high)],
                [y, y],
                color="black",
                linewidth=1.0,
                zorder=3,
            )
        if block.cumulative and y + 1 < len(block.bars):
            ax.plot([start + width] * 2, [y + 0.31, y + 0.69], color="#888888", linewidth=0.8, zorder=1)
        written = found or bar.delta
        text = (
            f"{'' if found else 'Δm '}{signed(written.value)}  {interval(written)}".rstrip()
            if written
            else "no seeds"
        )
        look: dict[str, Any] = {
            "xycoords": ax.get_yaxis_transform(),
            "va": "center",
            "fontsize": 7.5,
            "annotation_clip": False,
        }
        ax.annotate(minus(text), (1.02, y), **look)
    ax.axvline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(len(block.bars) - 0.5, -0.5)
    ax.set_yticks(range(len(block.bars)), [wrapped(bar.name, 30) for bar in block.bars])
    ax.grid(False, axis="y")
    ax.set_title(textwrap.fill(block.title, 95))
    ax.set_xlabel("Δm (%)" if block.cumulative else f"Δm minus that of {block.bars[0].name} (points)")


def _placed(bar: Bar, cumulative: bool, first: bool) -> tuple[float, float]:
    """(start, width) of a bar."""
    if bar.difference:
        start = bar.delta.value - bar.difference.value if cumulative and bar.delta else 0.0
        return start, bar.difference.value
    return 0.0, bar.delta.value if cumulative and first and bar.delta else 0.0
