"""The matrix of pairwise differences: its numbers, its verdicts, and what it does not claim."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from scipy import stats as scipy_stats

from benchmark.report.board import Board, Entry
from benchmark.report.figures import wins
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, only, texts, twice

CHANCE = {"multi_task": 0.0, "mtpsl": 0.2, "prototype": 6.0}


def write(folder: Path, seeds: int, gains: dict[str, float] = CHANCE) -> None:
    for method, gain in {"single_task": 0.0, **gains}.items():
        for seed in range(seeds):
            for s in make.specs(method, seed):
                make.write_run(folder, make.record(s, gain), panels=False)


def by_hand(board: Board, a: Entry, b: Entry) -> tuple[float, float, float]:
    """The difference of two rows and its interval, from the records alone: the delta method, seed by seed."""
    units = sorted(r["spec"]["label_seed"] for r in a.row.records if r["spec"]["tasks"][0] == "semseg")

    def scores(e: Entry) -> np.ndarray:
        return np.array([[next(r["metrics"][t][make.INFO[t]["metric"]] for r in e.row.records
                               if r["spec"]["label_seed"] == u and t in r["metrics"])
                          for t in make.TASKS] for u in units])  # fmt: skip

    assert board.reference is not None
    base = scores(board.reference)
    sign = np.array([1 if make.INFO[t]["higher_is_better"] else -1 for t in make.TASKS])
    d = 100 * sign * (scores(a) - scores(b)) / base.mean(0)
    value = d.mean()
    # The derivative of the ratio of means by the reference's mean.
    psi = (d - d.mean(0) - d.mean(0) * (base - base.mean(0)) / base.mean(0)).mean(1)
    half = scipy_stats.t.ppf(0.975, len(units) - 1) * psi.std(ddof=1) / len(units) ** 0.5
    return value, value - half, value + half


def test_each_cell_holds_the_difference_and_what_its_interval_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, seeds=6)
    found, board = figures(monkeypatch), only(tmp_path)
    assert wins.wins(board, tmp_path)[1] == []
    (ax,) = found["wins"].axes
    numbers = [text for text in texts(ax) if text[:1] in "+-"]
    marks = [text for text in texts(ax) if text in wins.MARKS.values()]
    colours = [to_hex(patch.get_facecolor()) for patch in ax.patches if isinstance(patch, Rectangle)]
    pairs = list(combinations(board.entries, 2))
    assert len(numbers) == len(marks) == len(colours) == len(pairs) == 6
    said = set()
    for (a, b), number, mark, colour in zip(pairs, numbers, marks, colours, strict=True):
        estimate, (value, low, high) = wins.gap(board, a, b), by_hand(board, a, b)
        assert estimate is not None
        np.testing.assert_allclose(
            [estimate.value, estimate.low, estimate.high], [value, low, high], rtol=1e-9
        )
        verdict = wins.AHEAD if low > 0 else wins.BEHIND if high < 0 else wins.UNSURE
        assert (number, mark, colour) == (f"{value:+.1f}", wins.MARKS[verdict], wins._COLOURS[verdict])
        said.add(verdict)
    assert said == {wins.AHEAD, wins.UNSURE}  # else the test shows nothing
    assert [text for text in texts(ax) if text[-1].isdigit() and text[0].isalpha()] == [
        f"{e.label}  {i}" for i, e in enumerate(board.entries, 1)
    ]


def test_the_title_says_that_nothing_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, seeds=5)
    found = figures(monkeypatch)
    wins.wins(only(tmp_path), tmp_path)
    over = " ".join(text.get_text().replace("\n", " ") for text in found["wins"].texts)
    assert (
        "Descriptive and not corrected for their number; only the comparisons with multi_task are "
        "confirmatory" in over
    )


def test_few_seeds_tell_nothing_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, seeds=4, gains={"multi_task": 0.0, "prototype": 40.0})
    found, board = figures(monkeypatch), only(tmp_path)
    clear = wins.gap(board, board.entries[0], board.entries[-1])
    assert clear is not None and clear.excludes_zero() and wins.verdict(clear, board.planned) == wins.UNSURE
    wins.wins(board, tmp_path)
    (ax,) = found["wins"].axes
    assert {text for text in texts(ax) if text in wins.MARKS.values()} == {"?"}
    (legend,) = found["wins"].legends
    words = legend.get_texts()[-1].get_text().replace("\n", " ")
    assert words == "? cannot tell: these rows share 4 seeds, and fewer than 5 tell nothing apart"


def test_a_row_that_lacks_a_planned_seed_is_ahead_of_none(tmp_path: Path) -> None:
    write(tmp_path, seeds=6, gains={"multi_task": 0.0, "prototype": 40.0})
    whole = only(tmp_path)
    first, last = whole.entries[0], whole.entries[-1]
    estimate = wins.gap(whole, first, last)
    assert (
        first.label == "prototype"
        and estimate is not None
        and wins.verdict(estimate, whole.planned, first, last) == wins.AHEAD
    )
    back = wins.gap(whole, last, first)
    assert back is not None and wins.verdict(back, whole.planned, last, first) == wins.BEHIND
    make.write_failure(tmp_path, make.spec("prototype", 6))
    board = only(tmp_path)
    (failed,) = (e for e in board.entries if e.label == "prototype")
    assert wins.verdict(estimate, board.planned, failed, last) == wins.UNSURE


def test_a_board_without_a_pair_says_so(tmp_path: Path) -> None:
    for s in make.specs("single_task", 0):
        make.write_run(tmp_path, make.record(s), panels=False)
    assert wins.wins(only(tmp_path), tmp_path) == ([], ["wins: no two rows share seeds."])


def test_many_rows_with_long_names_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [{"tke": bool(i % 2), "codes": 2**i, "lr_scale": 1 + i / 4} for i in range(13)]
    for seed in range(2):
        for s in (
            *make.specs("single_task", seed),
            *(make.spec("prototype", seed, changed=c) for c in changes),
        ):
            make.write_run(tmp_path, make.record(s, gain=len(s["changed"])), panels=False)
    found = figures(monkeypatch)
    _, notes = wins.wins(only(tmp_path), tmp_path)
    fig = found["wins"]
    assert len(notes) == 2 and all("only 12 rows" in note for note in notes)
    assert fig.get_figwidth() <= 7.0 and cut_off(fig) == []


def test_the_same_board_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path, seeds=2)
    first, second = twice(wins.wins, tmp_path)
    assert first == second and len(first) == 2
