"""A protocol that shows the tool: its boards say so wherever they are read, and rank nothing, however many
seeds they hold.
"""

import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.report import leaderboard
from benchmark.report.answers import paragraph
from benchmark.report.board import Board, build
from benchmark.report.captions import DEMONSTRATION, sentences, verdict
from benchmark.report.compare import answer, entry
from benchmark.report.latex import table
from benchmark.report.page.boards import view
from benchmark.report.records import collect
from benchmark.report.tables import csv_text, markdown
from benchmark.spec.protocol import load
from tests.benchmark.report import make

SHOWN = json.loads(json.dumps(asdict(load("quickstart"))))


def board(folder: Path, seeds: int, **protocol: object) -> Board:
    for method, gain in (("single_task", 0.0), ("multi_task", 1.0), ("prototype", 30.0)):
        for seed in range(seeds):
            for s in make.specs(method, seed, protocol=SHOWN | protocol):
                make.write_run(folder, make.record(s, gain))
    (found,) = build(collect(folder))
    return found


@pytest.mark.parametrize("seeds", [2, 6])
def test_a_demonstration_says_so_and_ranks_nothing(seeds: int, tmp_path: Path) -> None:
    found = board(tmp_path, seeds)
    assert found.name == "quickstart-scenes-v1-one" and {e.tier for e in found.entries} == {"demonstration"}
    said = sentences(found)
    assert said.count(DEMONSTRATION) == 1 and f"{seeds} seeds: demonstration, nothing is ranked." in said
    assert "a demonstration ranks nothing" in verdict(found) and "sure" not in verdict(found)
    console = Console(file=io.StringIO(), width=250)
    console.print(leaderboard.text(found))
    shown = view(found, [])
    # type: ignore[attr-defined]
    for text in (console.file.getvalue(), markdown(found), table(found), "\n".join(shown["captions"])):
        assert text.count(DEMONSTRATION) == 1
    assert {row["tier"] for row in shown["rows"]} == {"demonstration"} and not any(
        row["sure"] for row in shown["rows"]
    )
    assert csv_text(found).count("demonstration,") == 3 and "Nothing is bold" in table(found)


def test_a_comparison_on_it_says_so(tmp_path: Path) -> None:
    shown = board(tmp_path, 8)
    first, second = entry(shown, "prototype"), entry(shown, "multi_task")
    found = answer(shown, first, second) if first and second else None
    assert (
        found
        and f"Yes: prototype is better than multi_task in a demonstration. {DEMONSTRATION} "
        in paragraph(found)
    )


def test_the_same_runs_under_another_protocol_are_ranked(tmp_path: Path) -> None:
    found = board(tmp_path, 6, name="mine", demonstration=False)
    assert "1" in {e.tier for e in found.entries} and DEMONSTRATION not in sentences(found)
