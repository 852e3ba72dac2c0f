"""Figures: which are drawn, that they show the numbers of the board, and panels cut into the right cells."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.board import Board
from benchmark.report.figures import board as plots
from benchmark.report.figures import curves, panels, style
from benchmark.report.figures.style import Drawing
from benchmark.report.grouping import title as board_title
from benchmark.report.records import Record, collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, only, plain, texts

DRAWN = {"delta_m", "cost", "wins", "predictions", "curves"}


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


def test_the_same_bytes_twice(board: Board, drawn: dict[str, Figure], folder: Path, tmp_path: Path) -> None:
    assert set(drawn) == DRAWN
    for name, fig in drawn.items():
        assert board_title(board.group) in plain(fig.get_suptitle()) and cut_off(fig) == [], name
        # No text is smaller than nine pixels at the figure's own size.
        shown = [t for t in fig.findobj(Text) if isinstance(t, Text) and t.get_text() and t.get_visible()]
        assert min(t.get_fontsize() for t in shown) * 96 / 72 >= 9, name
    again = Drawing(tmp_path, board_title(board.group))
    plots.delta_m(board, [(e, e.delta) for e in board.entries if e.delta], again)
    panels.predictions(board, again)
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
            make.write_run(tmp_path, make.record(s, len(s["changed"]), curve=i < 8), panels=False)
    with figures() as found:
        notes = plots.draw(only(tmp_path), tmp_path / "figures").notes
    assert sum(note.startswith("wins: ") and "only 16 rows" in note for note in notes) == 2
    assert {name: cut for name, fig in found.items() if (cut := cut_off(fig))} == {}
    assert all(fig.get_figwidth() <= style.WIDTH for fig in found.values())


def test_delta_m_shows_every_seed_and_arrows_at_the_ends(board: Board, drawn: dict[str, Figure]) -> None:
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
        assert entry.delta
        assert points[entry.label] == pytest.approx((np.mean(seconds) / 60, entry.delta.value))


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


def test_what_is_absent_is_left_out_with_the_reason(tmp_path: Path) -> None:
    make.write(tmp_path, "multi_task")
    made = plots.draw(only(tmp_path), tmp_path / "figures")
    notes = (tmp_path / "figures" / plots.LEFT_OUT).read_text().splitlines()
    assert notes == made.notes and [path.name for path in made.files] == [plots.LEFT_OUT]
    assert {note.partition(":")[0] for note in notes} == DRAWN


def one_record(folder: Path) -> Record:
    make.write_run(folder, make.record(make.spec("multi_task")))
    (record,) = collect(folder).records
    assert record.panel is not None
    return record


def test_panels_are_cut_into_the_right_cells(tmp_path: Path) -> None:
    record = one_record(tmp_path)
    assert record.panel is not None
    pixels = np.asarray(Image.open(record.panel).convert("RGB"))
    (height, width), found = make.CELL, panels.read_panel(record)
    for t, task in enumerate(make.TASKS):
        for row in range(4):
            for kind, column in enumerate((0, 1 + 3 * t, 2 + 3 * t)):
                cell = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
                assert (found[task][kind][row] == cell).all()


@pytest.mark.parametrize("size", [None, (100, 50), (320, 24 * 6), (319, 96), (7 * 32, 96)])
def test_damaged_and_misshapen_panels_are_named(size: tuple[int, int] | None, tmp_path: Path) -> None:
    record = one_record(tmp_path)
    assert record.panel is not None
    if size:
        Image.new("RGB", size).save(record.panel, lossless=True)
    else:
        record.panel.write_bytes(b"not an image")
    words = "not 10 columns and up to 4 rows" if size else r"panel\.webp could not be read"
    with pytest.raises(UserError, match=words):
        panels.read_panel(record)


def test_panels_of_fewer_images_and_of_other_sizes(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    for entry in only(tmp_path).entries:
        for record in entry.row.records:
            assert record.panel is not None
            whole = Image.open(record.panel).convert("RGB")
            height, width = make.CELL
            cut = whole.crop((0, 0, whole.width, 2 * height))
            small = entry.label == "mtpsl"
            (cut.resize((cut.width // 2, height)) if small else cut).save(record.panel, lossless=True)
            found = panels.read_panel(record)[record.spec["tasks"][0]].images
            assert found.shape == ((2, height // 2, width // 2, 3) if small else (2, height, width, 3))
    drawing = Drawing(tmp_path)
    panels.predictions(only(tmp_path), drawing)
    assert [path.name for path in drawing.files] == ["predictions.png"] and drawing.notes == []


def test_predictions_show_the_recorded_cells_of_each_row_that_has_some(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    board, (height, width) = only(tmp_path), make.CELL
    (missing,) = (r.panel for e in board.entries for r in e.row.records if e.label == "multi_task")
    assert missing is not None
    missing.unlink()
    board, drawing = only(tmp_path), Drawing(tmp_path)
    with figures() as found:
        panels.predictions(board, drawing)
    why = "because no panel of predictions lies beside its records."
    assert drawing.notes == [f"predictions: multi_task is left out, {why}"]
    shown, fig = [e for e in board.entries if e.label != "multi_task"], found["predictions"]
    columns = [label.get_text().replace("\n", "") for label in fig.axes[0].get_xticklabels()]
    assert columns == ["image", "truth", *(e.label for e in shown)]
    for t, task in enumerate(make.TASKS):
        mosaic = np.asarray(fig.axes[t].images[0].get_array())
        for c, entry in enumerate(shown, 2):
            panel = {task: of for r in entry.row.records for task, of in panels.read_panel(r).items()}
            cells = panel[task].predictions.reshape(4 * height, width, 3)
            assert (mosaic[:, c * width : (c + 1) * width] == cells).all()
