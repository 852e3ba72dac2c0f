"""Label-budget curves: which boards make one, the points on it, and the folder that holds it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report import leaderboard, tables
from benchmark.report.board import Board, build
from benchmark.report.captions import facts
from benchmark.report.figures import board as plots
from benchmark.report.figures import budget
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import blank, cut_off, figures, texts
from tests.conftest import Bench

GAIN = {"fraction:0.1": -12.0, "fraction:0.5": -3.0, "fraction:1.0": 0.0, "full": 0.0, "one": -5.0}
VISIBLE = {"fraction:0.1": 19, "fraction:0.5": 96, "fraction:1.0": 192, "full": 192, "one": 64}
METHODS = {"single_task": 0.0, "multi_task": 1.0, "prototype": 4.0}
SIGNS = np.array([1 if make.INFO[t]["higher_is_better"] else -1 for t in make.TASKS])


def visible(r: dict[str, Any]) -> None:
    labels = r["spec"]["labels"]
    r["label_counts"] = dict.fromkeys(r["label_counts"], VISIBLE[labels])
    r["hashes"]["labels"] += labels


def write(folder: Path, settings: tuple[str, ...], seeds: int = 3, **values: object) -> list[Board]:
    for labels in settings:
        for method, gain in METHODS.items():
            make.write(folder, method, seeds, gain + GAIN[labels], edit=visible, labels=labels, **values)
    return build(collect(folder))


def drawn(boards: list[Board], folder: Path) -> tuple[Figure, list[str]]:
    """The figure of the boards' only family, and its rows."""
    (family,) = budget.families(boards)
    with figures() as found:
        made = budget.draw(boards, folder / "figures")
    place = folder / "figures" / "thin-scenes-v1-budget"
    assert made.notes == [] and made.files == [place / "budget.svg", place / "budget.png"]
    return found["budget"], list(family.rows())


def curve(ax: Axes, row: int) -> np.ndarray:
    """(points, 2) of a row's line."""
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    return np.array(lines[row].get_xydata())


def test_points_are_means_bands_ranges_and_delta_m_is_against_all_labels(tmp_path: Path) -> None:
    shares = {"fraction:0.1": 0.1, "fraction:0.5": 0.5, "full": 1.0}
    fig, labels = drawn(write(tmp_path, tuple(shares)), tmp_path)
    assert sorted(labels) == sorted(METHODS) and cut_off(fig) == []
    records = collect(tmp_path).records
    means: dict[tuple[str, str], list[float]] = {}
    for ax, task in zip(fig.axes, make.TASKS, strict=False):
        for row, label in enumerate(labels):
            expected, corners = [], set()
            for setting, share in shares.items():
                runs = [r for r in records if (r.spec["method"], r.spec["labels"]) == (label, setting)]
                metric = make.INFO[task]["metric"]
                values = [r["metrics"][task][metric] for r in runs if task in r["metrics"]]
                assert len(values) == 3
                expected.append((share, np.mean(values)))
                means.setdefault((label, setting), []).append(float(np.mean(values)))
                corners |= {(round(share, 9), round(edge, 9)) for edge in (min(values), max(values))}
            np.testing.assert_allclose(curve(ax, row), expected, rtol=1e-9)
            band = np.asarray(ax.collections[row].get_paths()[0].vertices)
            assert len(corners & {tuple(point) for point in np.round(band, 9)}) == 6
    for row, label in enumerate(labels):
        base = np.array(means["single_task", "full"])
        deltas = [100 * (SIGNS * (np.array(means[label, s]) / base - 1)).mean() for s in shares]
        np.testing.assert_allclose(curve(fig.axes[3], row)[:, 1], deltas, rtol=1e-9, atol=1e-9)
    assert deltas[0] < -3


COST = {"semseg": 10.0, "depth": 0.5, "normals": 0.0}


def test_prices_draw_it_over_minutes_of_labelling_and_move_no_name(tmp_path: Path) -> None:
    shares = {"fraction:0.1": 0.1, "fraction:0.5": 0.5, "full": 1.0}
    boards = write(tmp_path, tuple(shares), protocol={"cost": COST})
    fig, labels = drawn(boards, tmp_path)  # into the folder of that name
    minutes = {share: 10.5 * VISIBLE[setting] for setting, share in shares.items()}
    for row in range(len(labels)):
        np.testing.assert_allclose(curve(fig.axes[0], row)[:, 0], [*minutes.values()])
    ticks = [label.get_text() for label in fig.axes[0].get_xticklabels()]
    assert ticks == ["200\n10 %", "1,008\n50 %", "2,016\n100 %"]
    assert fig.axes[0].get_xlabel() == "minutes of labelling, of all tasks" and cut_off(fig) == []
    for board in boards:  # one run of all tasks and one a task alike
        entries = tables.frame(board).set_index("method").label_minutes[list(METHODS)]
        assert entries.tolist() == [10.5 * VISIBLE[board.group.labels]] * len(METHODS)
    full = next(board for board in boards if board.group.labels == "full")
    said = '2,016 minutes, at {"depth":0.5,"normals":0.0,"semseg":10.0} a label'
    assert ("labelling", said) in facts(full)


