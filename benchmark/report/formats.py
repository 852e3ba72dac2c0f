"""Numbers and intervals as people read them. A value that is absent is an empty text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmark.report.statistics import Estimate


def digits(values: Iterable[float | None]) -> int:
    """Decimals for values of one kind: four significant digits of the largest from 1 on, three below."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=1.0)
    return min(6, max(0, (3 if largest >= 1 else 2) - math.floor(math.log10(largest)))) if largest > 0 else 2


def number(value: float | None) -> str:
    """Six significant digits, the float format of every CSV."""
    text = "" if value is None else f"{value:.6g}"
    return "0" if text == "-0" else text


def fixed(value: float | None, decimals: int) -> str:
    """Return a number with these decimals, without a negative zero."""
    text = "" if value is None else f"{value:.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def signed(value: float | None, decimals: int = 1) -> str:
    """`+3.1`"""
    text = fixed(value, decimals)
    return text if not text or text.startswith("-") else f"+{text}"


def interval(estimate: Estimate | None, decimals: int = 1) -> str:
    """`[+1.0, +5.2]`, one decimal more where a bound rounds to 0; `(seeds identical)` without any spread."""
    if estimate is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return "(seeds identical)" if estimate.n > 1 else ""
    close = min(abs(estimate.low), abs(estimate.high))
    decimals += 1 if 0 < close < 0.5 * 10**-decimals else 0
    return f"[{signed(estimate.low, decimals)}, {signed(estimate.high, decimals)}]"


def with_interval(estimate: Estimate | None, decimals: int = 1) -> str:
    """`+3.1 [+1.0, +5.2]`"""
    return f"{signed(estimate.value, decimals)} {interval(estimate, decimals)}".rstrip() if estimate else ""


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.4 h`"""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def training_time(gpu_hours: float | None, seconds: float | None) -> str:
    """Return a training time, in GPU-hours where a GPU was used."""
    return f"{gpu_hours:.2g} GPU-h" if gpu_hours else duration(seconds)


def millions(count: float | None) -> str:
    """`1.23 M`"""
    return "" if count is None else f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def gibibytes(value: float | None) -> str:
    """`0.8 GiB`"""
    return "" if value is None else f"{value:.2g} GiB"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a table in Markdown, aligned right after `texts` columns."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in (header, rule, *lines)
    )


def axis_limits(
    values: Iterable[float], bounds: Iterable[float | None], *, beyond: float = 1.0
) -> tuple[float, float]:
    """Return the ends of an axis with all values, and intervals as far as they do not crush them.

    bounds: ends of intervals, None where there is none. beyond: how far these may widen the axis on each
    side, as a share of the values' span, which counts as 1 at least; 5 % of that are left free.
    """
    shown, ends = [*values], [b for b in bounds if b is not None]
    low, high = min(shown), max(shown)
    span = max(high - low, 1.0)
    start, end = max(min([*ends, low]), low - beyond * span), min(max([*ends, high]), high + beyond * span)
    return start - 0.05 * span, end + 0.05 * span
