"""'Is A better than B here?': each verdict, its numbers, what the command says, and the columns of the board
beside it.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import reruns, statistics
from benchmark.report.answers import as_object, overall, paragraph, summary
from benchmark.report.board import Board, build
from benchmark.report.compare import Answer, answer, entry
from benchmark.report.details import sections
from benchmark.report.leaderboard import markdown
from benchmark.report.records import collect
from benchmark.report.tables import csv_text
from tests.benchmark.report import make
from tests.conftest import Bench


def write(
    folder: Path, method: str, seeds: int, gain: float | None = None, noise: float = 1.5, **values: Any
) -> None:
    for seed in range(seeds):
        for s in make.specs(method, seed, **values):
            make.write_run(folder, make.record(s, gain, noise, curve=False), panels=False)


def only(folder: Path) -> Board:
    (board,) = build(collect(folder))
    return board


def asked(folder: Path, a: str, b: str) -> Answer:
    board = only(folder)
    mine, other = entry(board, a), entry(board, b)
    assert mine and other
    found = answer(board, mine, other)
    assert found
    return found


def scores(folder: Path, method: str) -> np.ndarray:
    by_seed: dict[int, dict[str, float]] = {}
    for r in collect(folder).records:
        if r.spec["method"] == method:
            by_seed.setdefault(r.spec["label_seed"], {}).update(
                {t: r["metrics"][t][make.INFO[t]["metric"]] for t in r.spec["tasks"]}
            )
    return np.array([[found[t] for t in make.TASKS] for _, found in sorted(by_seed.items())])


def test_yes_with_every_number(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task", "prototype"):
        write(tmp_path, method, 8)
    found = asked(tmp_path, "prototype", "multi_task")
    signs = np.array([1.0, -1.0, -1.0])
    a, b, s = (scores(tmp_path, m) for m in ("prototype", "multi_task", "single_task"))
    value = float((100 * signs * (a.mean(0) - b.mean(0)) / s.mean(0)).mean())
    assert found.verdict == "yes" and found.difference.value == pytest.approx(value, abs=1e-9)
    assert found.reference == "single_task" and found.units == tuple(range(8)) and found.needed == 6
    d = np.array([*found.found.differences.values()])
    other = scipy_stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert found.p == pytest.approx(other.pvalue, abs=1e-9)
    assert d.mean() == pytest.approx(value, abs=1e-9) and found.found.p_better == (d > 0).mean()
    assert np.mean([e.value for e in found.tasks.values()]) == pytest.approx(value, abs=1e-9)
    each = 100 * signs * (a.mean(0) - b.mean(0)) / s.mean(0)
    assert [e.value for e in found.tasks.values()] == pytest.approx([*each], abs=1e-9)
    costs = {
        m: np.mean([r["cost"]["seconds"] for r in collect(tmp_path).records if r.spec["method"] == m])
        for m in ("prototype", "multi_task")
    }
    assert found.cost["seconds"] == pytest.approx(costs["prototype"] / costs["multi_task"])
    said = paragraph(found)
    assert (
        said.startswith("thin v1")
        and "'one': Yes: prototype is better than multi_task. Δm of prototype is " in said
    )
    for part in (
        f"{value:.1f} points above that of multi_task (relative to single_task), 95 % interval [+",
        "over 8 label seeds; exact sign-flip test of this pair alone: p = 0.0078.",
        "prototype is ahead in 8 of 8 seeds (P(better) 1.00); correlation of the two over seeds 0.",
        "By task, in points: semseg +",
        "Cost of prototype over multi_task: training time 1.6x, memory 1x, parameters in training 1.3x, "
        "parameters in inference",
    ):
        assert part in said, said
    back = asked(tmp_path, "multi_task", "prototype")
    assert back.verdict == "no" and back.difference.value == pytest.approx(-value) and back.p == found.p
    assert "No: prototype is better than multi_task." in paragraph(
        back
    ) and "points below that of prototype" in paragraph(back)
    json.dumps(as_object(found), allow_nan=False)
    assert as_object(found)["difference"]["n"] == 8 and as_object(found)["text"] == said


def test_cannot_tell_and_why(tmp_path: Path) -> None:
    write(tmp_path, "single_task", 8)
    write(tmp_path, "multi_task", 8, 2.0)
    write(tmp_path, "mtpsl", 8, 2.05)
    write(tmp_path, "prototype", 5, 20.0)
    write(tmp_path, "cross", 1)
    found = asked(tmp_path, "mtpsl", "multi_task")
    assert found.verdict == "cannot tell" and found.p is not None
    assert (
        "Cannot tell: over 8 seeds the interval includes 0, so chance can explain the difference."
        in paragraph(found)
    )
    few = asked(tmp_path, "prototype", "multi_task")
    assert few.verdict == "cannot tell" and few.p is None and few.difference.excludes_zero()
    assert (
        "Cannot tell: the interval excludes 0, but 5 seeds are too few for an exact test, which takes 6."
        in paragraph(few)
    )
    one = asked(tmp_path, "cross", "multi_task")
    assert "Cannot tell: 1 seed is too few for an exact test, which takes 6." in paragraph(one)
    assert "95 %" not in paragraph(one) and "correlation" not in paragraph(one)
    make.write_failure(tmp_path, make.spec("mtpsl", 9))
    failed = asked(tmp_path, "mtpsl", "multi_task")
    assert failed.verdict == "cannot tell" and failed.failed == ("mtpsl",)
    assert (
        "Cannot tell: mtpsl failed or is incomplete on some seeds, and what it would have scored there"
        in paragraph(failed)
    )


def test_seeds_without_spread_and_a_test_that_does_not_agree(tmp_path: Path) -> None:
    write(tmp_path, "single_task", 6, 0.0, 0.0)
    write(tmp_path, "multi_task", 6, 2.0, 0.0)
    write(tmp_path, "mtpsl", 6, 3.0, 0.0)
    found = asked(tmp_path, "mtpsl", "multi_task")
    assert (
        found.verdict == "cannot tell"
        and "Cannot tell: 6 seeds without any spread give no interval." in paragraph(found)
    )
    for path in tmp_path.rglob("mtpsl*/record.json"):  # one seed of six against the others, by little
        r = json.loads(path.read_text())
        seed = r["spec"]["label_seed"]
        r["metrics"]["semseg"]["mIoU"] *= 1 + (-0.0349 if seed == 0 else 0.001 * seed)
        path.write_text(json.dumps(r))
    found = asked(tmp_path, "mtpsl", "multi_task")
    assert found.difference.excludes_zero() and found.p == 2 * 2**-5
    assert "Cannot tell: the interval excludes 0, but the exact test does not (p = 0.062)." in paragraph(
        found
    )


def test_without_a_reference_b_is_what_delta_m_is_relative_to(tmp_path: Path) -> None:
    write(tmp_path, "multi_task", 6)
    write(tmp_path, "prototype", 6)
    found = asked(tmp_path, "prototype", "multi_task")
    a, b = (scores(tmp_path, m) for m in ("prototype", "multi_task"))
    plain = statistics.delta_m(a, b, np.array([1.0, -1.0, -1.0]))
    assert found.reference == "multi_task" and found.verdict == "yes"
    assert found.difference.value == pytest.approx(plain.value) and found.difference.low == pytest.approx(
        plain.low
    )


def test_under_one_mask_and_on_a_holdout_it_says_so(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task"):
        write(tmp_path / "mask", method, 2, labels="given", protocol={"tasks": list(make.TASKS)})
        write(tmp_path / "holdout", method, 2, protocol={"judge": "holdout"})
    for path in (tmp_path / "mask").rglob("record.json"):
        path.write_text(path.read_text().replace('"mask1"', '"mask0"'))
    said = paragraph(asked(tmp_path / "mask", "multi_task", "single_task"))
    assert "over 2 train seeds; one mask of labels, so training noise only." in said
    assert "Cannot tell on held-out train images, for tuning only: 2 seeds" in paragraph(
        asked(tmp_path / "holdout", "multi_task", "single_task")
    )


def test_rows_by_label_or_method(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    board = only(tmp_path)
    named = {name: entry(board, name) for name in ("prototype", "prototype(tke=false)", "jtr")}
    assert named["jtr"] is None
    assert [e and e.label for e in named.values()] == ["prototype", "prototype(tke=false)", None]


def test_the_re_run_floor(tmp_path: Path) -> None:
    for method in ("single_task", "multi_task", "prototype"):
        write(tmp_path / "a", method, 3)
    for seed in range(2):
        s = make.spec("prototype", seed)
        r = make.record(s, curve=False)
        r["metrics"]["semseg"]["mIoU"] += 0.3 * (seed + 1)
        make.write_run(tmp_path / "b", r, panels=False)
    plain = only(tmp_path / "a")
    (board,) = reruns.attached([plain], collect(tmp_path / "b"))
    a, b = entry(board, "prototype"), entry(board, "multi_task")
    assert a and b
    found = answer(board, a, b)
    base = scores(tmp_path / "a", "single_task").mean(0)[0]
    points = [100 * 0.3 * k / base / 3 for k in (1, 2)]
    sd = (sum(p * p for p in points) / 2 / 2) ** 0.5
    assert found and found.rerun and found.rerun.n == 2 and found.rerun.sd == pytest.approx(sd, abs=1e-9)
    assert (
        f"Run again, one run scatters with a standard deviation of {sd:.2f} points of Δm (2 seeds run twice)."
        in paragraph(found)
    )
    unrelated = answer(plain, b, a)
    assert unrelated and unrelated.rerun is None and "Run again" not in paragraph(unrelated)


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


def test_no_seed_in_common(bench: Bench, tmp_path: Path) -> None:
    make.write_run(tmp_path, make.record(make.spec("multi_task", 0)), panels=False)
    make.write_run(tmp_path, make.record(make.spec("mtpsl", 1)), panels=False)
    code, _, err = bench("compare", "mtpsl", "multi_task", "--results", tmp_path)
    assert (
        code == 2
        and "mtpsl and multi_task have no finished seed in common; run both with the same seeds." in err
    )


def test_published_records_are_asked(bench: Bench, tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2, published=True)
    code, out, _ = bench("compare", "mtpsl", "multi_task", "--published", "--published-in", tmp_path)
    assert code == 0 and "Cannot tell: 2 seeds are too few" in out


def test_overall_needs_two_boards(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=2)
    found = asked(tmp_path, "mtpsl", "multi_task")
    assert overall([found]) is None and summary([found]) == ""
    twice = overall([found, found])
    assert twice and twice.value == pytest.approx(found.difference.value)


def test_the_family_against_the_baseline(tmp_path: Path) -> None:
    for method, gain in (("single_task", 0.0), ("multi_task", 2.0), ("mtpsl", 2.1), ("prototype", 8.0)):
        write(tmp_path, method, 8, gain)
    write(tmp_path, "late", 3, 30.0)
    board = only(tmp_path)
    of = {e.label: e for e in board.entries}
    family = [e for e in board.entries if e.decidable is not None]
    assert {e.label for e in family} == {"mtpsl", "prototype", "late"} and board.comparisons == 3
    raw = {e.label: e.compared.p for e in family if e.compared}
    order = sorted(raw, key=lambda name: raw[name])
    plain: dict[str, float] = {}
    for k, name in enumerate(order):
        plain[name] = max([min(1.0, raw[name] * (3 - k)), *plain.values()])
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(csv_text(board)))}
    for name in ("mtpsl", "prototype"):
        found = of[name].compared
        assert found and found.p_holm == pytest.approx(plain[name], abs=1e-9) and found.p_holm >= raw[name]
        assert found.p == statistics.sign_flip(np.array([*found.differences.values()]))
        assert (
            lines[name]["vs_baseline_p_holm"] == f"{found.p_holm:.6g}" and lines[name]["decidable"] == "yes"
        )
        assert (
            lines[name]["p_better"] == f"{found.p_better:.6g}"
            and found.rho
            and lines[name]["rho"] == f"{found.rho:.6g}"
        )
    late = of["late"].compared
    assert late and late.p == 0.25 and late.p_holm is None and lines["late"]["vs_baseline_p_holm"] == ""
    assert lines["late"]["decidable"] == "too few seeds to decide" and of["multi_task"].compared is None
    table = next(s.table for s in sections(board) if s.title == "Against multi_task")
    assert dict(zip(table["method"], table["decidable"], strict=True))["late"] == "too few seeds to decide"
    assert "## Against multi_task" in markdown(board) and "## Other Δm, in %" in markdown(board)
