"""The details of a board, below its table: tests, other definitions and references, two uncertainties, the
split of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.report.board import Board
from benchmark.report.captions import absent_references
from benchmark.report.columns import PARTS, REFERENCES, grid, split_columns
from benchmark.report.formats import counted, fixed, interval, signed, with_interval
from benchmark.report.references import DELTA_M
from benchmark.report.statistics import Estimate, estimate

SUMMED_ONLY = "odsF"  # the metric of which records hold no statistics of single images


@dataclass(frozen=True)
class Section:
    """A table with what its numbers are. The first column is text, the others numbers; lines are as long as
    the header.
    """

    title: str
    header: list[str]
    lines: list[list[str]]
    sentences: list[str]


def sections(board: Board, places: dict[str, int]) -> list[Section]:
    """The sections that the board has anything for. places: {task: decimals of its primary metric}."""
    found = (
        _tests(board),
        _other(board),
        _uncertainties(board, places),
        _again(board, places),
        _variance(board, places),
    )
    return [section for section in found if section]


def markdown(board: Board, places: dict[str, int]) -> str:
    """The sections as Markdown."""
    parts = []
    for section in sections(board, places):
        table = [section.header, ["---", *["---:"] * (len(section.header) - 1)], *section.lines]
        body = "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table
        )
        parts.append(
            f"\n## {section.title}\n\n{body}\n\n"
            + "".join(f"- {sentence}\n" for sentence in section.sentences)
        )
    return "".join(parts)


def _tests(board: Board) -> Section | None:
    if board.baseline is None:
        return None
    lines = []
    for e in board.entries:
        if e.compared is not None:
            p = "too few seeds to decide" if e.compared.p_holm is None else f"{e.compared.p_holm:.3g}"
            images = interval(e.beside.images.versus) if e.beside.images else ""
            line = [e.label, str(len(e.compared.differences)), with_interval(e.versus), images, p]
            lines.append([*line, f"{e.compared.p_better:.2f}", fixed(e.compared.rho, 2)])
    name = board.baseline.label
    sentences = [
        f"difference: Δm minus that of {name}, in points, with its 95 % interval over the seeds that both "
        f"share, and over test "
        f"images (paired bootstrap).",
        f"p: exact two-sided sign-flip test with Holm's correction for "
        f"{counted(board.comparisons, 'comparison')}.",
        "P(better): share of seeds in which the row is ahead, ties half; it describes and does not test.",
        "rho: correlation of the two over seeds; pairing by seed gains where it is above 0.",
    ]
    header = ["method", "seeds", "difference [seeds]", "[test images]", "p", "P(better)", "rho"]
    return Section(f"Against {name}", header, lines, sentences) if lines else None


def _other(board: Board) -> Section | None:
    lines = []
    for e in board.entries:
        if e.delta:
            other, against = e.beside.definitions, e.beside.against
            own = e is board.reference  # 0 by definition, but for the references that are not itself
            line = (
                ["0"] * 3
                if own
                else [signed(e.delta.value), signed(other.all_metrics), signed(other.task_mean)]
            )
            held = [getattr(against, name) for name in REFERENCES]
            line += ["0 (reference)" if own and x == e.delta else with_interval(x) for x in held]
            lines.append([e.label, *line, signed(e.beside.oracle)])
    header = [
        "method",
        "Δm",
        "all metrics",
        "mean by task",
        "equal epochs",
        "equal steps",
        "full labels",
        "oracle",
    ]
    name = board.group.protocol["reference"]
    sentences = [
        "all metrics: mean over all metrics of all tasks; mean by task: over a task's metrics, then over "
        "tasks. Papers use both.",
        f"equal epochs, equal steps, full labels: Δm against {name} of that budget, or trained on every "
        f"label.",
        *absent_references(board),
        "oracle: had every run, the reference's too, kept its best evaluation on the test set; a diagnostic, "
        "never a score.",
    ]
    return Section("Other Δm, in %", header, lines, sentences) if lines else None


def _uncertainties(board: Board, places: dict[str, int]) -> Section | None:
    lines = []
    for e in board.entries:
        scores = e.beside.images.scores if e.beside.images else {}
        if any(scores.values()):
            line = [e.label]
            for task in board.group.tasks:
                seeds = _over_seeds([*e.by_unit[task.name].get(task.metric, {}).values()])
                line += [_between(found, places[task.name]) for found in (seeds, scores[task.name])]
            lines.append(line)
    header = [
        "method",
        *(f"{t.title}: {over}" for t in board.group.tasks for over in ("seeds", "test images")),
    ]
    sentences = [
        "seeds: 95 % interval of the mean over seeds. test images: 95 % interval had other test images been "
        "drawn (paired "
        "bootstrap), for these seeds. Neither holds the other, and they are not added.",
        *(
            f"{t.title}: no interval over test images, because the counts that it is made of are not kept "
            f"for each image."
            for t in board.group.tasks
            if t.metric == SUMMED_ONLY
        ),
    ]
    return Section("Two uncertainties of each score", header, lines, sentences) if lines else None


def _over_seeds(values: Sequence[float]) -> Estimate | None:
    return estimate(float(np.mean(values)), np.array(values)) if values else None


def _between(found: Estimate | None, places: int) -> str:
    """`[30.1, 32.3]`"""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"[{fixed(found.low, places)}, {fixed(found.high, places)}]"


def _again(board: Board, places: dict[str, int]) -> Section | None:
    lines, devices = [], []
    for e in board.entries:
        if again := board.reruns.get(e.label):
            seeds = (
                float(np.std([*e.psi.values()], ddof=1))
                if e.psi and len(e.psi) > 1 and e is not board.reference
                else None
            )
            tasks = [_floor(again.tasks[t.name], places[t.name] + 1) for t in board.group.tasks]
            lines.append([e.label, str(again.n), _floor(again.sd, 2), fixed(seeds, 2), *tasks])
            devices += [
                f"{e.label} ran on another device the second time ({change})." for change in again.devices
            ]
    header = [
        "method",
        "seeds run twice",
        "Δm: run again",
        "Δm: over seeds",
        *(f"{t.title}: again" for t in board.group.tasks),
    ]
    sentences = [
        "run again: standard deviation of one run about what its seeds fix, from the same seeds run a second "
        "time: the root of "
        "half the mean square of the differences between both runs; for Δm with the reference held at its "
        "mean. A difference "
        "between methods of that size says nothing.",
        "over seeds: of one seed's Δm. 0 (equal): both runs agree to the last digit.",
        *devices,
    ]
    return Section("The same seeds run again", header, lines, sentences) if lines else None


def _floor(sd: float, places: int) -> str:
    """`0.031`; a floor that the digits would hide keeps one."""
    return "0 (equal)" if sd == 0 else fixed(sd, places) if round(sd, places) else f"{sd:.0e}"


def _variance(board: Board, places: dict[str, int]) -> Section | None:
    names = split_columns(board)
    lines = []
    for e in board.entries:
        line = [e.label, grid(e.beside.variance)]
        for name in names:
            split = e.beside.variance.get(name)
            decimals = 2 if name == DELTA_M else places[name]
            line += [fixed(getattr(split, sd), decimals) if split else "" for sd in PARTS.values()]
        lines.append(line)
    titles = {DELTA_M: "Δm"} | {t.name: t.title for t in board.group.tasks}
    header = ["method", "label seeds x train seeds"]
    header += [f"{titles[name]}: {part}" for name in names for part in ("labels", "training", "rest")]
    sentences = [
        "Standard deviations over draws of labels, over train seeds, and of the rest (their interaction, and "
        "what differs when a "
        "run is repeated), from a crossed grid of seeds; for Δm with the reference held at its mean."
    ]
    return Section("Where the noise comes from", header, lines, sentences) if names else None
