"""Contrasts that plans named: table, CSV, figure, sentence and first screen, and what papers say of them."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.report import contrasts, overview, page
from benchmark.report.captions import facts
from benchmark.report.details import sections
from benchmark.report.leaderboard import check, write
from benchmark.report.papers import read_papers
from benchmark.spec.run import run_id
from tests.benchmark.report.test_captions import GAINS, Edit, made


def named(*sides: tuple[str, str, str], **values: Any) -> Edit:
    """Make runs keep contrasts (name, first, second), and values of their spec."""

    def edit(r: dict[str, Any]) -> None:
        plan = [{"name": n, "first": {"method": a}, "second": {"method": b}} for n, a, b in sides]
        r["spec"] |= {"contrasts": plan, **values}
        r["id"] = run_id(r["spec"])

    return edit


def test_named_contrasts_have_a_table(tmp_path: Path) -> None:
    board = made(tmp_path, GAINS, 8, edit=named(("ours", "prototype", "mtpsl")))
    (section,) = [s for s in sections(board) if s.title == "Named contrasts"]
    ((name, first, second, difference, p, state, costs),) = section.table.values.tolist()
    assert (name, first, second, state) == ("ours", "prototype", "mtpsl", "ahead") and "\xd7 time" in costs
    assert difference.startswith("+") and float(p) == pytest.approx(2 / 2**8, abs=1e-3)
    counts = [fact for fact in facts(board) if "decidable from" in fact[1]]  # of the family that is tested
    assert counts == [("named contrasts", "1, decidable from 6 seeds")]
    assert not any(s.title == "Named contrasts" for s in sections(made(tmp_path / "none", GAINS, 2)))


SIDES = [
    (claim.contrast, *sides)
    for claim, sides in zip(
        read_papers().claim,
        (("prototype", "multi_task"), ("prototype", "mtpsl"), ("multi_task", "single_task")),
        strict=True,
    )
]
ASKED = named(*SIDES, dataset="nyuv2", variant="nyuv2-13")


def test_a_paper_s_claim_stands_beside_the_contrast_of_its_name(tmp_path: Path) -> None:
    model, plain, _ = (name for name, *_ in SIDES)
    for seeds, told in ((8, ("holds", "holds", "fails")), (3, ("cannot be told",) * 3)):
        board = made(tmp_path / str(seeds), GAINS, seeds, edit=ASKED)
        (section,) = [s for s in sections(board) if s.title == "Named contrasts"]
        table = section.table.set_index("contrast")
        printed = [text.partition(" ")[0] for text in table["in print"]]
        assert printed == ["+4.42", "+5.94", "-3.99"] and "TKPR - MTL baseline" in table["in print"][model]
        assert tuple(text.partition(":")[0] for text in table["the claim"]) == told
        assert ("too few seeds" in table["the claim"][model]) == (seeds == 3)
        assert "no prototypes at all" in table["the claim"][plain] and "in print" in section.notes[0]


def test_an_answer_says_what_its_first_side_costs(tmp_path: Path) -> None:
    def edit(r: dict[str, Any]) -> None:
        ASKED(r)
        dear = 3.0 if r["spec"]["method"] == "prototype" else 2.0
        r["cost"] |= {"cpu_seconds": dear, "gpu_hours": 0.0, "params_infer": int(dear * 100)}

    plain, _, alone = contrasts.answers(made(tmp_path, GAINS, 2, edit=edit))
    assert (plain.time, plain.parameters) == (
        1.5,
        1.5,
    ) and plain.costs == "1.50\xd7 time, 1.50\xd7 parameters"
    # Three networks, one a task, against one.
    assert alone.second == "single_task" and (alone.time, alone.parameters) == pytest.approx((1 / 3, 1 / 3))


NONE = "None of the 3 questions asked before the runs is settled"


@pytest.mark.parametrize(
    ("gains", "seeds", "said"),
    [
        (GAINS, 2, f"{NONE}: 2 of the 7 seeds that decide them ran."),
        ({m: 0.0 for m in GAINS}, 8, f"{NONE} after 8 seeds."),
        (GAINS | {"mtpsl": 8.0}, 8,
         f"Sure: {SIDES[0][0]}, ahead by 6.1; {SIDES[2][0]}, ahead by 2.0 points of Δm. Open: 1 of 3."),
        (GAINS | {"multi_task": -4.0}, 8, f"Sure: {SIDES[0][0]}, ahead by 12.1; {SIDES[1][0]}, ahead by 4.0; "
         f"{SIDES[2][0]}, behind by 4.0 points of Δm."),
    ],
)  # fmt: skip
def test_the_first_sentence_is_on_the_contrasts(gains: Any, seeds: int, said: str, tmp_path: Path) -> None:
    assert overview.sentence([made(tmp_path, gains, seeds, edit=ASKED)]) == said


def test_the_page_the_csv_and_the_figure_hold_the_same_answers(tmp_path: Path) -> None:
    board = made(tmp_path / "runs", GAINS, 3, edit=ASKED)
    write([board], tmp_path)
    path = tmp_path / f"leaderboards/contrasts/{board.name}.csv"
    table = pd.read_csv(path)
    assert table[["contrast", "first", "second"]].values.tolist() == [list(side) for side in SIDES]
    by_label = {e.label: e.by_seed for e in board.entries}
    for row in table.itertuples():
        gap = [by_label[row.first][i] - by_label[row.second][i] for i in by_label[row.first]]
        assert row.difference == pytest.approx(sum(gap) / len(gap), rel=1e-5) and row.n_seeds == 3
        assert row.ci_low < row.difference < row.ci_high and (row.first_is, row.claim) == (
            "cannot tell",
            "cannot be told",
        )
    html = page.html([board], tmp_path)
    shown = html[html.index('<table id="questions">') : html.index('<table id="overview">')]
    found = re.findall(r"<b>([^<]*)</b>", shown)
    assert [float(text.replace("\N{MINUS SIGN}", "-")) for text in found] == [*table.difference.round(1)]
    assert shown.count("2 of 7") == 0 and shown.count("3 of 7") == 3 and "contrasts.svg" in html
    assert (tmp_path / "figures" / board.name / "contrasts.png").is_file()
    path.write_text(path.read_text().replace("cannot be told", "holds", 1))
    assert [text.partition(" differs")[0] for text in check([board], tmp_path)] == [
        f"leaderboards/contrasts/{board.name}.csv"
    ]
    # A board without contrasts has none of it.
    plain = made(tmp_path / "none", GAINS, 3)
    assert '<table id="questions">' not in page.html([plain], tmp_path)
    write([plain], tmp_path / "plain")
    assert not (tmp_path / "plain/leaderboards/contrasts").exists()
