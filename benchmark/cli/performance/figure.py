"""The figure of `bench perf`: a plot for each study whose rows make one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from benchmark.cli.performance.found import Found
from benchmark.report.figures import style

BAR_INCHES = 0.22  # height of a bar with its label
LINES = ("-", "--", "-.", ":")


def draw(found: list[Found], machine: str, stem: Path) -> list[Path]:
    """Write the figure as SVG and PNG; [] where no study makes a plot. machine: what the figures hold for, in
    words.
    """
    drawn = [f for f in found if f.rows and f.name in MAKERS]
    if not drawn:
        return []
    heights = [_height(f) for f in drawn]
    with style.figure(style.WIDTH, sum(heights) + 0.5) as fig:
        axes = fig.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)
        for ax, study in zip(axes[:, 0], drawn, strict=True):
            ax.set_title(f"{study.name}: {study.title}")
            MAKERS[study.name](ax, study)
        style.add_title(fig, "\n".join(textwrap.wrap(machine, int(style.WIDTH * 15))))
        return style.save(fig, stem)


def _height(found: Found) -> float:
    bars = {"methods": len(found.rows), "where": len({row["name"] for row in found.rows})}.get(found.name)
    return 2.6 if bars is None else 0.9 + BAR_INCHES * max(bars, 3)


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["name"] for row in rows))


def _bars(ax: Axes, found: Found) -> None:
    """Milliseconds a step, of that the bare step, with quartiles, and beside them how near the device's best
    it comes.
    """
    ordered = sorted(found.rows, key=lambda row: -row["ms"])
    colours = sns.color_palette("colorblind", 2)
    for y, row in enumerate(ordered):
        step = "captured" if row["captured"] else "eager"
        spread = [[row["ms"] - row[f"{step}_q1"]], [row[f"{step}_q3"] - row["ms"]]]
        without = row["ms"] / max(1.0, 1 + row["overhead"])
        ax.barh(y, row["ms"], 0.7, color=colours[1], label=None if y else "feed, augmentation,\nwatching")
        ax.barh(y, without, 0.7, color=colours[0], label=None if y else "losses, backward,\noptimiser")
        ax.errorbar(row["ms"], y, xerr=spread, color="black", linewidth=0.8, capsize=2)
        text = f" {row['gflops']:.3g} GFLOP/s, {row['of_ceiling']:.0%} of the ceiling"
        ax.annotate(
            text, (row[f"{step}_q3"], y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
        )
    ax.set_yticks(range(len(ordered)), [style.wrapped(row["name"], 40) for row in ordered])
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 1.9 * ordered[0]["ms"])
    ax.set_xlabel("ms a step (bar: median; line: quartiles)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _growth(ax: Axes, found: Found) -> None:
    """Milliseconds a step against what is varied, both logarithmic, with the exponent that fits."""
    rows = found.rows
    for colour, name, dashes in zip(
        sns.color_palette("colorblind", 9) * 4, _names(rows), LINES * 9, strict=False
    ):
        own = [row for row in rows if row["name"] == name]
        fitted = own[-1].get("exponent")
        label = name + (f" (exponent {fitted:.2f})" if fitted is not None else "")
        x, y = [row["x"] for row in own], [row["step_ms"] for row in own]
        ax.plot(x, y, dashes, color=colour, marker="o", markersize=2.5, label=label)
        ax.fill_between(
            x, [r["step_q1"] for r in own], [r["step_q3"] for r in own], color=colour, alpha=0.15, linewidth=0
        )
    ticks = {row["x"]: row["value"] for row in rows}
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(found.columns[1].header)
    ax.set_ylabel("ms a step (quartiles shaded)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _gain(ax: Axes, found: Found) -> None:
    """Times as fast as the first variant, a group of bars for each method."""
    rows = found.rows
    names, values = _names(rows), list(dict.fromkeys(row["value"] for row in rows))
    width = 0.8 / len(values)
    for i, (colour, value) in enumerate(zip(sns.color_palette("colorblind", 9) * 4, values, strict=False)):
        gains = {row["name"]: row["gain"] for row in rows if row["value"] == value}
        ax.bar(
            [n + width * (i - (len(values) - 1) / 2) for n in range(len(names))],
            [gains[n] for n in names],
            width,
            color=colour,
            label=value,
        )
    ax.set_xticks(range(len(names)), [style.wrapped(name, 16) for name in names])
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("times as fast")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), title=found.columns[1].header)


def _shares(ax: Axes, found: Found) -> None:
    """Shares of a step's time by kind of operator, one bar a method."""
    rows = found.rows
    names, kinds = _names(rows), list(dict.fromkeys(row["kind"] for row in rows))
    shares = {(row["name"], row["kind"]): row["share"] for row in rows}
    left = [0.0] * len(names)
    for colour, kind in zip(sns.color_palette("colorblind", 10), kinds, strict=False):
        widths = [shares.get((name, kind), 0.0) for name in names]
        ax.barh(range(len(names)), widths, 0.7, left=left, color=colour, label=kind)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    ax.set_yticks(range(len(names)), [style.wrapped(name, 40) for name in names])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("share of a step's time")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


MAKERS: dict[str, Callable[[Axes, Found], None]] = {
    "methods": _bars,
    "batch": _growth,
    "tasks": _growth,
    "size": _growth,
    "threads": _gain,
    "layout": _gain,
    "where": _shares,
}
