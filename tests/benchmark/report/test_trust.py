"""What a board may say of its leader, of its baseline and of times; and that what lies beside a record is
what was published.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.report import captions, leaderboard, page, records
from benchmark.report.board import Board
from benchmark.runs import digest
from tests.benchmark.report import make
from tests.conftest import Bench


def made(folder: Path, gains: dict[str, float], seeds: int, noise: float = 0.3, **values: Any) -> None:
    for method, gain in gains.items():
        for seed in range(seeds):
            for s in make.specs(method, seed, **values):
                make.write_run(folder, make.record(s, gain, noise), panels=False)


def board(folder: Path) -> Board:
    (found,) = leaderboard.build(records.collect(folder))
    return found


GAINS = {"single_task": 0.0, "multi_task": 2.0, "mtpsl": 4.0, "prototype": 8.0}


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (3, "3 seeds are development"),
        (
            5,
            "Likely, not sure: the interval excludes 0, but 5 seeds are too few for an exact test, which "
            "takes 6",
        ),
        (
            7,
            "and so does the exact test (p = 0.016): the order of prototype and mtpsl is more than noise",
        ),
    ],
)
def test_how_sure_the_leader_is(tmp_path: Path, seeds: int, words: str) -> None:
    made(tmp_path, GAINS, seeds)
    assert words in captions.verdict(board(tmp_path))


def test_the_exact_test_of_the_lead_is_that_of_the_two_rows(tmp_path: Path) -> None:
    made(tmp_path, GAINS | {"mtpsl": 7.0}, 8, noise=1.5)
    found = board(tmp_path)
    assert found.lead and found.lead.second and found.lead.p is not None
    scores = {e.label: found.group.scores(e.row, [(s, s) for s in range(8)]) for e in found.entries}
    base, signs = scores["single_task"].mean(0), np.array([t.sign for t in found.group.tasks])
    best, second = (scores[e.label] for e in (found.lead.best, found.lead.second))
    d = (signs * (best - second) / base).mean(1)
    expected = scipy_stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert found.lead.p == pytest.approx(expected, abs=1e-9)


def test_a_row_that_lacks_a_seed_does_not_lead(tmp_path: Path) -> None:
    made(tmp_path, GAINS, 7)
    (folder,) = {p.parent for p in tmp_path.glob("thin/prototype-*-s3-*/record.json")}
    (folder / "record.json").unlink()
    (folder / "error.txt").write_text("loss of depth became infinite\n")
    found = board(tmp_path)
    assert found.entries[0].label == "prototype" and found.lead and found.lead.best.label == "mtpsl"
    assert captions.verdict(found).startswith("Highest Δm of the rows with every planned seed: mtpsl")
    # Where every method lacks one, the first leads, and is not called sure.
    for method in ("mtpsl", "multi_task"):
        (folder,) = {p.parent for p in tmp_path.glob(f"thin/{method}-*-s2-*/record.json")}
        (folder / "record.json").unlink()
        (folder / "error.txt").write_text("out of memory\n")
    found = board(tmp_path)
    assert found.lead and found.lead.best.label == "prototype"
    assert captions.verdict(found).endswith("Not sure: it lacks a planned seed.")


def test_better_and_worse_than_the_baseline_are_told_apart(tmp_path: Path) -> None:
    made(tmp_path, {"single_task": 0.0, "multi_task": 4.0, "mtpsl": 1.0, "prototype": 8.0}, 8)
    text = captions.baseline(board(tmp_path))
    better, worse = text.split("better than it, after correction: ")[1].split(
        "; worse than it, after correction: "
    )
    assert better.startswith("prototype (p = ") and worse.startswith("mtpsl (p = ")


def test_uneven_times_are_named(tmp_path: Path) -> None:
    made(tmp_path, GAINS, 3)
    assert not any("Times differ" in sentence for sentence in captions.sentences(board(tmp_path)))
    (path,) = tmp_path.glob("thin/mtpsl-*-s1-*/record.json")
    content = json.loads(path.read_text())
    content["cost"]["seconds"] *= 3
    path.write_text(json.dumps(content))
    (said,) = [s for s in captions.sentences(board(tmp_path)) if "Times differ" in s]
    assert "between seeds of mtpsl:" in said


def published(bench: Bench, folder: Path) -> Path:
    """Published records of two methods, made by the command; the folder of their results."""
    made(folder / "runs", {"single_task": 0.0, "multi_task": 2.0}, 2)
    code, out, err = bench(
        "publish", "--all", "--results", folder / "runs", "--published-in", folder / "results"
    )
    assert code == 0, out + err
    return folder / "results"


def test_what_lies_beside_a_record_is_what_was_published(bench: Bench, tmp_path: Path) -> None:
    place = published(bench, tmp_path)
    check = ("leaderboard", "--published", "--published-in", place)
    assert bench(*check)[0] == 0
    files = sorted((place / "records").glob("*.npz"))
    for path in files:
        record = json.loads(path.with_suffix(".json").read_text())
        assert record["files"] == {".npz": digest.of_file(path)} and record["digest"] == digest.of(record)
    first, second = files[:2]
    kept, other = first.read_bytes(), second.read_bytes() + b"."
    first.write_bytes(other)
    code, _, err = bench(*check)
    assert code == 2 and f"{first.name} is not what was published with {first.stem}.json" in err
    first.unlink()
    code, _, err = bench(*check)
    assert code == 2 and first.name in err and "could not be read" in err
    first.write_bytes(kept)
    assert bench(*check)[0] == 0
    # A name that is no file of a record is refused, not followed.
    path = first.with_suffix(".json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(digest.sealed(record | {"files": {"/../../etc/passwd": "0"}})))
    code, _, err = bench(*check)
    assert code == 2 and "files is no table" in err


def test_pictures_are_published_where_they_are_wanted(bench: Bench, tmp_path: Path) -> None:
    for seed in (0, 1):
        make.write_run(tmp_path / "runs", make.record(make.spec("multi_task", seed)))
    call = ("publish", "--all", "--results", tmp_path / "runs", "--published-in", tmp_path / "results")

    def pictures() -> list[Path]:
        records = sorted((tmp_path / "results" / "records").glob("*.json"))
        named = [
            path.with_suffix(".webp") for path in records if ".webp" in json.loads(path.read_text())["files"]
        ]
        assert named == sorted((tmp_path / "results" / "records").glob("*.webp")) and len(records) == 2
        return named

    assert bench(*call)[0] == 0 and len(pictures()) == 1  # of one seed
    kept = pictures()
    assert bench(*call)[0] == 0 and pictures() == kept
    assert bench(*call, "--no-pictures")[0] == 0 and pictures() == []
    assert bench("leaderboard", "--published", "--published-in", tmp_path / "results", "--check")[0] == 1


def test_a_record_without_a_digest_is_named(bench: Bench, tmp_path: Path) -> None:
    place = published(bench, tmp_path)
    assert bench("report", "--published", "--published-in", place)[0] == 0
    path = next(
        p
        for p in (place / "records").glob("*.json")
        if json.loads(p.read_text())["spec"]["method"] == "multi_task"
    )
    record = json.loads(path.read_text())
    del record["digest"]
    path.write_text(json.dumps(record))
    code, out, err = bench("report", "--published", "--published-in", place, "--check")
    assert (
        code == 1
        and "Records without a digest, so that edits of them cannot be told: multi_task" in out + err
    )


def test_numbers_that_json_does_not_know_stand_on_the_page_as_words(tmp_path: Path) -> None:
    s = make.spec("prototype", changed={"kappa": float("inf")})
    make.write_run(tmp_path, make.record(s), published=True, panels=False)
    assert '"kappa":"inf"' in page.html(leaderboard.build(records.collect(tmp_path)), tmp_path)
