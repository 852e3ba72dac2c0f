"""The figures of a board: scores, per-task changes, cost and training curves. The others are in modules of
their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from benchmark.report.board import Board, Entry
from benchmark.report.captions import without_delta
from benchmark.report.figures import curves, evolution, panels, qualitative, split, style, waterfall, wins
from benchmark.report.figures.limits import limits
from benchmark.report.figures.style import comparable, heading, minus, wrapped
from benchmark.report.formats import interval, signed

LEFT_OUT = "left-out.txt"
MARKERS = "Dos^v<>hpd"


@dataclass(frozen=True)
class Drawn:
    """files: what was written. notes: a sentence for each figure, or part of one, that was left out, with the
    reason.
    """

    files: list[Path]
    notes: list[str]


Figures = Callable[[Board, Path], tuple[list[Path], list[str]]]


def draw(board: Board, folder: Path) -> Drawn:
    """Draw every figure of a board into `folder` as SVG and PNG, and remove those of earlier boards that are
    not drawn now.
    """
    makers: tuple[Figures, ...] = (
        delta_m,
        changes,
        cost,
        wins.wins,
        waterfall.waterfall,
        split.variance,
        panels.label_mask,
        qualitative.predictions,
        qualitative.errors,
        panels.matrices,
        curves.training,
        curves.extras,
        evolution.evolution,
    )
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    notes: list[str] = []
    for maker in makers:
        drawn, left_out = maker(board, folder)
        files += drawn
        notes += left_out
    stale = {path for suffix in ("svg", "png") for path in folder.glob(f"*.{suffix}")} - set(files)
    for path in (*sorted(stale), folder / LEFT_OUT):
        path.unlink(missing_ok=True)
    if notes:
        (folder / LEFT_OUT).write_text("\n".join(notes) + "\n", encoding="utf-8", newline="\n")
        files.append(folder / LEFT_OUT)
    return Drawn(files, notes)


def _without_scores(board: Board, name: str) -> list[str]:
    return [f"{name}: {without_delta(board)}."] if not comparable(board) else []


def _seed_values(entry: Entry) -> np.ndarray:
    """Delta m plus each seed's influence on it: their mean is delta m, and their spread makes its
    interval.
    """
    assert entry.delta is not None
    return entry.delta.value + np.array([*(entry.psi or {}).values()])


def _limits(entries: list[Entry]) -> tuple[float, float]:
    """Axis limits that show every seed, and intervals as far as they do not crush the seeds together."""
    seeds = np.concatenate([[0.0], *(_seed_values(e) for e in entries)])
    return limits(
        map(float, seeds),
        (b for e in entries if e.delta for b in (e.delta.low, e.delta.high) if b is not None),
    )


def delta_m(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Delta m of every row: each seed a dot, the mean a diamond with its 95 % interval, the numbers at the
    right.
    """
    entries = comparable(board)
    if not entries:
        return [], _without_scores(board, "delta_m")
    with style.figure(style.WIDTH, 1.0 + 0.42 * len(entries)) as fig:
        ax = fig.add_subplot()
        low, high = _limits(entries)
        palette, clipped = style.colours(board), False
        for y, entry in enumerate(entries):
            assert entry.delta is not None
            colour = palette[entry.label]
            clipped |= _interval(ax, entry.delta.low, entry.delta.high, y, low, high, colour)
            if entry is not board.reference:
                values = _seed_values(entry)
                ax.scatter(
                    values,
                    np.full(len(values), y - 0.2),
                    s=16,
                    color=colour,
                    alpha=0.7,
                    linewidths=0,
                    zorder=3,
                )
            ax.scatter(
                entry.delta.value,
                y,
                s=34,
                marker="D",
                color=colour,
                edgecolors="white",
                linewidths=0.7,
                zorder=4,
            )
            numbers = (
                "0 (reference)"
                if entry is board.reference
                else f"{signed(entry.delta.value)}  {interval(entry.delta)}"
            )
            ax.annotate(
                minus(numbers),
                (1.03, y),
                xycoords=ax.get_yaxis_transform(),
                va="center",
                fontsize=7.5,
                annotation_clip=False,
            )
        ax.axvline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        ax.set_xlim(low, high)
        ax.set_ylim(len(entries) - 0.5, -0.5)
        ax.set_yticks(range(len(entries)), [wrapped(e.label) + f"  n={len(e.paired)}" for e in entries])
        ax.grid(False, axis="y")
        arrows = "; an arrow: the interval goes on" if clipped else ""
        ax.set_xlabel(
            f"Δm against {_reference(board)} (%), better to the right. Dots: seeds; bar: 95 % "
            f"interval{arrows}"
        )
        style.add_title(fig, heading(board, "Δm of each method with its seeds"))
        return style.save(fig, folder / "delta_m"), []


def _reference(board: Board) -> str:
    return board.reference.label if board.reference else ""


