"""The first screen: its sentence, methods by boards, and what is not ranked."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import overview, page, tables, views
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.spec.run import run_id
from tests.benchmark.report import make

PLAIN = {"single_task": 0.0, "multi_task": 2.0}
Gains = dict[str, float]


def write(folder: Path, gains: Gains, seeds: int = 8, learnt: int = 8, **values: Any) -> None:
    """learnt: of eight classes, how many have an IoU."""

    def edit(r: dict[str, Any]) -> None:
        if "semseg" in r["metrics"]:
            r["metrics"]["semseg"] |= {f"IoU/{i}": 9.0 * (i < learnt) for i in range(8)}

    for method, gain in gains.items():
        make.write(folder, method, seeds, gain, 0.3, edit, **values)


def made(folder: Path) -> list[Board]:
    return overview.listed(build(collect(folder)))


def sentence(boards: list[Board]) -> str:
    """With boards named by their label settings alone."""
    return re.sub(r"\w+ v1: scenes-v1, labels '(\w+)'", r"\1", overview.sentence(boards))


@pytest.mark.parametrize(
    ("boards", "said"),
    [
        ({"one": {"mtpsl": 2.0, "jtr": 1.9}}, " on one."),
        ({"one": {"mtpsl": 6.0, "jtr": 9.0}}, " on one, except jtr and mtpsl."),
        ({"one": {"mtpsl": 6.0, "jtr": 1.9}, "random": {"mtpsl": 1.9, "jtr": 6.0}},
         " on one and random, except jtr on random; mtpsl on one."),
        ({"one": {"mtpsl": 6.0}, "random": {"mtpsl": 6.0}, "full": {}, "given": {"mtpsl": 2.0}},
         " on given, one and random, except mtpsl on one and random."),
    ],
)  # fmt: skip
def test_the_sentence_names_what_is_sure(boards: dict[str, Gains], said: str, tmp_path: Path) -> None:
    for labels, gains in boards.items():
        write(tmp_path, PLAIN | gains if gains else {"single_task": 0.0}, labels=labels)
    found = made(tmp_path)
    assert len(found) == len([1 for gains in boards.values() if gains])  # boards of references are not listed
    assert sentence(found) == f"No method is reliably better than plain multi_task{said}"


def test_three_boards_of_which_one_is_undertrained(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"mtpsl": 9.0, "jtr": 2.0})
    write(tmp_path, PLAIN | {"mtpsl": -9.0, "jtr": 2.0}, labels="random")
    write(tmp_path, PLAIN | {"mtpsl": -9.0, "jtr": 9.0}, labels="full", learnt=3)
    boards = made(tmp_path)
    rows = overview.rows(boards)
    reasons = {board.group.labels: overview.reason(board) for board in boards}
    assert reasons["full"].startswith("Undertrained: no ranking: ")
    assert reasons["one"] == reasons["random"] == ""
    assert "except mtpsl on one." in sentence(boards)
    assert [line.label for line in rows] == ["jtr", "mtpsl", "single_task"]  # by the mean, references last
    assert max(share for line in rows for share in line.share) == 100
    html = page.html(boards, tmp_path)
    assert html.count("undertrained, not ranked") == 1 and len(html) < 2e6


@pytest.mark.parametrize(
    ("seeds", "values", "said"),
    [
        (3, {}, "Fewer than 5 seeds."),
        (5, {"tuning": ""}, "Learning rates not by the same trials: no ranking; none for multi_task, "),
        (5, {"protocol": {"judge": "holdout"}}, "Evaluated on held-out train images: for tuning only."),
    ],
)
def test_the_unranked_claim_nothing(seeds: int, values: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"mtpsl": 9.0}, seeds, **values)
    (board,) = made(tmp_path)
    assert overview.reason(board).startswith(said) and not any(e.tier.isdigit() for e in board.entries)
    assert sentence([board]).endswith(" multi_task: no board here ranks methods.")
    html = page.html([board], tmp_path)
    assert "Highest" not in html and overview.reason(board) in html


def test_a_board_that_is_not_ranked_shows_no_tier_in_place_of_its_state(tmp_path: Path) -> None:
    write(tmp_path, {"single_task": 0.0, "mtpsl": 9.0}, 5)
    (board,) = made(tmp_path)
    assert overview.reason(board).startswith("No method shares a complete seed with the baseline")
    assert re.findall(r"; ([^;<]*)not ranked<", page.html([board], tmp_path)) == [""]


def test_ablations_have_a_table_of_their_own_and_lead_nothing(tmp_path: Path) -> None:
    more: dict[str, Any] = {"protocol": {"name": "mine", "controls": ["tokens"]}}
    write(tmp_path, PLAIN | {"prototype": 6.0, "mtpsl": 3.0, "tokens": 8.0}, **more)
    for codes, gain in ((2, 9.0), (4, 6.1)):
        write(tmp_path, {"prototype": gain}, changed={"codes": codes}, **more)
    write(tmp_path, {"multi_task": 2.5}, balance="uncertainty", **more)  # a method of its own
    (board,) = made(tmp_path)
    roles = {e.label: (e.role, e.tier) for e in board.entries}
    apart = {label: pair for label, pair in roles.items() if pair[0] == pair[1]}
    assert apart == {
        "prototype(codes=2)": ("ablation", "ablation"),
        "tokens": ("control", "control"),  # named by the protocol, whatever it is called
        "prototype(codes=4)": ("ablation", "ablation"),
    }
    assert roles["prototype"] == ("", "1")
    assert board.lead[0].label == "prototype" and "codes" not in sentence([board])
    assert {e.compared.family for e in board.entries if e.label in apart and e.compared} == {3}
    assert {e.compared.family for e in board.entries if e.role == "" and e.compared} == {3}
    methods, others = views.parts(board)
    assert list(others.method) == list(apart) and len(methods) == 6
    assert f"## {views.APART}" in views.markdown(board)
    assert "Ablations and controls" in page.html([board], tmp_path)
    assert not apart.keys() & {line.label for line in overview.rows([board])}


def test_both_references_are_rows_and_columns_with_their_steps(tmp_path: Path) -> None:
    write(tmp_path, {"single_task": 0.0})
    assert "No board here compares methods" in page.html(build(collect(tmp_path)), tmp_path)
    write(tmp_path, PLAIN | {"mtpsl": 3.0})

    def slow(r: dict[str, Any]) -> None:
        r["spec"]["lr_scale"] = 0.3
        r["id"] = run_id(r["spec"])

    make.write(tmp_path, "single_task", 8, 5.0, 0.3, slow, protocol={"budget": "steps"})
    (board,) = made(tmp_path)
    table = tables.frame(board).set_index("method")
    row = table.loc["single_task at equal steps"]
    assert (row.tier, row.n_seeds, row.steps) == ("reference", 8, 288)
    assert (row.lr_scale, row.protocol_changes, row.dirty) == (0.3, "budget=steps", "no")
    assert row.delta_m == pytest.approx(5.0, abs=0.3) and row.vs_baseline_mean == pytest.approx(3.0, abs=0.3)
    assert row.vs_baseline_ci_low < row.vs_baseline_mean < row.vs_baseline_ci_high
    assert table.loc["single_task", "vs_baseline_mean"] == pytest.approx(-2.0, abs=0.3)
    assert table.loc["mtpsl", "delta_m_equal_steps"] == pytest.approx(-2.0, abs=0.3)
    shown = views.texts(board)
    assert [*shown][2:6] == ["vs multi_task (points)", "seeds", "Δm vs single_task (%)", "Δm, equal steps"]
    assert {"steps", "inference parameters"} <= {*shown}


def test_rows_keep_their_order_on_the_axis_and_intervals_beyond_it_end_in_an_arrow(tmp_path: Path) -> None:
    write(tmp_path / "many", PLAIN | {f"own_{i}": float(i) for i in range(12)}, 5)
    (board,) = made(tmp_path / "many")
    axis, rows = overview.Axis([e.compared for e in board.entries if e.compared]), overview.rows([board])
    values = [e.compared.estimate.value for line in rows[:-1] for e in line.entries if e and e.compared]
    assert values == sorted(values, reverse=True) and len(values) == 12
    places = [axis.at(value) for value in values]
    assert places == sorted(places, reverse=True) and all(0 <= place <= 100 for place in places)
    assert 0.0 in axis.ticks and 2 <= len(axis.ticks) <= 13
    write(tmp_path / "wide", PLAIN | {"mtpsl": 3.0, "jtr": 3.5}, 2)
    (board,) = made(tmp_path / "wide")
    axis, cut = overview.Axis([e.compared for e in board.entries if e.compared]), 0
    for c in (e.compared for e in board.entries if e.compared):
        assert c.estimate.low is not None and c.estimate.high is not None
        cut += (c.estimate.low < axis.low) + (c.estimate.high > axis.high)
    assert 0 < cut < 6 and page.html([board], tmp_path).count('class="beyond"') == 2 * cut  # forest and table
