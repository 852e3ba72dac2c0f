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
from benchmark.report.figures import qualitative
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


@pytest.mark.parametrize("errors", [True, False])
def test_panels_are_cut_into_the_right_cells(errors: bool, tmp_path: Path) -> None:
    record = one_record(tmp_path)
    assert record.panel is not None
    make.panel("multi_task", make.TASKS, errors).save(record.panel, lossless=True)
    pixels = np.asarray(Image.open(record.panel).convert("RGB"))
    height, width = make.CELL
    each, found = 2 + errors, qualitative.read_panel(record)
    for t, task in enumerate(make.TASKS):
        assert (found[task].errors is not None) == errors
        for row in range(4):
            for kind, column in enumerate((0, 1 + each * t, 2 + each * t, 3 + each * t)[: 3 + errors]):
                cell = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
                part = found[task][kind]
                assert part is not None and (part[row] == cell).all()


def test_no_width_fits_both_kinds_of_panel() -> None:
    """As `read_panel` assumes: cells of 128 pixels, or that halved, in 1 + 2 T or 1 + 3 T columns."""
    for tasks in range(1, 40):
        widths = [{(1 + each * tasks) * 2**k for k in range(8)} for each in (2, 3)]
        assert not widths[0] & widths[1]


@pytest.mark.parametrize("content", [b"not an image", b""])
def test_damaged_panels_are_named(content: bytes, tmp_path: Path) -> None:
    record = one_record(tmp_path)
    assert record.panel is not None
    record.panel.write_bytes(content)
    with pytest.raises(UserError, match=r"panel\.webp could not be read"):
        qualitative.read_panel(record)


@pytest.mark.parametrize("size", [(100, 50), (320, 11), (320, 24 * 6), (319, 96)])
def test_panels_of_another_shape_are_named(size: tuple[int, int], tmp_path: Path) -> None:
    record = one_record(tmp_path)
    assert record.panel is not None
    Image.new("RGB", size).save(record.panel, lossless=True)
    with pytest.raises(UserError, match="not 10 columns and up to 4 rows"):
        qualitative.read_panel(record)


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
            found = qualitative.read_panel(record)[record.spec["tasks"][0]].images
            assert found.shape == ((2, height // 2, width // 2, 3) if small else (2, height, width, 3))
    drawing = Drawing(tmp_path)
    qualitative.predictions(only(tmp_path), drawing)
    qualitative.errors(only(tmp_path), drawing)
    assert [path.name for path in drawing.files] == ["predictions.png", "errors.png"] and drawing.notes == []


def test_rows_without_panels_or_errors_are_left_out(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    files = {e.label: r.panel for e in only(tmp_path).entries for r in e.row.records}
    old, missing = files["mtpsl"], files["multi_task"]
    assert old is not None and missing is not None
    make.panel("mtpsl", make.TASKS, errors=False).save(old, lossless=True)
    missing.unlink()
    drawing = Drawing(tmp_path)
    with figures() as found:
        qualitative.predictions(only(tmp_path), drawing)
        qualitative.errors(only(tmp_path), drawing)
    absent = "multi_task is left out, because no panel of predictions lies beside its records."
    assert sorted(drawing.notes) == [
        "errors: mtpsl is left out, because its panel was made before panels held errors.",
        f"errors: {absent}",
        f"predictions: {absent}",
    ]
    shown = {name: names(fig) for name, fig in found.items()}
    assert "mtpsl" in shown["predictions"] and "mtpsl" not in shown["errors"]
    assert "prototype" in shown["errors"] and "multi_task" not in shown["predictions"]


def test_errors_show_the_recorded_cells_of_each_row_and_say_their_scale(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    for path in tmp_path.rglob("record.json"):
        record = json.loads(path.read_text())
        for name in {"depth"} & record["tasks"].keys():
            record["tasks"][name]["span"] = [0.0, 4.0]
        path.write_text(json.dumps(record))
    board = only(tmp_path)
    with figures() as found:
        qualitative.errors(board, Drawing(tmp_path))
    fig = found["errors"]
    height, width = make.CELL
    for t, task in enumerate(make.TASKS):
        mosaic = np.asarray(fig.axes[t].images[0].get_array())
        for c, entry in enumerate(board.entries):
            panel = {}
            for r in entry.row.records:
                panel |= qualitative.read_panel(r)
            expected = panel[task].errors
            assert expected is not None
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
