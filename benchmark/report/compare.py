"""'Is A better than B here?': two rows of one board over the seeds that both have, the numbers and an answer
in words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.report import statistics
from benchmark.report.board import Board, Entry
from benchmark.report.images import Resampled
from benchmark.report.references import named
from benchmark.report.reruns import Rerun, pooled
from benchmark.report.statistics import Estimate
from benchmark.report.verdict import Comparison, compare, shared


@dataclass(frozen=True)
class Answer:
    """a against b on a board. reference: what delta m is relative to here; b itself where the board's
    reference shares no seeds.

    verdict: "yes", "no" or "cannot tell". difference: delta m of a minus that of b, in points, over `units`;
    tasks: its parts, so that it is their mean. images: the same difference with its interval over test
    images. needed: seeds that an exact test takes.
    p: its result, None with fewer. failed: those of the two rows that lack seeds by failure. cost: {what: a's
    over b's}.
    rerun: the re-run floor of both rows together.
    """

    board: Board
    a: Entry
    b: Entry
    reference: str
    verdict: str
    units: tuple[int, ...]
    difference: Estimate
    tasks: dict[str, Estimate]
    images: Estimate | None
    found: Comparison
    p: float | None
    needed: int
    failed: tuple[str, ...]
    cost: dict[str, float]
    same_device: bool
    rerun: Rerun | None = None


def entry(board: Board, name: str) -> Entry | None:
    """The row that a name means: its label as the board prints it, or a method, whose plainest row it is
    then.
    """
    row = named(board.group.rows, name)
    labels = [name, *([row.label] if row else [])]
    return next((e for label in labels for e in board.entries if e.label == label), None)


def answer(board: Board, a: Entry, b: Entry) -> Answer | None:
    """a against b; None where they share no complete seed."""
    g = board.group
    signs = np.array([t.sign for t in g.tasks], dtype=float)
    candidates = [board.reference.row] if board.reference and not board.reference.row.outdated else []
    usable = ((row, compare(g, a.row, b.row, row)) for row in (*candidates, b.row))
    reference, found = next(((row, c) for row, c in usable if c), (None, None))
    if reference is None or found is None:
        return None
    pairs = shared(a.row, b.row, reference)
    of_a, of_b, base = (g.scores(row, pairs) for row in (a.row, b.row, reference))
    influence = statistics.influence(of_a, base, signs) - statistics.influence(of_b, base, signs)
    changes = statistics.changes(of_a, base, signs) - statistics.changes(of_b, base, signs)
    tasks = {t.name: statistics.estimate(float(changes[i]), influence[:, i]) for i, t in enumerate(g.tasks)}
    difference = statistics.difference(of_a, of_b, base, signs)
    d = np.array([*found.differences.values()])
    p = statistics.sign_flip(d) if statistics.decidable(len(d), 1) else None
    failed = tuple(e.label for e in (a, b) if e.failed or e.row.partial)
    images = Resampled(g).difference(a.row, b.row, reference, pairs)
    floor = pooled(board.reruns.get(e.label) for e in (a, b))
    cost, same = _cost(a, b)
    verdict = _verdict(difference, p, failed)
    return Answer(
        board, a, b, reference.label, verdict, g.units(pairs), difference, tasks, images, found, p,
        statistics.seeds_to_decide(1),
        failed, cost, same, floor,
    )  # fmt: skip


def _verdict(difference: Estimate, p: float | None, failed: tuple[str, ...]) -> str:
    """Yes or no where interval and exact test agree and no seed is missing by failure."""
    if failed or p is None or p > statistics.ALPHA or not difference.excludes_zero():
        return "cannot tell"
    return "yes" if difference.value > 0 else "no"


def _cost(a: Entry, b: Entry) -> tuple[dict[str, float], bool]:
    if not (a.cost and b.cost):
        return {}, True
    ratios = {}
    for name in ("seconds", "peak_gib", "params_train", "params_infer"):
        mine, other = getattr(a.cost, name), getattr(b.cost, name)
        if mine is not None and other:
            ratios[name] = mine / other
    return ratios, a.cost.device == b.cost.device
