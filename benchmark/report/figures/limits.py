"""Choose the ends of an axis that shows values with their intervals."""

from __future__ import annotations

from collections.abc import Iterable


def axis_limits(
    values: Iterable[float], bounds: Iterable[float | None], *, beyond: float = 1.0, margin: float = 0.05
) -> tuple[float, float]:
    """Show all values, and intervals as far as they do not crush the values.

    bounds: ends of intervals, None where there is none. beyond: how far these may widen the axis on each
    side; margin: what is left free there; both as shares of the values' span, which counts as 1 at least.
    """
    shown, ends = [*values], [b for b in bounds if b is not None]
    low, high = min(shown), max(shown)
    span = max(high - low, 1.0)
    start, end = max(min([*ends, low]), low - beyond * span), min(max([*ends, high]), high + beyond * span)
    return start - margin * span, end + margin * span
