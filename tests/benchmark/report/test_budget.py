"""Label-budget curves: which boards make one, the points on it, and the folder that holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report import leaderboard
from benchmark.report.board import Board, build
from benchmark.report.figures import budget
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import cut_off, figures, texts

GAIN = {"fraction:0.1": -12.0, "fraction:0.5": -3.0, "fraction:1.0": 0.0, "full": 0.0, "one": -5.0}
VISIBLE = {"fraction:0.1": 19, "fraction:0.5": 96, "fraction:1.0": 192, "full": 192, "one": 64}
METHODS = {"single_task": 0.0, "multi_task": 1.0, "prototype": 4.0}


def write(folder: Path, settings: tuple[str, ...], seeds: int = 3, **values: object) -> None:
    for labels in settings:
        for method, gain in METHODS.items():
            for seed in range(seeds):
                for s in make.specs(method, seed, labels=labels, **values):
                    r = make.record(s, gain + GAIN[labels])
                    r["label_counts"] = dict.fromkeys(r["label_counts"], VISIBLE[labels])
                    r["hashes"]["labels"] += labels
                    make.write_run(folder, r, panels=False)


def boards(folder: Path) -> list[Board]:
    return build(collect(folder))


def curve(ax: Axes, row: int, hollow: int | None = None) -> np.ndarray:
    """(points, 2) of a row's line. hollow: of this row's marks of settings that are set apart."""
    lines = [line for line in ax.lines if len(np.atleast_1d(line.get_xdata())) and line.get_marker() == "o"]
    solid = [line for line in lines if line.get_markerfacecolor() != "white"]
    apart = [line for line in lines if line.get_markerfacecolor() == "white"]
    line = solid[row] if hollow is None else apart[hollow]
    return np.stack([np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)], 1)


def drawn(every: list[Board], folder: Path) -> tuple[Figure, list[str]]:
    """The figure of the boards' only family, and its rows."""
    (family,) = budget.families(every)
    with figures() as found:
        files, notes = budget.draw(every, folder / "figures")
    place = folder / "figures" / "thin-scenes-v1-budget"
    assert notes == [] and files == [place / "budget.svg", place / "budget.png"]
    return found["budget"], list(family.rows())


def test_points_are_the_means_and_bands_the_range_of_the_seeds(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "fraction:0.5", "full", "one"))
    fig, labels = drawn(boards(tmp_path), tmp_path)
    assert sorted(labels) == sorted(METHODS) and cut_off(fig) == []
    for ax, task in zip(fig.axes, make.TASKS, strict=False):
        metric = make.INFO[task]["metric"]
        for row, label in enumerate(labels):
            expected, ranges = [], []
            for share, setting in (
                (0.1, "fraction:0.1"),
                (0.5, "fraction:0.5"),
                (1.0, "full"),
                (64 / 192, "one"),
            ):
                runs = [
                    r
                    for r in collect(tmp_path).records
                    if r.spec["method"] == label and r.spec["labels"] == setting
                ]
                values = [r["metrics"][task][metric] for r in runs if task in r["metrics"]]
                assert len(values) == 3
                expected.append((share, np.mean(values)))
                ranges.append((min(values), max(values)))
            np.testing.assert_allclose(curve(ax, row), expected[:3], rtol=1e-9)
            np.testing.assert_allclose(curve(ax, row, hollow=row), expected[3:], rtol=1e-9)
            band = np.asarray(ax.collections[2 * row].get_paths()[0].vertices)
            corners = {tuple(point) for point in np.round(band, 9)}
            for (share, _), (low, high) in zip(expected[:3], ranges, strict=False):
                assert {(round(share, 9), round(low, 9)), (round(share, 9), round(high, 9))} <= corners


