"""How the keywords of a run were searched, in words: what a plan's tuning table says, and what records and
boards make of it.
"""

from __future__ import annotations

import re
from typing import Any

from benchmark.errors import UserError


def words(value: Any, where: str) -> str:
    """`20 trials on the last 10% of train`, as specs hold it, of a tuning table of the plan `where`; nothing
    without one.

    trials: those asked for. distinct: those that there were, where that is fewer, as in `5 of 20 trials, all
    there are, on the last 10% of train`. holdout: the share of the train images that judged. Raises
    `UserError` for anything else.
    """
    if value is None:
        return ""
    if isinstance(value, dict) and "rates" in value:
        return _rate_words(value, where)
    keys = set(value) if isinstance(value, dict) else set()
    if keys - {"distinct"} != {"trials", "holdout"} or not all(
        isinstance(v, int | float) for v in value.values()
    ):
        raise UserError(
            f"tuning = {value!r} in plan {where} must hold trials and holdout, as `bench tune` writes them."
        )
    count = (
        f"{value['distinct']} of {value['trials']} trials, all there are,"
        if "distinct" in keys
        else f"{value['trials']} trials"
    )
    return f"{count} on the last {value['holdout']:.0%} of train"


def _rate_words(value: dict[str, Any], where: str) -> str:
    """`learning rates 0.3, 1, 3 (of the protocol's) on 2 seeds, judged on the last 10% of train`"""
    tried, seeds, share = (value.get(key) for key in ("rates", "seeds", "holdout"))
    numbers = isinstance(tried, list) and all(isinstance(rate, int | float) for rate in tried)
    if (
        set(value) != {"rates", "seeds", "holdout"}
        or not numbers
        or type(seeds) is not int
        or not isinstance(share, float)
    ):
        raise UserError(
            f"tuning = {value!r} in plan {where} must hold rates, seeds and holdout, as `bench tune --rate` "
            f"writes them."
        )
    listed = ", ".join(f"{rate:g}" for rate in sorted(tried or []))
    return (
        f"learning rates {listed} (of the protocol's) on {seeds} seed{'s' * (seeds > 1)}, judged on the "
        f"last {share:.0%} of train"
    )


def of_rates(text: str) -> bool:
    """Whether it was the learning rate that was searched."""
    return text.startswith("learning rates")


def alike(first: str, second: str) -> bool:
    """Whether two searches were the same: as many trials asked for, or the same rates, on the same images. A
    small space may hold fewer settings, and a long row fewer seeds."""
    return _asked(first) == _asked(second)


def _asked(text: str) -> str:
    text = re.sub(r" on \d+ seeds?,", "", text)
    return re.sub(r"^\d+ of (\d+ trials), all there are,", r"\1", text)
