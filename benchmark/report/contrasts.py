"""The contrasts that plans named before their runs: what a board says of each, and what a paper does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from benchmark.report.board import Board
from benchmark.report.formats import counted, with_interval
from benchmark.report.papers import alike, published
from benchmark.report.rows import Group, Row
from benchmark.report.statistics import seeds_to_decide
from benchmark.report.verdict import AHEAD, BEHIND, UNSURE, Comparison, Side

HOLDS, FAILS, OPEN = "holds", "fails", "cannot be told"
_TIMES = ("gpu_hours", "cpu_seconds", "seconds")  # the first that both sides have


@dataclass(frozen=True)
class Answer:
    """What a board says of a contrast.

    first, second: labels of its sides. compared: the first with the second. time, parameters: the first's
    training time of a seed and parameters at inference over the second's, None where a record lacks them.
    printed: what a paper prints of it in points of delta m, None where none does; by: whose rows they are.
    claim: `HOLDS`, `FAILS`, `OPEN`, or "" without a paper. note: how the paper's sides differ.
    """

    first: str
    second: str
    compared: Comparison
    time: float | None = None
    parameters: float | None = None
    printed: float | None = None
    by: str = ""
    claim: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Return the plan's name for it."""
        return self.compared.contrast

    @property
    def text(self) -> str:
        """`ahead, sure`, or `cannot tell (...)` with the reason"""
        c = self.compared
        return f"{UNSURE} ({c.reason.rstrip('.')})" if c.verdict == UNSURE else f"{c.verdict}, sure"

    @property
    def sentence(self) -> str:
        """Return name, difference, seeds and verdict as a sentence."""
        n = counted(len(self.compared.differences), "seed")
        return f"{self.name}: {with_interval(self.compared.estimate)} points of Δm, {n}; {self.text}."

    @property
    def costs(self) -> str:
        """`1.40x time, 1.10x parameters`"""
        found = {"time": self.time, "parameters": self.parameters}
        return ", ".join(f"{value:.2f}\xd7 {what}" for what, value in found.items() if value is not None)


def answers(board: Board) -> list[Answer]:
    """Return an answer for each contrast of which the board has both sides."""
    return [_answer(board.group, a, b, c) for a, b, c in board.verdicts.contrasts]


def headline(found: list[Answer]) -> str:
    """Return what is settled of the contrasts of a board, in one sentence."""
    sure = [a for a in found if a.compared.verdict != UNSURE]
    if sure:
        said = (f"{a.name}, {a.compared.verdict} by {abs(a.compared.estimate.value):.1f}" for a in sure)
        rest = f" Open: {len(found) - len(sure)} of {len(found)}." * (len(sure) < len(found))
        return f"Sure: {'; '.join(said)} points of Δm.{rest}"
    seeds, needed = min(len(a.compared.differences) for a in found), seeds_to_decide(found[0].compared.family)
    few = seeds < needed
    after = f": {seeds} of the {needed} seeds that decide them ran." if few else f" after {seeds} seeds."
    return f"None of the {counted(len(found), 'question')} asked before the runs is settled{after}"


def frame(found: list[Answer]) -> pd.DataFrame:
    """Return the answers as a table of numbers, a row a contrast."""
    return pd.DataFrame(
        {
            "contrast": a.name,
            "first": a.first,
            "second": a.second,
            "n_seeds": a.compared.estimate.n,
            "difference": a.compared.estimate.value,
            "ci_low": a.compared.estimate.low,
            "ci_high": a.compared.estimate.high,
            "p_holm": a.compared.p_holm,
            "family": a.compared.family,
            "first_is": a.compared.verdict,
            "reason": a.compared.reason,
            "time_ratio": a.time,
            "parameters_ratio": a.parameters,
            "printed": a.printed,
            "printed_by": a.by,
            "claim": a.claim,
            "note": a.note,
        }
        for a in found
    )


def _answer(g: Group, a: Side, b: Side, c: Comparison) -> Answer:
    costs = [(side if isinstance(side, Row) else side.row).cost for side in (a, b)]
    times = [[cost.get(key) for cost in costs] for key in _TIMES]
    parameters = _ratio(*(cost.get("params_infer") for cost in costs))
    time = next((r for pair in times if (r := _ratio(*pair)) is not None), None)
    found = Answer(a.label, b.label, c, time, parameters)
    file = published()
    claim = next((x for x in file.claim if x.contrast == c.contrast and alike(x, g)), None)
    if claim is None:
        return found
    (first, high), (second, low) = file.sides(claim)
    told = {AHEAD: high > low, BEHIND: high < low}.get(c.verdict)
    state = OPEN if told is None else HOLDS if told else FAILS
    by = f"{first.method} - {second.method}, {first.source}"
    return replace(found, printed=high - low, by=by, claim=state, note=claim.note)


def _ratio(a: object, b: object) -> float | None:
    return a / b if isinstance(a, int | float) and isinstance(b, int | float) and a and b else None
