"""The command that the page gives for a row plans the row's runs, id by id."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from benchmark import ROOT
from benchmark.report.board import build
from benchmark.report.command import _toml, command
from benchmark.report.leaderboard import boards_of
from benchmark.report.records import collect
from benchmark.report.rows import Group, Row
from benchmark.spec import plan
from benchmark.spec.protocol import SETTABLE, load
from benchmark.spec.run import run_id
from tests.benchmark.report import make


@pytest.mark.parametrize(
    "value", [None, float("inf"), 1e-7, "abc", "3", "true", "it's", [1, "x"], {"a": float("inf"), "b": "x"}]
)
def test_set_reads_a_value_as_it_was(value: Any) -> None:
    (found,) = plan._assignments([f"k={_toml(value)}"]).values()
    assert found == ("none" if value is None else value) and type(found) is not bool


def planned(text: str, data: Path) -> set[str]:
    """The ids that a command line plans, read as a shell and `bench run` read it."""
    found: set[str] = set()
    words = shlex.split(text)
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        line, words = words[:end], words[end + 1 :]
        assert line[:2] == ["bench", "run"]
        names = line[2 : line.index("--set")]
        settings = line[line.index("--set") :]
        assert settings[::2] == ["--set"] * (len(settings) // 2)
        found |= {spec.id for spec in plan.make(names, settings[1::2], data).cells}
    return found


def reference_ids(g: Group, row: Row) -> set[str]:
    """The ids of the reference's runs over the seeds of a row."""
    reference = next(r for r in g.rows if r.method == g.protocol["reference"])
    shared = row.seeds.keys() & reference.seeds.keys()
    return {record.id for pair in shared for record in reference.seeds[pair].records}


def test_of_the_committed_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the protocols of earlier versions are
    tried = 0
    for board in boards_of(ROOT / "results" / "records"):
        protocol, shipped = board.group.protocol, load(board.group.protocol["name"])
        if earlier := protocol["version"] != shipped.version:
            changed = {k: v for k, v in protocol.items() if k in ("version", *SETTABLE) and v is not None}
            Path(f"{shipped.name}.toml").write_text(tomli_w.dumps({"base": shipped.name} | changed))
        for row in board.group.rows:
            assert f"protocol={shipped.name}{'.toml' * earlier} " in command(board.group, row)
            ids = planned(command(board.group, row), tmp_path)
            assert ids == {record.id for record in row.records} | reference_ids(board.group, row)
            tried += 1
    assert tried >= 4


def made(method: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A record of a spec that was planned."""
    content = make.record(make.spec(method, spec["label_seed"], train_seed=spec["train_seed"]), curve=False)
    return content | {"spec": spec, "id": run_id(spec)}


HALF = {"semseg": 0.5, "depth": 0.5, "normals": 0.5}
RATES, PART = "learning rates 0.3, 1, 3 (of the protocol's)", "the last 10% of train"
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "keywords": {"changed": {"tke": False, "kappa": 0.5, "cross_attention": "constant"}},
    "protocol": {"protocol": {"epochs": 2.5, "size": [64, 96], "loss_weights": {"depth": 2.0}}},
    "balance": {"balance": "uncertainty"},
    "weighting": {"balance": "amtl_g", "weighting": {"gamma": 1.0, "potentials": HALF, "runs": ["0" * 12]}},
    "labels": {"labels": "fraction:0.25"},
    "rate": {"lr_scale": 3.0, "tuning": f"{RATES} on 2 seeds, for 20 epochs, judged on {PART}"},
    "rates": {"tuning": f"{RATES} on 1 seed, judged on {PART}"},
    "trials": {"tuning": f"20 trials on {PART}"},
    "few trials": {"tuning": f"5 of 20 trials, all there are, on {PART}"},
    "encoder": {"protocol": {"encoder": "resnet18", "width": 64}},
}


@pytest.mark.parametrize("name", CASES)
def test_of_made_up_rows(tmp_path: Path, name: str) -> None:
    """Over seeds of their own, and over some in which label and train seeds are crossed."""
    values = CASES[name]
    settings = [f"hparams.prototype.{key}={value}" for key, value in values.get("changed", {}).items()]
    (first, *_) = plan.make(["prototype"], [s.replace("False", "false") for s in settings], tmp_path).cells
    own = {k: values[k] for k in ("balance", "weighting", "labels", "lr_scale", "tuning") if k in values}
    protocol = json.loads(json.dumps(first.as_dict()["protocol"])) | values.get("protocol", {})
    for folder, seeds in (("a", [(2, 2), (5, 5)]), ("b", [(0, 0), (0, 1), (1, 0), (1, 1), (3, 3)])):
        for label, train in seeds:
            s = first.as_dict() | own | {"protocol": protocol, "label_seed": label, "train_seed": train}
            make.write_run(tmp_path / folder, made("prototype", s), published=True, panels=False)
        (board,) = build(collect(tmp_path / folder))
        (row,) = board.group.rows
        text = command(board.group, row).replace("prototype single_task", "prototype")
        assert planned(text, tmp_path) == {r.id for r in row.records}


def test_what_a_record_knows_by_content_alone_stands_as_a_file(tmp_path: Path) -> None:
    protocol = {"encoder": "resnet18", "weights": "sha256:0123456789abcdef"}
    s = make.spec("prototype", protocol=protocol) | {"plugin": "abc"}
    make.write_run(tmp_path, make.record(s), published=True, panels=False)
    (board,) = build(collect(tmp_path))
    text = command(board.group, board.group.rows[0])
    assert "--plugin prototype.py" in text and "weights=FILE-0123456789abcdef" in text
