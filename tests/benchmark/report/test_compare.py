"""'Is A better than B here?': the numbers of an answer, its words, and the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.report.board import Board, build
from benchmark.report.compare import across, answer, entry, other_values
from benchmark.report.leaderboard import boards_of
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import only, plain
from tests.conftest import Bench


def asked(board: Board, a: str, b: str) -> dict[str, Any]:
    mine, other = entry(board, a), entry(board, b)
    assert mine and other
    found = answer(board, mine, other)
    assert found
    return found


def test_every_number_of_an_answer(tmp_path: Path) -> None:
    def edit(r: dict[str, Any]) -> None:
        n = 7 if r["spec"]["method"] == "prototype" else 2
        r["cost"] |= {"device": "CPU x", "cpu_seconds": 2.0 * n - 2, "operations": n * 10**12}

    for method in ("single_task", "multi_task", "prototype"):
        make.write(tmp_path / "a", method, 8, edit=edit)
    for seed in range(2):  # made again, with another score
        r = make.record(make.spec("prototype", seed), curve=False)
        r["metrics"]["semseg"]["mIoU"] += 0.3 * (seed + 1)
        make.write_run(tmp_path / "b", r, panels=False)
    (board,) = boards_of(tmp_path / "a", tmp_path / "b")
    found, back = asked(board, "prototype", "multi_task"), asked(board, "multi_task", "prototype")
    rows = {e.label: e for e in board.entries}
    ours, base = rows["prototype"], rows["multi_task"]
    assert ours.delta and base.delta
    gap = ours.delta.value - base.delta.value
    assert found["difference"]["value"] == pytest.approx(gap, abs=1e-9)
    each = {t: ours.changes[t].value - base.changes[t].value for t in make.TASKS}
    assert {t: e["value"] for t, e in found["tasks"].items()} == pytest.approx(each, abs=1e-9)
    assert found["cost"]["operations"] == 3.5 and "seconds" not in found["cost"]
    sd = board.reruns["prototype"].sd
    assert found["rerun"] == {"sd": sd, "n": 2} and found["same_device"] and sd > 0
    said = ("Yes: prototype is better", f"{gap:.1f} points above", "over 8 label seeds", "p = 0.0078.")
    said += ("8 of 8 seeds", f"{sd:.2f} points of Δm (2 seeds run twice)", "3.5x, CPU time 6x, memory 1x")
    assert not [part for part in said if part not in found["text"]], found["text"]
    assert (found["verdict"], back["verdict"]) == ("yes", "no")
    assert "No: prototype is better" in back["text"] and "points below that of prototype" in back["text"]
    assert found["difference"]["n"] == 8
    json.dumps(found, allow_nan=False)


DEMONSTRATION = {"protocol": {"demonstration": True, "name": "mine"}}


@pytest.mark.parametrize(
    ("seeds", "values", "said"),
    [
        (2, {"labels": "given"}, "over 2 train seeds; one mask of labels, so training noise only."),
        (2, {"labels": "given"}, "Cannot tell: too few seeds to decide: 2 of 6;"),
        (2, {"protocol": {"judge": "holdout"}}, "Cannot tell on held-out train images, for tuning only: too"),
        (8, DEMONSTRATION, "Cannot tell: A demonstration of the tool"),
    ],
)
def test_reservations_are_said(seeds: int, values: dict[str, Any], said: str, tmp_path: Path) -> None:
    mask = {"labels": "mask0"} if "labels" in values else {}
    for method in ("single_task", "multi_task"):
        make.write(tmp_path, method, seeds, edit=lambda r: r["hashes"].update(mask), **values)
    assert said in asked(only(tmp_path), "multi_task", "single_task")["text"]


def test_the_command(bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    make.write_board(runs, seeds=2)
    for method in ("multi_task", "mtpsl"):
        make.write(runs, method, 2, labels="random")
    make.write(runs, "elsewhere", labels="full")
    make.write(runs, "jtr", [7])
    pair, at = ("mtpsl", "multi_task"), ("--results", runs)
    for balance in ("dwa", "uncertainty"):  # where they are one row, another board answers all the same
        make.write(runs, "multi_task", 1, labels="fraction:0.5", balance=balance)
    assert bench.ok("compare", *pair, *at).count("Cannot tell") == 2
    make.write(runs, "multi_task", 2, balance="dwa")
    two = ("multi_task", "multi_task(balance=dwa)")
    assert bench.ok("compare", *two, *at).count("Cannot tell") == 1
    one = next(b.name for b in build(collect(runs)) if b.group.labels == "one")
    for method in pair:
        make.write(tmp_path / "again", method, 2, edit=lambda r: r["cost"].update(seconds=1.0))
    (found,) = bench.json("compare", *pair, *at, "--board", one, "--rerun", tmp_path / "again")["answers"]
    assert (found["board"], found["rerun"]) == (one, {"sd": 0.0, "n": 4})
    (tmp_path / "empty").mkdir()
    for arguments, sentence in (
        (("xtc", "mtpsl", *at), "unknown row 'xtc'; known: elsewhere, "),
        (("mtpsl", "mtpsl", *at), f"are the same row of board {one}; name two different ones."),
        ((*pair, *at, "--board", "ones"), "unknown board in "),
        (("mtpsl", "elsewhere", *at), "no board holds both mtpsl and elsewhere; run them under one"),
        (("mtpsl", "jtr", *at), "mtpsl and jtr have no finished seed in common; run both with the same"),
        ((*pair, *at, "--rerun", tmp_path / "empty"), "; --rerun names a folder in which the same runs were"),
        ((*pair, *at, "--rerun", runs), "it is the very same run, its time included; remove it,"),
        ((*pair, "--results", tmp_path / "empty"), "there are no finished runs in "),
    ):
        assert sentence in bench.refused("compare", *arguments)


def test_across_encoders(bench: Bench, tmp_path: Path) -> None:
    """Every row with one encoder against itself with another, by seeds; and boards that differ otherwise."""
    wide = {"encoder": "resnet18"}
    for method, gain in (("single_task", 0.0), ("multi_task", 2.0), ("mtpsl", 2.0)):
        make.write(tmp_path, method, 8, gain)
        make.write(tmp_path, method, 8, gain + 9.0 * (method != "mtpsl"), protocol=wide)
    make.write(tmp_path, "prototype", 8, changed={"codes": 16})
    make.write(tmp_path, "prototype", 8, protocol=wide)
    deep = {"encoder": "resnet50", "weights": "imagenet", "epochs": 7.0}
    make.write(tmp_path, "multi_task", 2, protocol=deep)
    make.write(tmp_path, "multi_task", 2, labels="random", protocol={"encoder": "resnet50"})
    boards = {b.group.protocol["encoder"]: b for b in boards_of(tmp_path) if b.group.labels == "one"}
    at = ("--results", tmp_path)
    code, out, err = bench("compare", "resnet18", "small", *at, "--json")
    found = {each["row"]: each for each in json.loads(out)["answers"]}
    assert code == 0 and found.keys() == {"single_task", "multi_task", "mtpsl"}, err
    for method, one in found.items():
        rows = [next(e.row for e in boards[x].entries if e.label == method) for x in ("resnet18", "small")]
        means = [{t: row.mean(t) for t in boards["small"].group.tasks} for row in rows]
        change = {t.name: 100 * t.sign * (means[0][t] / means[1][t] - 1) for t in means[0]}
        assert {t: e["value"] for t, e in one["tasks"].items()} == pytest.approx(change)
        assert one["difference"]["value"] == pytest.approx(sum(change.values()) / 3)
        assert len(one["seeds"]) == 8 and (one["comparisons"], one["lr_scale"]) == (3, [1.0, 1.0])
        assert one["verdict"] == ("cannot tell" if method == "mtpsl" else "yes")
    assert "multi_task: Yes: better with resnet18. resnet18 over small: +" in err
    assert "corrected for 3 rows: p = 0.023. By task: semseg +" in err and err.count("\n") == 5
    assert "note: left out, as the two do not share its seeds and values: prototype." in err
    out = bench.ok("compare", boards["small"].name, boards["resnet18"].name, *at)
    assert "multi_task: No: better with resnet18. small over resnet18: -" in plain(out)
    for arguments, sentence in (
        (("resnet50", "small"), "differ in more than encoder and weights: epochs (7 and "),
        (("resnet18", "smal"), "unknown board or encoder 'smal'; did you mean 'small'?"),
        (("small", "small"), "small and small mean one board; name two encoders, or two boards"),
    ):
        assert sentence in bench.refused("compare", *arguments, *at)


def test_each_encoder_may_have_its_own_rate_and_both_boards_must_rank(tmp_path: Path) -> None:
    for encoder, rate, labels in (("small", 1.0, "one"), ("resnet18", 0.5, "one"), ("segnet", 1.0, "random")):
        for seed in range(8):
            s = make.spec("multi_task", seed, labels=labels, protocol={"encoder": encoder})
            r = make.record(s | {"lr_scale": rate}, 9.0 * rate, curve=False)
            make.write_run(tmp_path, r, panels=False)
    boards = {b.group.protocol["encoder"]: b for b in boards_of(tmp_path)}
    ((found,), left) = across(boards["small"], boards["resnet18"])
    assert not left and "Yes: better with small" in found["text"], found["text"]
    assert found["text"].endswith(" Learning rates: 1 and 0.5 times the protocol's.")
    assert other_values(boards["small"], boards["segnet"]) == ["labels (one and random)"]
    boards["resnet18"].withheld = "Undertrained"
    ((found,), _) = across(boards["small"], boards["resnet18"])
    assert (found["verdict"], found["reason"]) == ("cannot tell", "Undertrained")
