"""A held-out slice of train, for tuning: no run is trained on it, and no board calls what it says a score."""

from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute.data import Data
from benchmark.execute.options import Options
from benchmark.execute.workers import carry_out
from benchmark.report.captions import facts
from benchmark.report.leaderboard import boards_of
from benchmark.spec import plan

SETTINGS = ["size=[32, 64]", "train_images=20", "test_images=4", "batch=4", "epochs=1", "width=8"]


class Silent:
    def state(self, *args: object) -> None: ...

    def step(self, *args: object) -> None: ...

    def note(self, message: str) -> None: ...


def test_the_slice_is_the_end_of_train_and_nothing_else(data_folder: Path) -> None:
    whole = plan.make(["multi_task"], SETTINGS, data_folder).cells[0]
    tuned = plan.make(["multi_task"], [*SETTINGS, "judge=holdout", "holdout=0.25"], data_folder).cells[0]
    data = Data(data_folder)
    train, kept, slice_ = data.split(whole, "train"), data.split(tuned, "train"), data.split(tuned, "test")
    assert kept.ids.tolist() == list(range(15)) and slice_.ids.tolist() == list(range(15, 20))
    assert torch.equal(torch.cat([kept.images, slice_.images]), train.images)
    assert len({s.fingerprint for s in (train, kept, slice_, data.split(whole, "test"))}) == 4


def test_the_board_says_that_it_is_no_score(data_folder: Path, tmp_path: Path) -> None:
    cells = plan.make(
        ["single_task", "multi_task"], [*SETTINGS, "judge=holdout", "seeds=1"], data_folder
    ).cells
    done = carry_out(cells, Options(tmp_path, data_folder), Silent())
    assert len(done["done"]) == len(cells) == 4
    (board,) = boards_of(tmp_path)
    assert {entry.tier for entry in board.entries} == {"tuning"}
    assert ("no scores, for tuning only", "evaluated on the last 10% of the train images") in facts(board)
    assert board.group.tasks[0].test_images == 2


def test_a_slice_that_takes_everything_is_refused(data_folder: Path) -> None:
    tuned = plan.make(["multi_task"], [*SETTINGS, "train_images=1", "judge=holdout"], data_folder).cells[0]
    with pytest.raises(UserError, match="sets all train images aside"):
        Data(data_folder).split(tuned, "train")
