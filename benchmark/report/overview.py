"""The first screen of the page: one sentence, and methods by boards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmark.report.board import Board, Entry
from benchmark.report.contrasts import Answer, answers, headline
from benchmark.report.formats import axis_limits
from benchmark.report.grouping import title
from benchmark.report.verdict import AHEAD, APART, RANKED_SEEDS, Comparison

NAMED = 3  # boards that a sentence names one by one


def listed(boards: Sequence[Board]) -> list[Board]:
    """Return the boards with more than references: those that rank, the fullest, demonstrations last."""

    def place(b: Board) -> tuple[Any, ...]:
        seeds = max(len(e.units) for e in b.entries)
        return bool(reason(b)), b.group.protocol["demonstration"], -seeds, -len(b.group.run_ids), b.name

    return sorted((b for b in boards if b.compares), key=place)


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


def asked(boards: Sequence[Board]) -> tuple[Board, list[Answer]] | None:
    """Return the first board on which a plan named contrasts before its runs, with its answers."""
    return next(((board, found) for board in boards if (found := answers(board))), None)


def sentence(boards: Sequence[Board]) -> str:
    """Return what is settled of the named contrasts, else which methods are surely better, and where."""
    if not boards:
        return "No board here compares methods: the only finished runs are those of references."
    if first := asked(boards):
        return headline(first[1])
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
    for label in sorted(found, key=lambda label: (-len(found[label]), label)):
        better["" if found[label] == ranked else f" on {_where(found[label])}"].append(label)
    parts = [f"{_listed(labels)}{where}" for where, labels in better.items()]
    text = f"No method is reliably better than plain {_listed(baselines)} on {_where(ranked, 'any of ')}"
    return f"{text}, except {'; '.join(parts)}." if parts else f"{text}."


class Line(NamedTuple):
    """A row of the first screen: an entry a board, None where it has none.

    share: of each entry, its difference to the baseline in percent of the largest of all.
    """

    label: str
    entries: list[Entry | None]
    share: list[float]


def rows(boards: Sequence[Board]) -> list[Line]:
    """Return methods by boards, by their mean difference to the baseline; references come last."""
    found: dict[str, list[Entry | None]] = {}
    for i, board in enumerate(boards):
        for e in shown(board):
            if e.compared and e.role != "baseline":
                found.setdefault(e.label, [None] * len(boards))[i] = e
    values = {
        k: [e.compared.estimate.value if e and e.compared else 0.0 for e in v] for k, v in found.items()
    }
    most = max((abs(x) for line in values.values() for x in line), default=0.0) or 1.0

    def place(label: str) -> tuple[bool, float, str]:
        there = [e for e in found[label] if e]
        return any(e.role == "reference" for e in there), -sum(values[label]) / len(there), label

    return [
        Line(x, found[x], [round(100 * abs(v) / most) for v in values[x]]) for x in sorted(found, key=place)
    ]


def shown(board: Board) -> list[Entry]:
    """Return the rows but for ablations and controls."""
    return [e for e in board.entries if e.role not in APART]


class Axis:
    """The axis of some differences: every seed, intervals where they do not crush it."""

    def __init__(self, found: Sequence[Comparison]) -> None:
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
        span = self.high - self.low
        step = next((s for s in (0.5, 1, 2, 5, 10, 20, 50, 100) if span / s <= 6), span)
        return [float(n * step) for n in range(-6, 7) if self.low <= n * step <= self.high]


def _where(boards: Sequence[Board], few: str = "") -> str:
    titles = [title(board.group) for board in boards]
    return _listed(titles) if len(titles) <= NAMED else f"{few}{len(titles)} boards"


def _listed(texts: Sequence[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