@pytest.mark.parametrize("cost", [{}, {"semseg": 10.0, "depth": 0.5}])
def test_without_the_price_of_each_task_it_stays_over_shares(tmp_path: Path, cost: dict[str, float]) -> None:
    boards = write(tmp_path, ("fraction:0.1", "full"), seeds=1, protocol={"cost": cost} if cost else {})
    assert [family.minutes for family in budget.families(boards)] == [{}]
    assert "label_minutes" not in tables.frame(boards[0])


def test_prices_may_be_named_afterwards_and_the_highest_of_several_counts(
    bench: Bench, tmp_path: Path
) -> None:
    write(tmp_path, ("one",), seeds=2, protocol={"cost": COST})
    (board,) = write(tmp_path, ("one",), seeds=1, protocol={"cost": {"depth": 0.25, "semseg": 9.0}})
    assert board.group.protocol["cost"] == COST
    for given, minutes in ((["depth=1"], 11.0 * 64), ([], 10.5 * 64)):
        options = [word for text in given for word in ("--cost", text)]
        code, _, err = bench("leaderboard", "--results", tmp_path, *options)
        assert code == 0, err
        (path,) = (tmp_path / "leaderboards").glob("*.csv")
        assert pd.read_csv(path).label_minutes.dropna().tolist() == [minutes] * len(METHODS)
    for bad, says in {"depth": "TASK=MINUTES", "depth=-1": "-1", "dept=1": "did you mean 'depth'"}.items():
        code, _, err = bench("leaderboard", "--results", tmp_path, "--cost", bad)
        assert code == 2 and says in err and err.count("\n") == 1


def test_without_a_reference_on_all_labels_there_is_no_delta_m(tmp_path: Path) -> None:
    fig, _ = drawn(write(tmp_path, ("fraction:0.1", "fraction:0.5"), seeds=1), tmp_path)
    assert texts(fig.axes[3]) == ["no Δm: single_task on all labels is absent"]


def test_families_are_boards_of_one_protocol_that_draw_their_labels_first(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "fraction:1.0", "full"), seeds=1)
    boards = write(tmp_path, ("fraction:0.5", "full"), seeds=1, protocol={"epochs": 2.0})
    found = sorted(budget.families(boards), key=lambda family: min(family.curve))
    assert [list(family.curve) for family in found] == [[0.1, 1.0], [0.5, 1.0]]
    assert [board.group.labels for board in found[0].curve[1.0]] == ["fraction:1.0", "full"]
    names = {family.name for family in found}
    assert len(names) == 2 and not names & {board.name for board in boards}


def test_a_row_whose_steps_change_with_the_labels_is_no_curve(tmp_path: Path) -> None:
    write(tmp_path, ("fraction:0.1", "full"), seeds=1)
    for path in tmp_path.glob("thin/prototype-*/record.json"):
        record = json.loads(path.read_text())
        if record["spec"]["labels"] == "full":
            path.write_text(json.dumps(record | {"cost": record["cost"] | {"steps": 999}}))
    boards = build(collect(tmp_path))
    with figures() as found:
        made = budget.draw(boards, tmp_path / "figures")
    assert [note.partition(": ")[2].split()[0] for note in made.notes] == ["prototype"]
    assert len(found["budget"].legends[0].get_texts()) == 2


def test_leaderboards_write_it_alike_and_remove_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", blank)
    boards = write(tmp_path, ("fraction:0.1", "fraction:0.5", "full"), seeds=1)
    place, kept = tmp_path / "figures" / "thin-scenes-v1-budget", []
    for written in (boards, boards[:1]):  # the others stay on the curve
        leaderboard.write(written, tmp_path, every=boards)
        kept.append({path.name: path.read_bytes() for path in place.iterdir()})
    assert kept[0] == kept[1] and set(kept[0]) == {"budget.svg", "budget.png"}
    full = [board for board in boards if board.group.labels == "full"]
    leaderboard.write(full, tmp_path, complete=True)
    assert not place.exists()


def test_a_line_is_one_method_whatever_else_its_boards_hold(tmp_path: Path) -> None:
    """A board with one row of a method calls it by the method's name alone."""
    without: dict[str, Any] = {"changed": {"tke": False}}
    for labels, values in (("fraction:0.1", {}), ("fraction:0.1", without), ("fraction:0.5", without)):
        make.write(tmp_path, "prototype", edit=visible, labels=labels, **values)
    boards = build(collect(tmp_path))
    assert {e.label for b in boards for e in b.entries} == {"prototype", "prototype(tke=false)"}
    (family,) = budget.families(boards)
    shares = {label: [*points] for label, points in family.rows().items()}
    assert shares == {"prototype": [0.1], "prototype(tke=false)": [0.1, 0.5]}
