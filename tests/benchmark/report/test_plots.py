"""Figures: which are drawn, which are left out and why, and that a picture shows what the records hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.board import Board, build
from benchmark.report.figures import board as plots
from benchmark.report.figures import curves, panels, style
from benchmark.report.naming import title
from benchmark.report.records import collect
from benchmark.spec import registry
from tests.benchmark.report import make

ALL = {
    "delta_m",
    "changes",
    "cost",
    "wins",
    "ablation",
    "labels",
    "predictions",
    "errors",
    "matrix_affinity",
    "curves",
    "extra_losses",
    "evolution",
    "evolution_affinity",
}


def only(folder: Path) -> Board:
    (board,) = build(collect(folder))
    return board


def test_every_figure_is_drawn(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    out = tmp_path / "figures"
    out.mkdir()
    (out / "matrix_old.png").write_bytes(b"of an earlier board")
    drawn = plots.draw(only(tmp_path), out)
    assert [note.partition(":")[0] for note in drawn.notes] == ["variance"]
    assert {path.stem for path in drawn.files if path.suffix != ".txt"} == ALL
    assert {path.name for path in out.iterdir()} == {path.name for path in drawn.files}
    for path in drawn.files:
        if path.suffix == ".txt":
            continue
        if path.suffix == ".png":
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L"))
            assert 400 <= pixels.shape[1] <= 1100 and pixels.std() > 5
        else:
            text = path.read_text()
            assert text.startswith("<?xml") and "<dc:date>" not in text


def saved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """{name: figure} of every figure that is saved from now on, not written but laid out."""
    found: dict[str, Figure] = {}

    def keep(fig: Figure, stem: Path, *_: object, **__: object) -> list[Path]:
        FigureCanvasAgg(fig).draw()
        found[stem.name] = fig
        return []

    monkeypatch.setattr(style, "save", keep)
    return found


@pytest.mark.parametrize("tasks", [make.TASKS, tuple(make.INFO)])
def test_titles_name_the_board_and_fit(
    tasks: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.write_board(
        tmp_path,
        seeds=2,
        tasks=tasks,
        protocol={"epochs": 1.0, "encoder": "resnet18", "width": 16, "batch": 4},
    )
    figures = saved(monkeypatch)
    board = only(tmp_path)
    plots.draw(board, tmp_path / "figures")
    assert set(figures) == ALL
    for fig in figures.values():
        over = fig.get_suptitle() or fig.texts[0].get_text()
        assert title(board.group) in over.replace("\n", " ")
        texts = [*fig.texts, *(child for child in fig.get_children() if isinstance(child, Text))]
        texts += [ax._left_title for ax in fig.axes if ax.get_visible()]
        for text in (t for t in texts if t.get_text()):
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.x1 <= fig.bbox.x1 + 1 and box.y1 <= fig.bbox.y1 + 1, text.get_text()
    assert "as minimised (scaled by the number of labels in the batch)" in figures[
        "curves"
    ].get_suptitle().replace("\n", " ")


def test_matrices_are_coloured_from_zero_and_name_their_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.write_board(tmp_path, seeds=1)
    figures = saved(monkeypatch)
    panels.matrices(only(tmp_path), tmp_path)
    assert [
        figures["matrix_affinity"].axes[0].get_xlabel(),
        figures["matrix_affinity"].axes[0].get_ylabel(),
    ] == ["", ""]
    for path in tmp_path.rglob("record.json"):
        record = json.loads(path.read_text())
        if "affinity" in record["diagnostics"]:
            uniform = {"array": [[0.33, 0.34, 0.33]] * 3, "axes": ["target task", "source task"]}
            record["diagnostics"]["affinity"] |= uniform
            path.write_text(json.dumps(record))
    panels.matrices(only(tmp_path), tmp_path)
    ax = figures["matrix_affinity"].axes[0]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("target task", "source task")
    assert ax.images[0].get_clim() == (0.0, 0.34)


def test_what_is_absent_is_left_out_with_the_reason(tmp_path: Path) -> None:
    for s in make.specs("multi_task", 0):
        path = make.write_run(tmp_path, make.record(s, curve=False), panels=False)
        (path.parent / "per_image.npz").unlink()
    drawn = plots.draw(only(tmp_path), tmp_path / "figures")
    notes = (tmp_path / "figures" / plots.LEFT_OUT).read_text().splitlines()
    assert notes == drawn.notes and [path.name for path in drawn.files] == [plots.LEFT_OUT]
    for name, reason in {
        "delta_m": "no seed of the reference is complete",
        "changes": "no seed of the reference is complete",
        "cost": "no seed of the reference is complete",
        "wins": "no seed of the reference is complete",
        "ablation": "no method has rows here that differ",
        "variance": "no row has a whole grid",
        "labels": "no per-image arrays",
        "predictions": "no panel of predictions",
        "errors": "no row has panels with errors",
        "matrix": "no record holds a diagnostic of kind matrix",
        "curves": "no record holds a training curve",
        "extra_losses": "no row has a loss beside",
        "evolution": "no record has snapshots",
    }.items():
        assert any(note.startswith(f"{name}: ") and reason in note for note in notes)


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    make.write_run(tmp_path, make.record(make.spec("multi_task")))
    (record,) = collect(tmp_path).records
    assert record.arrays is not None
    record.arrays.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"per_image\.npz could not be read"):
        _ = record.labelled


def test_matrices_of_different_shapes_are_not_averaged(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    path = make.run_folder(tmp_path, make.spec("prototype", 1)) / "record.json"
    record = json.loads(path.read_text())
    record["diagnostics"]["affinity"]["array"] = [[1.0, 2.0]]
    path.write_text(json.dumps(record))
    files, notes = panels.matrices(only(tmp_path), tmp_path)
    assert {p.name for p in files} == {"matrix_affinity.svg", "matrix_affinity.png"}
    assert notes == [
        "matrix_affinity: prototype is left out, because its seeds' arrays are not matrices of one shape."
    ]


def test_curves_are_averaged_where_epochs_differ() -> None:
    x, mean, span = curves._mean_curve(
        [([0.0, 1.0, 2.0], [4.0, 2.0, 0.0]), ([0.5, 1.5], [5.0, 3.0]), ([], [])]
    )
    np.testing.assert_allclose(x, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(mean, [4.0, 3.0, 2.0])
    np.testing.assert_allclose(span, [[3.0, 2.0, 1.0], [5.0, 4.0, 3.0]])


def test_a_method_looks_the_same_on_every_board() -> None:
    methods = registry.method_names()
    everyone, two = (
        style.looks(methods, "single_task"),
        style.looks(["prototype(codes=2)", "mtpsl", "single_task"], "single_task"),
    )
    assert two["mtpsl"] == everyone["mtpsl"] and two["prototype(codes=2)"] == everyone["prototype"]
    assert two["single_task"].colour == style.REFERENCE_COLOUR


@pytest.mark.parametrize(
    "labels", [registry.method_names(), ["multi_task", *(f"prototype(codes={n})" for n in range(14)), "mine"]]
)
def test_rows_of_a_board_look_different(labels: list[str]) -> None:
    looks = style.looks(labels, "single_task").values()
    assert len({to_hex(look.colour) for look in looks}) == len(looks)
    many = style.looks([f"mine(x={n})" for n in range(60)]).values()
    assert len({(to_hex(look.colour), look.dash) for look in many}) == 60
