"""The words of a board: a verdict, facts that limit its use, and nothing on a board without such limits."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmark.report.board import Board, build
from benchmark.report.captions import facts, other_code, verdict, warnings
from benchmark.report.records import collect
from benchmark.report.verdict import DEMONSTRATION
from benchmark.spec import registry
from benchmark.spec.protocol import load
from benchmark.spec.source import equal_code
from tests.benchmark.report import make
from tests.benchmark.report.drawn import only

GAINS = {"single_task": 0.0, "multi_task": 2.0, "mtpsl": 4.0, "prototype": 8.0}
FEW = {"single_task": 0.0, "multi_task": 2.0, "mtpsl": 4.0}
Edit = Callable[[dict[str, Any]], object]


def made(folder: Path, gains: dict[str, float], seeds: int, **values: Any) -> Board:
    for method, gain in gains.items():
        make.write(folder, method, seeds, gain, 0.3, **values)
    return only(folder)


@pytest.mark.parametrize(
    ("gains", "seeds", "words"),
    [
        (GAINS, 8, ["Highest Δm: prototype, +", "ahead of mtpsl by +", "Sure: "]),
        (GAINS, 3, ["Highest Δm: prototype, +", "Not sure: "]),
        (GAINS | {"mtpsl": 8.0}, 8, ["Highest Δm: ", "Not sure: "]),
        ({"single_task": 0.0, "multi_task": -15.0}, 2, ["No row is above single_task"]),
        ({"multi_task": 0.0}, 2, ["No comparison: no seed of the reference single_task is complete."]),
        ({"single_task": 0.0}, 2, ["No comparison: no other row shares a complete seed"]),
    ],
)
def test_verdict(gains: dict[str, float], seeds: int, words: list[str], tmp_path: Path) -> None:
    said = verdict(made(tmp_path, gains, seeds))
    assert all(word in said for word in words) and ("Sure: " in said) == ("Sure: " in words), said


def test_a_row_that_lacks_a_seed_does_not_lead(tmp_path: Path) -> None:
    made(tmp_path, GAINS, 7)
    (record,) = tmp_path.glob("thin/prototype-*-s3-*/record.json")
    record.unlink()
    record.with_name("error.txt").write_text("loss of depth became infinite\n")
    board = only(tmp_path)
    assert verdict(board).startswith("Highest Δm: mtpsl") and board.entries[0].label == "prototype"
    assert ("failed", "prototype seed 3: loss of depth became infinite") in facts(board)


def test_the_row_of_the_highest_mean_may_be_behind_on_the_seeds_that_it_shares(tmp_path: Path) -> None:
    make.write(tmp_path, "single_task", 4)
    for method, gains in (("mtpsl", {0: 20.0, 1: 5.0}), ("jtr", {1: 10.0, 2: 5.0})):
        for seed, gain in gains.items():
            make.write(tmp_path, method, [seed], gain, 0.3)
    said = verdict(only(tmp_path))
    assert said.startswith("Highest Δm: mtpsl, +") and "; over the seeds of both -" in said, said


def test_demonstrations_and_tuning_say_so_and_rank_nothing(tmp_path: Path) -> None:
    shown = made(tmp_path / "a", GAINS, 8, protocol=json.loads(json.dumps(asdict(load("quickstart")))))
    assert verdict(shown).endswith(DEMONSTRATION) and "ure: " not in verdict(shown)
    tuned = made(tmp_path / "b", FEW, 5, protocol={"judge": "holdout"})
    said = ("no scores, for tuning only", "evaluated on the last 10% of the train images")
    assert said in facts(tuned)
    assert [{e.tier for e in board.entries} for board in (shown, tuned)] == [{"demonstration"}, {"tuning"}]


def change(seed: int, path: str, value: Any) -> Edit:
    """Set a value of a record, of mtpsl and this seed alone."""

    def edit(r: dict[str, Any]) -> None:
        *places, last = path.split(".")
        if (r["spec"]["method"], r["spec"]["label_seed"]) == ("mtpsl", seed):
            for place in places:
                r = r[place]
            r[last] = value

    return edit


PLAIN: Edit = lambda r: None  # noqa: E731
FACTS: dict[str, tuple[Edit, str, str]] = {
    "weak": (change(0, "metrics.depth.absErr", 9.0), "not above the constant prediction", "mtpsl on depth"),
    "dirty": (change(1, "environment.dirty", True), "uncommitted changes", "mtpsl"),
    "code": (change(1, "source", "0123456789ab"), "runs of one row by different code", "mtpsl"),
    "device": (change(1, "cost.device", "other"), "devices differ", "cpu; cpu; other"),
    "labels": (PLAIN, "no digest", "mtpsl, multi_task, single_task"),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts(name: str, tmp_path: Path) -> None:
    edit, title, text = FACTS[name]

    def both(r: dict[str, Any]) -> None:
        r["source"] = registry.source_hash(r["spec"]["method"])
        edit(r)

    (found,) = [said for key, said in facts(made(tmp_path, FEW, 2, edit=both)) if key.startswith(title)]
    assert found.startswith(text), found
    if edit is not PLAIN:
        assert not [key for key, _ in facts(made(tmp_path, FEW, 2)) if key.startswith(title)]


END = "on the last 10% of train"
TWENTY, FIVE, ONLY = f"20 trials {END}", f"5 of 20 trials, all there are, {END}", f"5 trials {END}"
UNEQUAL = "tuning, NOT the same for all rows"


@pytest.mark.parametrize(
    ("tunings", "title", "wanted"),
    [
        ({"mtpsl": "", "multi_task": ""}, "", ""),
        ({"mtpsl": TWENTY, "jtr": FIVE, "multi_task": ""}, "tuning",
         f"jtr: {FIVE}; mtpsl: {TWENTY}; multi_task: nothing to tune"),
        ({"mtpsl": TWENTY, "prototype": "", "multi_task": ""}, UNEQUAL,
         f"mtpsl: {TWENTY}; multi_task: nothing to tune; prototype: none"),
        ({"mtpsl": TWENTY, "jtr": ONLY}, UNEQUAL, f"jtr: {ONLY}; mtpsl: {TWENTY}"),
    ],
)  # fmt: skip
def test_unequal_tuning_is_told(tunings: dict[str, str], title: str, wanted: str, tmp_path: Path) -> None:
    for method, how in tunings.items():
        make.write(tmp_path, method, tuning=how)
    found = [(name, sorted(text.split("; "))) for name, text in facts(only(tmp_path)) if "tuning" in name]
    assert found == ([(title, wanted.split("; "))] if title else [])


def test_changes_that_no_label_shows_are_told(tmp_path: Path) -> None:
    for changed in ({"codes": 256}, {"codes": 256, "tke": False}):
        make.write(tmp_path, "prototype", changed=changed, balance="amtl_g", weighting={"gamma": 1.0})
    make.write(tmp_path, "mtpsl", changed={"weight": 0.5})
    told = [fact for fact in facts(only(tmp_path)) if "runs with" in fact[0]]
    weighted = "codes=256, amtl_g.gamma=1, balance=amtl_g"
    assert told == [("mtpsl runs with", "weight=0.5"), ("prototype runs with", weighted)]


def test_warnings_name_other_code_and_other_versions(tmp_path: Path) -> None:
    today = {name: equal_code(name, registry.source_hash(name)) for name in GAINS}
    gains = {"single_task": 0.0, "mtpsl": 4.0}
    board = made(tmp_path, gains, 2, edit=change(1, "source", "0123456789ab"))
    assert other_code(board, today).startswith("computed by other code: mtpsl; `bench run --force`")
    assert other_code(board, {"mtpsl": frozenset({"0123456789ab"})}) == "" == other_code(board, {})
    make.write(tmp_path, "mtpsl", protocol={"version": 0})
    said = warnings(build(collect(tmp_path)), today)
    assert any("computed by other code: mtpsl" in line for line in said)
    assert any("other version of the protocol: thin v0, current v1" in line for line in said)
