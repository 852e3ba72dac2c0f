"""The example of the package's README, as a notebook would run it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import benchmark
from benchmark.errors import UserError
from tests.conftest import ROOT


def test_the_readmes_example_runs(tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "benchmark" / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "benchmark.run" in block]
    small = f'"size": [32, 64], "train_images": 16, "test_images": 8, "width": 8}}, data="{data_folder}"'
    assert code.count('"epochs": 1.0}') == 1
    code = code.replace("}", f", {small}", 1)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    table, board = names["table"], names["board"]
    assert set(table.method) == {"single_task", "multi_task"} and table.primary.sum() == 6
    assert {"single_task", "multi_task"} <= set(board.method)
    exec(code, names)
    pd.testing.assert_frame_equal(names["table"], table)


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    for arguments, log, says in (
        (["nope"], "", "nope"),
        (["thin", ["multi-task"]], "", "multi_task"),
        (["thin", [], {"widht": 3}], "", "width"),
        (["thin"], "wandb", "--log 'wandb'"),
    ):
        with pytest.raises(UserError, match=says):
            benchmark.run(*arguments, results=tmp_path, log=log)
