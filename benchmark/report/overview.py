"""The first screen of the page: one sentence, methods by boards, and what the boards contradict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from benchmark.report.board import Board, Entry
from benchmark.report.formats import axis_limits
from benchmark.report.verdict import AHEAD, APART, RANKED_SEEDS, UNSURE

NAMED = 3  # boards that a sentence names one by one
Names = Mapping[str, str]  # {name of a board: its title}


def listed(boards: Sequence[Board]) -> list[Board]:
    """Return the boards that hold more than references."""
    return [b for b in boards if {e.row.method for e in b.entries} - {b.group.protocol["reference"]}]


def reason(board: Board) -> str:
    """Return why a board claims nothing, empty where it ranks."""
    if board.withheld:
        return board.withheld
    if board.group.protocol["judge"] != "test":
        return "Evaluated on held-out train images: for tuning only."
    if not any(entry.compared for entry in board.entries):
        baseline = board.group.protocol["baseline"]
        return f"No method shares a complete seed with the baseline {baseline} and the reference."
    if not any(entry.tier.isdigit() for entry in board.entries):
        few = max(len(entry.paired) for entry in board.entries) < RANKED_SEEDS
        return f"Fewer than {RANKED_SEEDS} seeds." if few else "No row has every planned seed."
    return ""


def sentence(boards: Sequence[Board], names: Names) -> str:
    """Return which methods are surely better than the baseline, and on which boards."""
    if not boards:
        return "No board here compares methods: the only finished runs are those of references."
    baselines = sorted({board.group.protocol["baseline"] for board in boards})
    ranked = [board for board in boards if not reason(board)]
    if not ranked:
        return (
            f"No method is shown to be better than plain {_listed(baselines)}: no board here ranks methods."
        )
    found: dict[str, list[Board]] = defaultdict(list)
    for board in ranked:
        for entry in shown(board):
            if not entry.role and entry.compared and entry.compared.verdict == AHEAD:
                found[entry.label].append(board)
    better: dict[str, list[str]] = defaultdict(list)
    for label in sorted(found, key=lambda label: (-len(found[label]), -_mean(found[label], label), label)):
        better["" if found[label] == ranked else f" on {_where(found[label], names)}"].append(label)
    parts = [f"{_listed(labels)}{where}" for where, labels in better.items()]
    text = (
        f"No method is reliably better than plain {_listed(baselines)} on {_where(ranked, names, 'any of ')}"
    )
    return f"{text}, except {'; '.join(parts)}." if parts else f"{text}."


def contradictions(boards: Sequence[Board], names: Names) -> list[str]:
    """Return a sentence for each pair of rows of which one is surely ahead here, and surely behind there.

    Those with a baseline are first.
    """
    ahead: dict[tuple[str, str], list[Board]] = defaultdict(list)
    for board in (board for board in boards if not reason(board)):
        for a, b in combinations(shown(board), 2):
            compared = board.verdicts.pair(a.row, b.row)
            if compared and compared.verdict != UNSURE:
                first, second = (a, b) if compared.verdict == AHEAD else (b, a)
                ahead[first.label, second.label].append(board)
    plain = {board.group.protocol["baseline"] for board in boards}
    both = sorted(
        (pair for pair in ahead if pair[::-1] in ahead), key=lambda pair: (pair[1] not in plain, pair)
    )
    return [
        f"{a} is surely ahead of {b} on {_where(ahead[a, b], names)}, and surely behind it on "
        f"{_where(ahead[b, a], names)}."
        for place, (a, b) in enumerate(both)
        if (b, a) not in both[:place]
    ]


class Line(NamedTuple):
    """A row of the first screen: an entry a board, None where it has none.

    share: of each entry, its difference to the baseline in percent of the largest of all.
    """

    label: str
    entries: list[Entry | None]
    share: list[float]


def rows(boards: Sequence[Board]) -> list[Line]:
    """Return methods by boards, by their mean difference to the baseline; references come last."""
    labels = {e.label: e for board in boards for e in reversed(shown(board)) if e.role != "baseline"}
    found = [(label, [_entry(board, label) for board in boards]) for label in labels]
    values = [[_value(e) for e in entries] for _, entries in found]
    most = max((abs(v) for line in values for v in line if v is not None), default=0.0) or 1.0
    lines = [
        (
            labels[label].role == "reference",
            -_mean(boards, label),
            Line(label, entries, [round(100 * abs(v or 0.0) / most) for v in line]),
        )
        for (label, entries), line in zip(found, values, strict=True)
    ]
    return [line for *_, line in sorted(lines, key=lambda each: (*each[:2], each[2].label))]


def shown(board: Board) -> list[Entry]:
    """Return the rows of today's versions without ablations and controls."""
    return [e for e in board.entries if not e.row.outdated and e.role not in APART]


class Axis:
    """The axis of a board's differences to the baseline: every seed, intervals where they do not crush it."""

    def __init__(self, board: Board) -> None:
        found = [entry.compared for entry in board.entries if entry.compared]
        values = [0.0, *(value for c in found for value in c.differences.values())]
        bounds = (bound for c in found for bound in (c.estimate.low, c.estimate.high))
        self.low, self.high = axis_limits(values, bounds, beyond=0.5)

    def at(self, value: float) -> float:
        """Return where a value stands, in percent of the width, those beyond the ends at the ends."""
        inside, span = min(max(value, self.low), self.high), self.high - self.low or 1.0
        return round(2 + 96 * (inside - self.low) / span, 1)

    @property
    def ticks(self) -> list[float]:
        """Return round values on the axis, 0 among them."""
        step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50, 100, np.inf) if (self.high - self.low) / s <= 6)
        return (
            [float(n * step) for n in range(-6, 7) if self.low <= n * step <= self.high]
            if step < np.inf
            else [0.0]
        )


def _entry(board: Board, label: str) -> Entry | None:
    return next((e for e in shown(board) if e.label == label and e.compared), None)


def _value(entry: Entry | None) -> float | None:
    return entry.compared.estimate.value if entry and entry.compared else None


def _mean(boards: Sequence[Board], label: str) -> float:
    found = [v for board in boards if (v := _value(_entry(board, label))) is not None]
    return float(np.mean(found)) if found else -np.inf


def _where(boards: Sequence[Board], names: Names, few: str = "") -> str:
    titles = [names[board.name] for board in boards]
    return _listed(titles) if len(titles) <= NAMED else f"{few}{len(titles)} boards"


def _listed(texts: Sequence[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
