"""Made-up results that tests of the report share; none of them writes there."""

from pathlib import Path

import pytest

from benchmark.report import leaderboard, page
from benchmark.report.board import Board, build
from benchmark.report.figures import board as plots
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import blank, only


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rows over four seeds, of which one failed on a fifth."""
    place: Path = tmp_path_factory.mktemp("runs")
    make.write_board(place, seeds=4)
    make.write_failure(place, make.spec("mtpsl", 4))
    return place


@pytest.fixture(scope="session")
def board(runs: Path) -> Board:
    """Return the board of `runs`."""
    return only(runs)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published records of one board, with its tables, blank figures and page."""
    place: Path = tmp_path_factory.mktemp("results")
    make.write_board(place, published=True)
    boards = build(collect(place))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw", blank)
        leaderboard.write(boards, place, complete=True)
    (place / page.NAME).write_text(page.html(boards, place), encoding="utf-8", newline="\n")
    return place
