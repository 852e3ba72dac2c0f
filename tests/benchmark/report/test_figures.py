"""Figures: which are drawn, that they show the numbers of the records, and what is left out and why."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.board import Board, Entry
from benchmark.report.figures import board as plots
from benchmark.report.figures import curves, style
from benchmark.report.grouping import title as board_title
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, only, plain, texts

DRAWN = {
    "delta_m", "changes", "cost", "wins", "labels", "predictions", "errors", "curves",
}  # fmt: skip
SIGNS = np.array([1 if make.INFO[t]["higher_is_better"] else -1 for t in make.TASKS])


def write(folder: Path, labels: int = 4, trains: int = 3, **more: object) -> None:
    """Runs of `make.GAIN` on a grid of seeds; mtpsl has the diagonal alone."""
    for method in make.GAIN:
        for label in range(labels):
            for train in [label % trains] if method == "mtpsl" else range(trains):
                for s in make.specs(method, label, train_seed=train, **more):
                    make.write_run(folder, make.record(s), panels=label == train == 0)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("runs")
    write(folder)
    return only(folder)


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


def scores(entry: Entry) -> np.ndarray:
    """(label seeds, train seeds, tasks) from the records alone."""
    values = np.full((4, 3, 3), np.nan)
    for r in entry.row.records:
        for task in r.spec["tasks"]:
            at = r.spec["label_seed"], r.spec["train_seed"], make.TASKS.index(task)
            values[at] = r["metrics"][task][make.INFO[task]["metric"]]
    return values


def on_diagonal(board: Board, entry: Entry) -> np.ndarray:
    """(label seeds, tasks) from the records alone, each label seed with its one train seed."""
    return np.array([scores(entry)[pair] for pair in sorted(board.group.diagonal)])


def entry_of(board: Board, label: str) -> Entry:
    return next(e for e in board.entries if e.label == label)


def test_the_same_board_gives_the_same_bytes(
    board: Board, drawn: dict[str, Figure], folder: Path, tmp_path: Path
) -> None:
    assert set(drawn) == DRAWN
    for name, fig in drawn.items():
        assert board_title(board.group) in plain(fig.get_suptitle() or fig.texts[0].get_text())
        assert cut_off(fig) == [], name
    again = plots.draw(board, tmp_path)
    assert {path.name for path in again.files} == {path.name for path in folder.iterdir()}
    for path in again.files:
        assert path.read_bytes() == (folder / path.name).read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L"))
            assert 400 <= pixels.shape[1] <= 1100 and pixels.std() > 5
        elif path.suffix == ".svg":
            assert path.read_text().startswith("<?xml") and "<dc:date>" not in path.read_text()


def test_six_tasks_and_many_rows_with_long_names_fit(tmp_path: Path) -> None:
    changes = [{"tke": bool(i % 2), "codes": 2**i, "lr_scale": 1 + i / 4} for i in range(13)]
    for seed in range(2):
        rows = [make.spec("prototype", seed, tuple(make.INFO), changed=c) for c in changes]
        for s in (*make.specs("single_task", seed, tuple(make.INFO)), *rows):
            make.write_run(tmp_path, make.record(s, gain=len(s["changed"])), panels=False)
    with figures() as found:
        notes = plots.draw(only(tmp_path), tmp_path / "figures").notes
    assert sum(note.startswith("wins: ") and "only 12 rows" in note for note in notes) == 2
    assert {name: cut_off(fig) for name, fig in found.items() if cut_off(fig)} == {}
    assert all(fig.get_figwidth() <= style.WIDTH for fig in found.values())


def test_delta_m_shows_the_mean_of_the_dots(board: Board, drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["delta_m"].axes
    reference = on_diagonal(board, entry_of(board, "single_task")).mean(0)
    for y, entry in enumerate(board.entries):
        delta = (100 * SIGNS * (on_diagonal(board, entry).mean(0) / reference - 1)).mean()
        (mean,) = (line for line in ax.lines if line.get_marker() == "D" and line.get_ydata()[0] == y)
        dots = [line for line in ax.lines if line.get_marker() == "o" and line.get_ydata()[0] == y - 0.2]
        assert mean.get_xdata()[0] == pytest.approx(delta, abs=1e-9)
        assert all(np.mean(line.get_xdata()) == pytest.approx(delta) for line in dots)
        assert len(dots) == (entry.label != "single_task")
        assert entry.label == "single_task" or texts(ax)[y].startswith(f"{delta:+.1f} [")


def test_changes_hold_each_task_and_their_mean(board: Board, drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["changes"].axes
    rows = [e for e in board.entries if e is not board.reference]
    cells = np.asarray(ax.collections[0].get_array()).reshape(len(rows), -1)
    reference = on_diagonal(board, entry_of(board, "single_task")).mean(0)
    for entry, line in zip(rows, cells, strict=True):
        change = 100 * SIGNS * (on_diagonal(board, entry).mean(0) / reference - 1)
        np.testing.assert_allclose(line, [*change, change.mean()], rtol=1e-9)
    assert [text.split()[0] for text in texts(ax)] == [f"{value:+.1f}" for value in cells.flat]
    sure = [bool(c.excludes_zero()) for e in rows for c in (*e.changes.values(), e.delta) if c]
    assert np.asarray(ax.collections[0].get_alpha()).ravel().tolist() == [1.0 if s else 0.25 for s in sure]


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
        assert entry.delta is not None
        assert points[entry.label] == pytest.approx((np.mean(seconds) / 60, entry.delta.value))


def test_each_pair_shows_its_difference_and_the_verdict(board: Board, drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["wins"].axes
    names = [plain(label.get_text()) for label in ax.get_yticklabels()]
    assert names == [f"{e.label}  {i}" for i, e in enumerate(board.entries, 1)]
    reference = on_diagonal(board, entry_of(board, "single_task")).mean(0)
    for (a, b), text in zip(combinations(board.entries, 2), texts(ax), strict=True):
        difference = (on_diagonal(board, a) - on_diagonal(board, b)).mean(0)
        found = board.verdicts.pair(a.row, b.row)
        assert found is not None
        value = (100 * SIGNS * difference / reference).mean()
        assert text.split() == [f"{value:+.1f}", plots.MARKS[found.verdict]]


def test_curves_end_in_the_score_before_the_grey_baseline(board: Board, drawn: dict[str, Figure]) -> None:
    axes = drawn["curves"].axes
    rows = [e for e in board.entries if e is not board.baseline]
    assert [plain(ax.get_ylabel()) for ax in axes[::3]] == [e.label for e in rows] and len(axes) == 9
    for i, ax in enumerate(axes):
        task = make.TASKS[i % 3]
        for line, entry in zip(ax.lines, (board.baseline, rows[i // 3]), strict=True):
            assert entry is not None
            records = [r for r in entry.row.records if task in r["metrics"]]
            mean = np.mean([r["metrics"][task][make.INFO[task]["metric"]] for r in records])
            assert line.get_ydata()[-1] == pytest.approx(mean)
        assert ax.lines[0].get_color() == curves.GREY != ax.lines[1].get_color()
    x, mean, low, high = curves.mean_and_range([([0, 1, 2], [4, 2, 0]), ([0.5, 1.5], [5, 3]), ([], [])])
    np.testing.assert_allclose([x, mean, low, high], [[0.5, 1, 1.5], [4, 3, 2], [3, 2, 1], [5, 4, 3]])


def test_the_labels_are_counted(drawn: dict[str, Figure]) -> None:
    (ax,) = drawn["labels"].axes
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 64), (64, 64), (128, 64)]
    names = [text.get_text() for text in drawn["labels"].legends[0].get_texts()]
    assert names == [f"{task}: 64" for task in make.TASKS]
    assert "semseg 64, depth 64, normals 64 of 192 images" in plain(drawn["labels"].get_suptitle())


def test_the_scale_of_errors_shows_the_mean(board: Board, drawn: dict[str, Figure]) -> None:
    ramp = drawn["errors"].axes[-1]
    ((at, text),) = zip(ramp.get_xticks(), ramp.get_xticklabels(), strict=True)
    mean = np.mean([e.metrics["normals"]["mErr"].mean() for e in board.entries])
    assert at == pytest.approx(mean / 60) and text.get_text() == f"mean normals mErr (deg): {mean:.2f}"


def test_no_text_is_smaller_than_nine_pixels_at_its_own_size(drawn: dict[str, Figure]) -> None:
    for name, fig in drawn.items():
        found = [t for t in fig.findobj(Text) if isinstance(t, Text) and t.get_text() and t.get_visible()]
        assert min(t.get_fontsize() for t in found) * 96 / 72 >= 9, name


def test_names_break_between_words_and_texts_keep_apart() -> None:
    assert style.wrapped("mean_teacher", 8) == "mean_\nteacher"
    assert style.wrapped("m(aaaaaaaaaaaaaaaaaaaaaa=1, b=2)", 10).split("\n") == [
        "m",
        "(aaaaaaaaaaaaaaaaaaaaaa=1,",
        "b=2)",
    ]
    places = style.spread([1.0, 5.0, 1.2, 4.9, 1.1], 0.5, 0.8, 5.0)
    np.testing.assert_allclose(places, [1.0, 5.0, 2.0, 4.5, 1.5])


def test_what_is_absent_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (s,) = make.specs("multi_task", 0)
    path = make.write_run(tmp_path, make.record(s, curve=False), panels=False)
    (path.parent / "per_image.npz").unlink()
    made = plots.draw(only(tmp_path), tmp_path / "figures")
    notes = (tmp_path / "figures" / plots.LEFT_OUT).read_text().splitlines()
    assert notes == made.notes and [path.name for path in made.files] == [plots.LEFT_OUT]
    assert {note.partition(":")[0] for note in notes} == DRAWN


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    make.write_run(tmp_path, make.record(make.spec("multi_task")))
    (record,) = collect(tmp_path).records
    assert record.arrays is not None
    record.arrays.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"per_image\.npz could not be read"):
        _ = record.labelled


def test_rows_look_different_and_the_reference_is_grey() -> None:
    looks = style.looks(["single_task", *(f"mine(x={n})" for n in range(30))], "single_task")
    assert len({(to_hex(look["color"]), look["linestyle"]) for look in looks.values()}) == 31
    assert looks["single_task"]["color"] == style.REFERENCE_COLOUR
