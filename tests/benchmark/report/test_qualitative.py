"""Pictures of fixed test images: panels are cut into the right cells, and the errors that figures show are
those recorded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.figures import panels
from benchmark.report.figures.style import Drawing
from benchmark.report.records import Record, collect
from benchmark.runs.pictures import colour_error
from datasets.tasks import depth
from tests.benchmark.report import make
from tests.benchmark.report.drawn import figures, only, plain


def names(fig: Figure) -> list[str]:
    """The names of the columns."""
    return [label.get_text().replace("\n", "") for label in fig.axes[0].get_xticklabels()]


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
            for kind, column in enumerate((0, 1 + 3 * t, 2 + 3 * t, 3 + 3 * t)):
                cell = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
                assert (found[task][kind][row] == cell).all()


@pytest.mark.parametrize("size", [None, (100, 50), (320, 11), (320, 24 * 6), (319, 96), (7 * 32, 96)])
def test_damaged_panels_and_those_of_another_shape_are_named(
    size: tuple[int, int] | None, tmp_path: Path
) -> None:
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
    panels.predictions(only(tmp_path), drawing, "predictions")
    panels.predictions(only(tmp_path), drawing, "errors")
    assert [path.name for path in drawing.files] == ["predictions.png", "errors.png"] and drawing.notes == []


def test_rows_without_panels_are_left_out(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    (missing,) = (r.panel for e in only(tmp_path).entries for r in e.row.records if e.label == "multi_task")
    assert missing is not None
    missing.unlink()
    drawing = Drawing(tmp_path)
    with figures() as found:
        panels.predictions(only(tmp_path), drawing, "predictions")
    why = "because no panel of predictions lies beside its records."
    assert drawing.notes == [f"predictions: multi_task is left out, {why}"]
    assert "prototype" in names(found["predictions"]) and "multi_task" not in names(found["predictions"])


def test_errors_show_the_recorded_cells_of_each_row_and_say_their_scale(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    for path in tmp_path.rglob("record.json"):
        record = json.loads(path.read_text())
        for name in {"depth"} & record["tasks"].keys():
            record["tasks"][name]["span"] = [0.0, 4.0]
        path.write_text(json.dumps(record))
    board = only(tmp_path)
    with figures() as found:
        panels.predictions(board, Drawing(tmp_path), "errors")
    fig = found["errors"]
    height, width = make.CELL
    for t, task in enumerate(make.TASKS):
        mosaic = np.asarray(fig.axes[t].images[0].get_array())
        for c, entry in enumerate(board.entries):
            panel = {}
            for r in entry.row.records:
                panel |= panels.read_panel(r)
            expected = panel[task].errors
            assert (
                mosaic[:, (2 + c) * width : (3 + c) * width] == expected.reshape(4 * height, width, 3)
            ).all()
    assert names(fig) == ["image", "truth", *(e.label for e in board.entries)]
    said = plain(fig.axes[-1].get_xlabel())
    scale = (
        "Darkest: wrong class (semseg), 0.5 m off or more (depth), 60° off or more (normals). Hatched: "
        "no label."
    )
    assert "Palest: right. " + scale in said
    # That scale is the one with which panels are made.
    task = replace(depth(), span=(0.0, 4.0))
    target, off = np.full((1, 1, 2), 2.0), np.array([[[2.49, 2.5]]])
    darkest = colour_error(task, target, off + 9)[0, 0].tolist()
    assert [pixel.tolist() == darkest for pixel in colour_error(task, target, off)[0]] == [False, True]
