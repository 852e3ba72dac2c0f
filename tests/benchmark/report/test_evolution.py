"""Diagnostics over training: which are drawn, from which runs, and that a figure shows what the files
hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from benchmark.errors import UserError
from benchmark.report.figures import evolution, style
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import twice
from tests.benchmark.report.test_plots import only, saved

NAMES = list(make.TASKS)


def write(
    folder: Path, method: str, seed: int, epochs: list[float], held: dict[str, Any], kinds: dict[str,
    Any] | None = None,
    **values: Any,
) -> Path:  # fmt: skip
    """A run with these snapshots; kinds: more of {diagnostic: labels}, of a matrix without them, of a scalar
    None.
    """
    r = make.record(make.spec(method, seed, **values))
    r["diagnostics"] = {}
    for name, points in held.items():
        matrix = np.ndim(points) == 3
        labels = (kinds or {}).get(name, [NAMES, NAMES] if matrix else [])
        r["diagnostics"][name] = {
            "kind": "matrix" if matrix else "scalar",
            "array": np.array(points)[-1].tolist(),
            "labels": labels,
        }
        if matrix:
            r["diagnostics"][name]["axes"] = ["target task", "source task"]
    path = make.write_run(folder, r, panels=False)
    stored = {f"snapshots/{name}": np.array(points, np.float32) for name, points in held.items()}
    np.savez_compressed(
        path.with_name("per_image.npz"), snapshot_epochs=np.array(epochs, np.float32), **stored
    )  # type: ignore[arg-type]
    return path


def affinity(*shares: float) -> list[list[list[float]]]:
    """At each point a matrix whose lines hold `share` on the diagonal, the rest evenly."""
    return [[[s if r == c else (1 - s) / 2 for c in range(3)] for r in range(3)] for s in shares]


def test_figures_show_the_means_and_ranges_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares, used = [(0.3, 0.4, 0.5), (0.4, 0.6, 0.8)], [(0.1, 0.2, 0.3), (0.3, 0.2, 0.5)]
    for seed in range(2):
        held = {"affinity": affinity(*shares[seed]), "codes used": list(used[seed])}
        write(tmp_path, "prototype", seed, [0.5, 1, 2], held)
        write(tmp_path, "mtpsl", seed, [0.5, 1, 2], {"codes used": [0.9, 0.8, 0.7]})
    board, figures = only(tmp_path), saved(monkeypatch)
    assert evolution.evolution(board, tmp_path) == ([], [])
    assert set(figures) == {"evolution", "evolution_affinity"}
    strip, line, *_ = figures["evolution_affinity"].axes
    mean = np.mean(shares, 0)
    for image, expected in zip(strip.images, affinity(*mean), strict=True):
        np.testing.assert_allclose(image.get_array(), expected, atol=1e-7)
        assert image.get_clim() == pytest.approx((0.0, 0.65))
    assert [t.get_text() for t in strip.texts] == ["epoch 0.5", "1", "2"]
    assert (
        [t.get_text() for t in strip.get_yticklabels()]
        == NAMES
        == [t.get_text() for t in strip.get_xticklabels()]
    )
    assert strip._left_title.get_text() == "prototype, n=2"  # type: ignore[attr-defined]
    heading = figures["evolution_affinity"].get_suptitle()
    assert heading.startswith(
        "affinity over training, mean over seeds; lines: target task, columns: source task"
    )
    np.testing.assert_allclose(line.lines[0].get_xydata(), np.stack([[0.5, 1, 2], mean], 1), atol=1e-7)
    assert line.lines[1].get_ydata()[0] == pytest.approx(1 / 3)
    band = line.collections[0].get_paths()[0].vertices
    assert {round(float(y), 6) for x, y in band if x == 2} == {0.5, 0.8}

    (plot,) = (ax for ax in figures["evolution"].axes if ax.get_visible())
    assert plot._left_title.get_text() == "codes used"  # type: ignore[attr-defined]
    colours = style.colours(board)
    drawn = {to_rgba(own.get_color()): own.get_ydata() for own in plot.lines}
    np.testing.assert_allclose(drawn[to_rgba(colours["prototype"])], np.mean(used, 0), atol=1e-7)
    np.testing.assert_allclose(drawn[to_rgba(colours["mtpsl"])], [0.9, 0.8, 0.7], atol=1e-7)
    assert {t.get_text() for t in figures["evolution"].legends[0].get_texts()} == {"prototype", "mtpsl"}


def test_runs_with_snapshots_at_other_epochs_are_read_off_between_points(tmp_path: Path) -> None:
    runs = [
        (np.array([0.0, 1, 2]), np.arange(12.0).reshape(3, 2, 2)),
        (np.array([0.5, 2.5]), np.array([np.eye(2), 5 * np.eye(2)])),
    ]
    epochs, values = evolution._aligned(runs)
    assert epochs.tolist() == [0.5, 1, 2] and values.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(values[0], [[[2, 3], [4, 5]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]])
    np.testing.assert_allclose(values[1], np.multiply.outer([1, 2, 4], np.eye(2)))


def test_without_snapshots_a_note_says_so(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=1)
    for path in tmp_path.rglob("per_image.npz"):
        with np.load(path) as old:
            np.savez_compressed(path, labelled=old["labelled"])
    files, notes = evolution.evolution(only(tmp_path), tmp_path)
    assert files == [] and notes == ["evolution: no record has snapshots of diagnostics beside it."]
    for path in tmp_path.rglob("per_image.npz"):
        path.unlink()
    assert evolution.evolution(only(tmp_path), tmp_path) == (files, notes)


def test_records_of_earlier_code_are_left_out_of_a_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        path = write(tmp_path, "prototype", seed, [1, 2], {"affinity": affinity(0.4, 0.1 * seed + 0.4)})
    np.savez_compressed(path.with_name("per_image.npz"), labelled=np.ones((4, 3), np.uint8))
    figures = saved(monkeypatch)
    _, notes = evolution.evolution(only(tmp_path), tmp_path)
    assert notes == ["evolution: no record has snapshots of a diagnostic of kind scalar beside it."]
    strip = figures["evolution_affinity"].axes[0]
    assert strip._left_title.get_text() == "prototype, n=2"  # type: ignore[attr-defined]
    np.testing.assert_allclose(strip.images[-1].get_array(), affinity(0.45)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("held", "labels"),
    [
        ({"a": [[[1.0, 2.0]]] * 2}, {"a": [["x"], ["y", "z"]]}),
        ({"a": [1.0, 2.0]}, {}),
        ({"a": affinity(0.4, 0.5)}, {"a": [["p", "q", "r"]] * 2}),
    ],
)
def test_runs_that_differ_in_shape_kind_or_names_are_not_averaged(
    held: Any, labels: Any, tmp_path: Path
) -> None:
    write(tmp_path, "prototype", 0, [1, 2], {"a": affinity(0.4, 0.5), "b": [1.0, 2.0]})
    write(tmp_path, "prototype", 1, [1, 2], held | {"b": [1.0, 2.0]}, labels)
    files, notes = evolution.evolution(only(tmp_path), tmp_path)
    assert notes == ["evolution of a: prototype is left out, because its runs' snapshots are not alike."]
    assert [path.name for path in files] == ["evolution.svg", "evolution.png"]


def test_the_diagonal_is_drawn_only_between_things_and_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, signed = [[[0.9], [1.0], [1.1]]] * 2, [(-np.eye(3)).tolist()] * 2
    write(tmp_path, "prototype", 0, [1, 2], {"w/e": weights, "signed": signed}, {"w/e": [NAMES, ["weight"]]})
    figures = saved(monkeypatch)
    evolution.evolution(only(tmp_path), tmp_path)
    assert set(figures) == {"evolution_w-e", "evolution_signed"}
    for fig in figures.values():
        assert len(fig.axes) == 2 and not fig.legends  # the matrices and their scale
    assert figures["evolution_signed"].axes[0].images[0].get_clim() == (-1.0, 1.0)


def test_damaged_snapshots_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "prototype", 0, [1, 2], {"b": [1.0, 2.0]})
    arrays = path.with_name("per_image.npz")
    # type: ignore[arg-type]
    np.savez_compressed(arrays, snapshot_epochs=np.ones(3), **{"snapshots/b": np.ones(2)})
    with pytest.raises(
        UserError,
        match=r"per_image.npz could not be read \(its snapshots of b do not fit its snapshot_epochs\)",
    ):
        evolution.evolution(only(tmp_path), tmp_path)
    arrays.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"per_image\.npz could not be read"):
        _ = collect(tmp_path).records[0].snapshots


def crowd(folder: Path) -> None:
    """Eight rows of six tasks, fifteen diagnostics and more, long names."""
    tasks = tuple(make.INFO)
    for codes in range(8):
        for seed in range(2):
            rng = make.rng("crowd", codes, seed)
            matrices = rng.dirichlet(np.ones(6), (8, 6))
            held = {f"a diagnostic of a long name, number {i}": rng.random(8).tolist() for i in range(17)}
            held |= {"affinity": matrices, "a calm one": [0.9999] * 7 + [0.99991]}
            changed = {"codes": codes, "a_keyword_of_a_long_name": "a value of many words"}
            epochs, names = np.linspace(0.04, 100, 8).tolist(), {"affinity": [list(tasks)] * 2}
            write(folder, "prototype", seed, epochs, held, names, tasks=tasks, changed=changed)


def test_a_crowded_board_is_cut_and_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(tmp_path)
    figures = saved(monkeypatch)
    _, notes = evolution.evolution(only(tmp_path), tmp_path)
    assert sum(note.startswith("evolution_affinity: ") and "only 6 rows" in note for note in notes) == 2
    assert sum("only 15 diagnostics are drawn" in note for note in notes) == 3 and len(notes) == 5
    for fig in figures.values():
        texts = [*fig.texts, *(child for child in fig.get_children() if isinstance(child, Text))]
        texts += [ax._left_title for ax in fig.axes if ax.get_visible()]  # type: ignore[attr-defined]
        texts += [t for ax in fig.axes for t in ax.texts]
        for text in (t for t in texts if t.get_text()):
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.x1 <= fig.bbox.x1 + 1 and box.y1 <= fig.bbox.y1 + 1, text.get_text()
    # type: ignore[attr-defined]
    spans = {ax._left_title.get_text(): np.ptp(ax.get_ylim()) for ax in figures["evolution"].axes}
    assert len(spans) == 15 and spans["a calm one"] == pytest.approx(0.05, rel=0.01)


def test_figures_are_the_same_bytes_twice(tmp_path: Path) -> None:
    write(tmp_path, "prototype", 0, [0.5, 1], {"affinity": affinity(0.4, 0.5), "codes used": [0.1, 0.2]})
    first, second = twice(evolution.evolution, tmp_path)
    assert first == second and len(first) == 4
