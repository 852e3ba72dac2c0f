"""The ends of an axis that shows values with their intervals."""

from __future__ import annotations

from collections.abc import Iterable


def limits(
    values: Iterable[float], bounds: Iterable[float], *, beyond: float = 1.0, margin: float = 0.05
) -> tuple[float, float]:
    """Ends that show every value, and bounds of intervals as far as they do not crush the values together.

    beyond: how far intervals may widen the axis on each side, margin: what is left free there, as shares of
    the values' span, which counts as 1 at least.
    """
    shown, ends = [*values], [*bounds]
    low, high = min(shown), max(shown)
    span = max(high - low, 1.0)
    start, end = max(min([*ends, low]), low - beyond * span), min(max([*ends, high]), high + beyond * span)
    return start - margin * span, end + margin * span