def test_delta_m_is_against_the_reference_on_all_labels(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "fraction:1.0"))
    fig, labels = drawn(boards(tmp_path), tmp_path)
    ax = fig.axes[len(make.TASKS)]

    def scores(method: str, labels: str) -> np.ndarray:
        runs = [
            r for r in collect(tmp_path).records if (r.spec["method"], r.spec["labels"]) == (method, labels)
        ]
        return np.array(
            [[next(r["metrics"][t][make.INFO[t]["metric"]]
                   for r in runs if r.spec["label_seed"] == u and t in r["metrics"])
              for t in make.TASKS] for u in range(3)]
        )  # fmt: skip

    base = scores("single_task", "fraction:1.0").mean(0)
    sign = np.array([1 if make.INFO[t]["higher_is_better"] else -1 for t in make.TASKS])
    for row, label in enumerate(labels):
        expected = [
            100 * (sign * (scores(label, s).mean(0) / base - 1)).mean()
            for s in ("fraction:0.1", "fraction:1.0")
        ]
        np.testing.assert_allclose(curve(ax, row)[:, 1], expected, rtol=1e-9, atol=1e-9)
    assert expected[0] < -3


def test_without_a_reference_on_all_labels_there_is_no_delta_m(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "fraction:0.5"))
    fig, _ = drawn(boards(tmp_path), tmp_path)
    assert texts(fig.axes[len(make.TASKS)]) == ["no Δm: single_task on all labels is absent"]


def test_where_both_settings_show_all_labels_the_one_that_draws_them_is_taken(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "fraction:1.0", "full"))
    (family,) = budget.families(boards(tmp_path))
    assert [board.group.labels for board in family.curve[1.0]] == ["fraction:1.0", "full"]


def test_one_share_makes_no_curve(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "one"))
    files, (note,) = budget.draw(boards(tmp_path), tmp_path / "figures")
    assert files == [] and note.startswith("budget: no two boards differ in the share of labels alone")
    assert not (tmp_path / "figures").exists()


def test_boards_of_other_protocols_are_other_families(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "full"), seeds=1)
    write(tmp_path, ("fraction:0.5", "full"), seeds=1, protocol={"epochs": 2.0})
    found = budget.families(boards(tmp_path))
    assert [sorted(family.curve) for family in found] in ([[0.1, 1.0], [0.5, 1.0]], [[0.5, 1.0], [0.1, 1.0]])
    names = {family.name for family in found}
    assert len(names) == 2 and not names & {board.name for board in boards(tmp_path)}


def test_the_same_boards_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "full"), seeds=2)
    kept = [
        [path.read_bytes() for path in budget.draw(boards(tmp_path), tmp_path / name)[0]]
        for name in ("a", "b")
    ]
    assert kept[0] == kept[1] and len(kept[0]) == 2


def test_leaderboards_write_it_and_remove_it_with_its_boards(tmp_path: Path) -> None:
    for labels in ("fraction:0.1", "full"):
        for s in make.specs("single_task", 0, labels=labels):
            r = make.record(s, GAIN[labels], curve=False)
            r["hashes"]["labels"] += labels
            make.write_run(tmp_path, r, panels=False)
    every = boards(tmp_path)
    folder = tmp_path / "figures" / "thin-scenes-v1-budget"
    written = leaderboard.write(every, tmp_path, complete=True)
    assert {folder / "budget.svg", folder / "budget.png"} <= {*written.paths} and (
        folder / "budget.svg"
    ).exists()
    leaderboard.write([board for board in every if board.group.labels == "full"], tmp_path, complete=True)
    assert not folder.exists()


def test_a_line_is_one_method_whatever_else_its_boards_hold(tmp_path: Path) -> None:
    """A board with one row of a method calls it by the method's name alone."""
    for labels, kinds in {"fraction:0.1": ({}, {"tke": False}), "fraction:0.5": ({"tke": False},)}.items():
        for s in (make.spec("prototype", changed=changed, labels=labels) for changed in kinds):
            r = make.record(s, GAIN[labels], curve=False)
            r["hashes"]["labels"] += labels
            make.write_run(tmp_path, r, panels=False)
    every = boards(tmp_path)
    assert [e.label for board in every for e in board.entries if board.group.labels == "fraction:0.5"] == [
        "prototype"
    ]
    (family,) = budget.families(every)
    shares = {label: [point.share for point in points] for label, points in family.rows().items()}
    assert shares == {"prototype": [0.1], "prototype(tke=false)": [0.1, 0.5]}


def test_boards_that_are_written_alone_keep_the_others_on_the_curve(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "fraction:0.5", "full"), seeds=1)
    every = boards(tmp_path)
    with figures() as found:
        leaderboard.write(every[:1], tmp_path, every=every)
    assert len(curve(found["budget"].axes[0], 0)) == 3