def _interval(
    ax: Axes, start: float | None, end: float | None, y: float, low: float, high: float, colour: object
) -> bool:
    """A horizontal interval, with an arrow where the axis cuts it; whether it was cut."""
    if start is None or end is None:
        return False
    ax.plot(
        [max(start, low), min(end, high)],
        [y, y],
        color=colour,
        linewidth=1.6,
        solid_capstyle="butt",
        zorder=2,
    )
    for value, edge, marker in ((start, low, "<"), (end, high, ">")):
        cut = value < low or value > high
        ax.scatter(
            edge if cut else value,
            y,
            s=22,
            marker=marker if cut else "|",
            color=colour,
            clip_on=False,
            zorder=2,
        )
    return start < low or end > high


def changes(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Relative change of each task against the reference: a heat map with the numbers and their intervals."""
    entries = [e for e in comparable(board) if e is not board.reference]
    if not entries:
        return [], _without_scores(board, "changes") or ["changes: there is no row besides the reference."]
    tasks = board.group.tasks
    table = [[*((e.changes or {}).get(t.name) for t in tasks), e.delta] for e in entries]
    values = np.array([[cell.value if cell else np.nan for cell in line] for line in table])
    texts = [
        [minus(f"{signed(c.value)}\n{interval(c)}".strip()) if c else "" for c in line] for line in table
    ]
    width = max(3.5, min(style.WIDTH, 1.9 + 1.15 * (len(tasks) + 1)))
    with style.figure(width, 1.1 + 0.42 * len(entries)) as fig:
        ax = fig.add_subplot()
        span = float(np.nanmax(np.abs(values))) or 1.0
        # Half the colour range: dark cells would hide the numbers.
        sns.heatmap(
            values, ax=ax, cmap="PuOr", vmin=-1.8 * span, vmax=1.8 * span, annot=np.array(texts), fmt="",
            cbar=False,
            linewidths=1.2, annot_kws={"fontsize": 6.8, "color": "black"},
        )  # fmt: skip
        ax.axvline(len(tasks), color="black", linewidth=1.0)
        names = [f"{t.name}\n{t.metric} {t.arrow}" for t in tasks]
        ax.set_xticks(np.arange(len(names) + 1) + 0.5, [*names, "mean\n(Δm)"], rotation=0)
        ax.set_yticks(np.arange(len(entries)) + 0.5, [wrapped(e.label) for e in entries], rotation=0)
        ax.tick_params(length=0)
        what = f"Change against {_reference(board)} (%), + is better [95 %]"
        style.add_title(fig, heading(board, what, width))
        return style.save(fig, folder / "changes"), []


def cost(board: Board, folder: Path) -> tuple[list[Path], list[str]]:
    """Training cost of one seed against delta m, a point a row."""
    entries = [e for e in comparable(board) if e.cost is not None and e.cost.seconds is not None]
    if not entries:
        return [], _without_scores(board, "cost") or ["cost: no record says how long its training took."]
    gpu = all(e.cost and e.cost.gpu_hours for e in entries)
    seconds = [e.cost.seconds or 0.0 for e in entries if e.cost]
    unit, scale = ("minutes", 60) if max(seconds) >= 120 else ("seconds", 1)
    hours = [e.cost.gpu_hours or 0.0 for e in entries if e.cost]
    x = hours if gpu else [s / scale for s in seconds]
    devices = sorted({e.cost.device for e in entries if e.cost})
    with style.figure(style.WIDTH, max(2.6, 1.2 + 0.24 * len(entries))) as fig:
        ax = fig.add_subplot()
        low, high = _limits(entries)
        palette = style.colours(board)
        for i, (entry, at) in enumerate(zip(entries, x, strict=True)):
            assert entry.delta is not None
            colour = palette[entry.label]
            if entry.delta.low is not None and entry.delta.high is not None:
                ends = [max(entry.delta.low, low), min(entry.delta.high, high)]
                ax.plot([at, at], ends, color=colour, linewidth=1.0, alpha=0.5)
            look = {
                "marker": MARKERS[i % len(MARKERS)],
                "color": colour,
                "edgecolors": "white",
                "linewidths": 0.7,
            }
            ax.scatter(at, entry.delta.value, s=46, zorder=3, label=wrapped(entry.label, 30), **look)
        ax.axhline(0, color=style.REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        ax.set_ylim(low, high)
        ax.set_xlim(0, max(x) * 1.08 or 1)
        ax.set_xlabel(
            f"training time of one seed, all its runs ({'GPU-hours' if gpu else unit}; {_short(devices)})"
        )
        ax.set_ylabel(f"Δm against {_reference(board)} (%)")
        style.add_title(fig, heading(board, "What Δm costs. Bar: 95 % interval, cut at the frame"))
        fig.legend(loc="outside right center")
        notes = (
            ["cost: times come from different devices and cannot be compared."] if len(devices) > 1 else []
        )
        return style.save(fig, folder / "cost"), notes


def _short(devices: list[str]) -> str:
    text = "; ".join(devices)
    return text if len(text) <= 48 else text[:45] + "..."
