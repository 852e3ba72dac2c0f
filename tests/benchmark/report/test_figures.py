"""Figures: which are drawn, that they show the numbers of the board, and what is left out and why."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from benchmark.report.board import Board
from benchmark.report.figures import board as plots
from benchmark.report.figures import curves, panels, style
from benchmark.report.figures.style import Drawing
from benchmark.report.grouping import title as board_title
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, only, plain, texts

DRAWN = {"delta_m", "changes", "cost", "wins", "predictions", "errors", "curves"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    (folder / "matrix_old.png").write_bytes(b"of an earlier board")
    return folder


@pytest.fixture(scope="module")
def drawn(board: Board, folder: Path) -> dict[str, Figure]:
    with figures(written=True) as found:
        made = plots.draw(board, folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in made.files}
    return found


def test_the_same_board_gives_the_same_bytes(
    board: Board, drawn: dict[str, Figure], folder: Path, tmp_path: Path
) -> None:
    assert set(drawn) == DRAWN
    for name, fig in drawn.items():
        assert board_title(board.group) in plain(fig.get_suptitle()) and cut_off(fig) == [], name
        # No text is smaller than nine pixels at the figure's own size.
        shown = [t for t in fig.findobj(Text) if isinstance(t, Text) and t.get_text() and t.get_visible()]
        assert min(t.get_fontsize() for t in shown) * 96 / 72 >= 9, name
    again = Drawing(tmp_path, board_title(board.group))
    plots.delta_m(board, [(e, e.delta) for e in board.entries if e.delta], again)
    panels.predictions(board, again, "errors")
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in again.files)
    for path in folder.iterdir():
        if path.suffix == ".png":
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L"))
            assert 400 <= pixels.shape[1] <= 1100 and pixels.std() > 5
        elif path.suffix == ".svg":
            assert path.read_text().startswith("<?xml") and "<dc:date>" not in path.read_text()


def test_six_tasks_and_many_rows_with_long_names_fit(tmp_path: Path) -> None:
    changes = [{"tke": bool(i % 2), "codes": 2**i, "lr_scale": 1 + i / 4} for i in range(17)]
    for seed in range(2):
        rows = [make.spec("prototype", seed, tuple(make.INFO), changed=c) for c in changes]
        for i, s in enumerate((*make.specs("single_task", seed, tuple(make.INFO)), *rows)):
            r = make.record(s, gain=len(s["changed"]), curve=i < 8)  # the reference and two rows
            make.write_run(tmp_path, r, panels=False)
    with figures() as found:
        notes = plots.draw(only(tmp_path), tmp_path / "figures").notes
    assert sum(note.startswith("wins: ") and "only 16 rows" in note for note in notes) == 2
    assert {name: cut_off(fig) for name, fig in found.items() if cut_off(fig)} == {}
    assert all(fig.get_figwidth() <= style.WIDTH for fig in found.values())


def test_delta_m_shows_every_seed_and_arrows_where_intervals_go_on(
    board: Board, drawn: dict[str, Figure]
) -> None:
    (ax,) = drawn["delta_m"].axes
    low, high = ax.get_xlim()
    lines = [(line.get_marker(), np.asarray(line.get_xydata())) for line in ax.lines]
    for y, entry in enumerate(board.entries):
        points = {marker: xy[:, 0] for marker, xy in lines if len(xy) and round(xy[0, 1]) == y}
        assert entry.delta and points["D"] == pytest.approx([entry.delta.value])
        if entry.delta.low is None or entry.delta.high is None:
            assert entry.role == "reference"
            continue
        assert points["o"].tolist() == [*entry.by_seed.values()]
        assert texts(ax)[y].startswith(f"{entry.delta.value:+.1f} [")
        assert ("<" in points, ">" in points) == (entry.delta.low < low, entry.delta.high > high)


def test_changes_hold_each_task_and_their_mean(board: Board, drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["changes"].axes
    cells = [
        c for e in board.entries if e is not board.reference for c in (*e.changes.values(), e.delta) if c
    ]
    values = np.asarray(ax.collections[0].get_array()).ravel()
    np.testing.assert_allclose(values, [c.value for c in cells])
    assert [text.split()[0] for text in texts(ax)] == [f"{value:+.1f}" for value in values]
    pale = [1.0 if c.excludes_zero() else 0.25 for c in cells]
    assert np.asarray(ax.collections[0].get_alpha()).ravel().tolist() == pale


def test_cost_shows_time_against_delta_m(board: Board, drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["cost"].axes
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines}
    assert {text.get_text() for text in ax.texts} == {e.label for e in board.entries}
    (front,) = (line for line in ax.lines if line.get_label() == "front")
    ends = [points[e.label] for e in board.entries]
    best = [p for p in ends if not any(o != p and o[0] <= p[0] and o[1] >= p[1] for o in ends)]
    assert sorted(best) == [tuple(p) for p in np.array(front.get_xydata())] and 1 < len(best) < len(ends)
    for entry in board.entries:
        seconds = [sum(r["cost"]["seconds"] for r in s.records) for s in entry.row.seeds.values()]
        assert entry.delta and points[entry.label] == pytest.approx(
            (np.mean(seconds) / 60, entry.delta.value)
        )


def test_each_pair_shows_its_difference_and_the_verdict(board: Board, drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["wins"].axes
    names = [plain(label.get_text()) for label in ax.get_yticklabels()]
    assert names == [f"{e.label}  {i}" for i, e in enumerate(board.entries, 1)]
    for (a, b), text in zip(combinations(board.entries, 2), texts(ax), strict=True):
        found = board.verdicts.pair(a.row, b.row)
        assert found and text.split() == [f"{found.estimate.value:+.1f}", plots.MARKS[found.verdict]]


def test_curves_end_in_the_score_before_the_grey_baseline(board: Board, drawn: dict[str, Figure]) -> None:
    axes = drawn["curves"].axes
    rows = [e for e in board.entries if e is not board.baseline]
    assert [ax.get_ylabel() for ax in axes[::3]] == [style.wrapped(e.label, 16) for e in rows]
    for i, ax in enumerate(axes):
        task = make.TASKS[i % 3]
        for line, entry in zip(ax.lines, (board.baseline, rows[i // 3]), strict=True):
            assert entry
            mean = entry.metrics[task][make.INFO[task]["metric"]].mean()
            assert line.get_ydata()[-1] == pytest.approx(mean)
        assert ax.lines[0].get_color() == curves.GREY != ax.lines[1].get_color()
    x, mean, low, high = curves.mean_and_range([([0, 1, 2], [4, 2, 0]), ([0.5, 1.5], [5, 3]), ([], [])])
    np.testing.assert_allclose([x, mean, low, high], [[0.5, 1, 1.5], [4, 3, 2], [3, 2, 1], [5, 4, 3]])


def test_the_scale_of_errors_shows_the_mean(board: Board, drawn: dict[str, Figure]) -> None:
    ramp = drawn["errors"].axes[-1]
    ((at, text),) = zip(ramp.get_xticks(), ramp.get_xticklabels(), strict=True)
    mean = np.mean([e.metrics["normals"]["mErr"].mean() for e in board.entries])
    assert at == pytest.approx(mean / 60) and text.get_text() == f"mean normals mErr (deg): {mean:.2f}"


def test_names_break_between_words_and_texts_keep_apart() -> None:
    assert style.wrapped("mean_teacher", 8) == "mean_\nteacher"
    broken = style.wrapped("m(aaaaaaaaaaaaaaaaaaaaaa=1, b=2)", 10)
    assert broken.split("\n") == ["m", "(aaaaaaaaaaaaaaaaaaaaaa=1,", "b=2)"]
    places = style.spread([1.0, 5.0, 1.2, 4.9, 1.1], 0.5, 0.8, 5.0)
    np.testing.assert_allclose(places, [1.0, 5.0, 2.0, 4.5, 1.5])


def test_what_is_absent_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (s,) = make.specs("multi_task", 0)
    make.write_run(tmp_path, make.record(s, curve=False), panels=False)
    made = plots.draw(only(tmp_path), tmp_path / "figures")
    notes = (tmp_path / "figures" / plots.LEFT_OUT).read_text().splitlines()
    assert notes == made.notes and [path.name for path in made.files] == [plots.LEFT_OUT]
    assert {note.partition(":")[0] for note in notes} == DRAWN
