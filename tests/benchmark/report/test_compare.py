"""'Is A better than B here?': the numbers of an answer, its words, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.report import reruns
from benchmark.report.board import Board, build
from benchmark.report.compare import Answer, answer, as_object, entry, paragraph
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.conftest import Bench


def write(folder: Path, method: str, seeds: int, gain: float | None = None, **values: Any) -> None:
    for seed in range(seeds):
        for s in make.specs(method, seed, **values):
            make.write_run(folder, make.record(s, gain, curve=False), panels=False)


def asked(board: Board, a: str, b: str) -> Answer:
    mine, other = entry(board, a), entry(board, b)
    assert mine and other
    found = answer(board, mine, other)
    assert found
    return found


def only(folder: Path) -> Board:
    (board,) = build(collect(folder))
    return board


def scores(folder: Path, method: str) -> np.ndarray:
    by_seed: dict[int, dict[str, float]] = {}
    for r in collect(folder).records:
        if r.spec["method"] == method:
            found = {t: r["metrics"][t][make.INFO[t]["metric"]] for t in r.spec["tasks"]}
            by_seed.setdefault(r.spec["label_seed"], {}).update(found)
    return np.array([[found[t] for t in make.TASKS] for _, found in sorted(by_seed.items())])


def test_every_number_of_an_answer(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task", "prototype"):
        write(tmp_path / "a", method, 8)
    for seed in range(2):  # made again, with another score
        r = make.record(make.spec("prototype", seed), curve=False)
        r["metrics"]["semseg"]["mIoU"] += 0.3 * (seed + 1)
        make.write_run(tmp_path / "b", r, panels=False)
    (board,) = reruns.attached([only(tmp_path / "a")], collect(tmp_path / "b"))
    found, back = asked(board, "prototype", "multi_task"), asked(board, "multi_task", "prototype")
    a, b, s = (scores(tmp_path / "a", m) for m in ("prototype", "multi_task", "single_task"))
    each = 100 * np.array([1.0, -1.0, -1.0]) * (a.mean(0) - b.mean(0)) / s.mean(0)
    assert found.found.estimate.value == pytest.approx(each.mean(), abs=1e-9)
    assert [e.value for e in found.tasks.values()] == pytest.approx([*each], abs=1e-9)
    times = [
        np.mean([r["cost"]["seconds"] for r in collect(tmp_path / "a").records if r.spec["method"] == m])
        for m in ("prototype", "multi_task")
    ]
    assert found.cost["seconds"] == pytest.approx(times[0] / times[1]) and found.same_device
    points = [100 * 0.3 * k / s.mean(0)[0] / 3 for k in (1, 2)]
    sd = (sum(p * p for p in points) / 2 / 2) ** 0.5
    assert found.rerun and found.rerun.n == 2 and found.rerun.sd == pytest.approx(sd, abs=1e-9)
    text = paragraph(found)
    for part in (
        "thin v1: scenes-v1, labels 'one': Yes: prototype is better than multi_task. Δm of prototype is ",
        f"{each.mean():.1f} points above that of multi_task (relative to single_task), 95 % interval [+",
        "over 8 label seeds; exact sign-flip test, corrected for 1 comparison: p = 0.0078.",
        "prototype is ahead in 8 of 8 seeds (P(better) 1.00); correlation of the two over seeds 0.",
        "By task, in points: semseg +",
        f"one run scatters with a standard deviation of {sd:.2f} points of Δm (2 seeds run twice).",
        "Cost of prototype over multi_task: training time 1.6x, memory 1x, parameters in training 1.3x, ",
    ):
        assert part in text, text
    assert (found.verdict, back.verdict) == ("yes", "no")
    assert "No: prototype is better than multi_task. Δm of multi_task is" in paragraph(back)
    assert "points below that of prototype" in paragraph(back)
    json.dumps(as_object(found), allow_nan=False)
    assert as_object(found)["difference"]["n"] == 8 and as_object(found)["text"] == text


def test_reservations_are_said(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        write(tmp_path / "mask", method, 2, labels="given")
        write(tmp_path / "holdout", method, 2, protocol={"judge": "holdout"})
        write(tmp_path / "shown", method, 8, protocol={"demonstration": True, "name": "mine"})
    for path in (tmp_path / "mask").rglob("record.json"):
        path.write_text(path.read_text().replace('"mask1"', '"mask0"'))
    said = {
        place: paragraph(asked(only(tmp_path / place), "multi_task", "single_task"))
        for place in ("mask", "holdout", "shown")
    }
    assert "over 2 train seeds; one mask of labels, so training noise only." in said["mask"]
    assert "Cannot tell: too few seeds to decide: 2 of 6;" in said["mask"]
    assert "Cannot tell on held-out train images, for tuning only: too few seeds" in said["holdout"]
    assert "Cannot tell: A demonstration of the tool: too few images" in said["shown"]


def test_the_command(bench: Bench, tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    write(tmp_path, "multi_task", 2, labels="random")
    write(tmp_path, "mtpsl", 2, labels="random")
    write(tmp_path, "elsewhere", 1, labels="full")
    at = ("--results", tmp_path)
    code, out, _ = bench("compare", "mtpsl", "multi_task", *at)
    assert (
        code == 0
        and out.count("Cannot tell") == 2
        and "Over 2 boards: yes on 0, no on 0, cannot tell on 2; mean difference" in out
    )
    names = sorted(b.name for b in build(collect(tmp_path)))
    one = next(name for name in names if "one" in name)
    for s in (make.spec(method, seed) for method in ("mtpsl", "multi_task") for seed in range(2)):
        r = make.record(s)
        r["cost"]["seconds"] += 1
        make.write_run(tmp_path / "again", r, panels=False)
    code, out, _ = bench(
        "compare", "mtpsl", "multi_task", *at, "--board", one, "--rerun", tmp_path / "again", "--json"
    )
    (found,) = json.loads(out)["answers"]
    assert (
        code == 0
        and found["board"] == one
        and found["rerun"] == {"sd": 0.0, "n": 4}
        and json.loads(out)["overall"] is None
    )
    (tmp_path / "empty").mkdir()
    for arguments, sentence in (
        (("jtr", "mtpsl", *at), "unknown row 'jtr'; known: elsewhere, "),
        (
            ("mtpsl", "mtpsl", *at),
            f"mtpsl and mtpsl are the same row of board {one}; name two different ones.",
        ),
        (("mtpsl", "multi_task", *at, "--board", "ones"), "unknown board in "),
        (
            ("mtpsl", "elsewhere", *at),
            "no board holds both mtpsl and elsewhere; run them under one protocol, data set",
        ),
        (
            ("mtpsl", "multi_task", *at, "--rerun", tmp_path / "empty"),
            "; --rerun names a folder in which the same runs were made",
        ),
        (
            ("mtpsl", "multi_task", *at, "--rerun", tmp_path),
            "it is the very same run, its time included; remove it, or make the run again elsewhere.",
        ),
        (("mtpsl", "multi_task", "--results", tmp_path / "empty"), "there are no finished runs in "),
    ):
        code, out, err = bench("compare", *arguments)
        assert code == 2 and out == "" and sentence in err and err.count("\n") == 1, err


def test_no_seed_in_common_and_published_records(bench: Bench, tmp_path: Path) -> None:
    make.write_run(tmp_path, make.record(make.spec("multi_task", 0)), panels=False)
    make.write_run(tmp_path, make.record(make.spec("mtpsl", 1)), panels=False)
    code, _, err = bench("compare", "mtpsl", "multi_task", "--results", tmp_path)
    assert code == 2 and "mtpsl and multi_task have no finished seed in common; run both with the same" in err
    make.write_board(tmp_path / "public", seeds=2, published=True)
    at = ("--published", "--published-in", tmp_path / "public")
    code, out, _ = bench("compare", "mtpsl", "multi_task", *at)
    assert code == 0 and "Cannot tell: too few seeds to decide: 2 of " in out
