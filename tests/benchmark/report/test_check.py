"""Tables and records that cannot be trusted, each detected and named; and what is published, and what not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import leaderboard
from benchmark.report.board import build
from benchmark.report.records import collect
from benchmark.runs import schema
from tests.benchmark.report import make
from tests.conftest import Bench

NAME = "thin-scenes-v1-one"


def tables(folder: Path) -> None:
    """Write the tables of published records, without figures."""
    for name, content in leaderboard.files(build(collect(folder / "records"))).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="\n")


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """Published records of three methods over two seeds, sealed as a run does it, and their tables."""
    for method in ("single_task", "multi_task", "mtpsl"):
        for s in (s for seed in range(2) for s in make.specs(method, seed)):
            make.write_run(tmp_path, schema.sealed(make.record(s, curve=False)), published=True, panels=False)
    tables(tmp_path)
    return tmp_path


def victim(public: Path) -> Path:
    return public / "records" / f"{make.record(make.spec('mtpsl', 1))['id']}.json"


def check(bench: Bench, folder: Path) -> tuple[int, str]:
    code, out, err = bench("leaderboard", "--published", "--published-in", folder, "--check")
    return code, out + err


@pytest.mark.parametrize(
    ("name", "before", "after", "line"),
    [
        (f"leaderboards/{NAME}.csv", ",mtpsl,", ",best,", 2),
        (f"leaderboards/{NAME}.csv", "\n", "\r\n", 1),
        (f"leaderboards/long/{NAME}.csv", ",mIoU,", ",best,", 2),
        (f"tables/{NAME}.md", "| mtpsl |", "| best |", 7),
        (f"tables/{NAME}.tex", "mtpsl & ", "best & ", 13),
    ],
)
def test_a_changed_byte_is_named_by_file_and_line(
    name: str, before: str, after: str, line: int, bench: Bench, public: Path
) -> None:
    path = public / name
    text = path.read_text()
    assert before in text
    path.write_bytes(text.replace(before, after).encode())
    code, said = check(bench, public)
    assert code == 1 and f"{name} differs from its records at line {line}: it has " in said, said
    assert "1 difference; regenerate with `bench leaderboard --published`" in said


def test_missing_and_foreign_files_are_named(bench: Bench, public: Path) -> None:
    (public / "tables" / f"{NAME}.md").unlink()
    (public / "leaderboards" / "old.csv").write_text("gone")
    code, said = check(bench, public)
    assert code == 1 and f"tables/{NAME}.md is missing.\n" in said
    assert "leaderboards/old.csv belongs to no board of these records.\n" in said


def test_tables_follow_the_records(bench: Bench, public: Path) -> None:
    def change(number: int) -> None:
        if number == 2:
            record = schema.sealed(make.record(make.spec("jtr", 0)))
            make.write_run(public, record, published=True, panels=False)
        else:
            victim(public).with_suffix((".npz", ".json")[number]).unlink()

    for number in range(3):
        assert check(bench, public)[0] == 0
        change(number)
        assert check(bench, public)[0] == 1
        tables(public)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda r: r["metrics"]["semseg"].update(mIoU=77.5), "was edited: its content has digest "),
        (lambda r: r.update(summary="better"), "was edited: its content has digest "),
        (lambda r: r["spec"].update(label_seed=5), "but its content has id"),
    ],
)
def test_edits_are_refused(edit: Callable[[Any], None], words: str, bench: Bench, public: Path) -> None:
    content = json.loads(victim(public).read_text())
    edit(content)
    victim(public).write_text(json.dumps(content))
    code, said = check(bench, public)
    assert code == 2 and str(victim(public)) in said and words in said and said.count("\n") == 1


def run(folder: Path) -> Path:
    """One run, with what lies beside its record."""
    return make.write_run(folder / "runs", schema.sealed(make.record(make.spec("mtpsl", 0))))


@pytest.mark.parametrize("fault", ["edited", "without arrays"])
def test_such_a_run_is_not_published(fault: str, bench: Bench, tmp_path: Path) -> None:
    path, public = run(tmp_path), tmp_path / "public"
    if fault == "edited":
        path.write_text(path.read_text().replace('"pixAcc": ', '"pixAcc": 9'))
        words = f"{path} was edited: its content has digest "
    else:
        path.with_name("per_image.npz").unlink()
        words = f"{path.with_name('per_image.npz')} is missing; make the run again"
    at = ("--results", tmp_path / "runs", "--published-in", public)
    assert words in bench("publish", "--all", "--force", *at)[2] and not public.exists()


def test_publishing_replaces_and_adds_nothing_unasked(bench: Bench, tmp_path: Path) -> None:
    record, place = run(tmp_path), tmp_path / "public"
    other = make.write_run(tmp_path / "runs", schema.sealed(make.record(make.spec("multi_task"))))
    call = ("publish", "--results", tmp_path / "runs")
    at = ("--published-in", place)
    assert "--published-in is missing; name the folder" in bench(*call, "--all", "--force")[2]
    assert "name the runs to publish" in bench(*call, *at, "a", "--all", "--force")[2]
    code, out, _ = bench(*call, *at, "--all")
    assert code == 1 and out.count("would add ") == 2 and not place.exists()
    assert "nothing was published (2 to add, 0 to replace, 0 to leave)" in out
    bench.ok(*call, *at, record.parent.name)  # a name asks for it
    (published,) = place.glob("records/*.json")
    before = published.read_bytes()
    bench.ok(*call, *at, record.parent.name)  # the very same
    record.write_text(json.dumps(schema.sealed(json.loads(record.read_text()) | {"images": 3})))
    code, out, _ = bench(*call, *at, record.parent.name, other.parent.name)
    assert code == 1 and "(1 to add, 1 to replace, 0 to leave)" in out and published.read_bytes() == before
    bench.ok(*call, *at, "--all", "--force")
    assert json.loads(published.read_text())["images"] == 3 and len([*place.glob("records/*.json")]) == 2


def test_labels_of_ones_own_are_published_by_name_first(bench: Bench, tmp_path: Path) -> None:
    """A variant that nobody else has, by --variant or SOURCE.json, is no part of --all until it is there."""
    run(tmp_path)
    variant = {"dataset": "nyuv2", "variant": "nyuv2-13-mine"}
    made = [schema.sealed(make.record(make.spec("multi_task", seed) | variant)) for seed in (0, 1)]
    names = [make.write_run(tmp_path / "runs", record).parent.name for record in made]
    call = ("publish", "--results", tmp_path / "runs", "--published-in", tmp_path / "public")
    left = "left out 2 runs of data, labels or methods of your own, such as multi_task"
    assert left in bench.ok(*call, "--all", "--force")
    assert len([*tmp_path.glob("public/records/*.json")]) == 1
    assert bench.ok(*call, names[0]) and bench.ok(*call, "--all", "--force")
    assert len([*tmp_path.glob("public/records/*.json")]) == 3


def test_files_beside_a_record_must_be_those_that_were_published(bench: Bench, tmp_path: Path) -> None:
    run(tmp_path)
    place = tmp_path / "public"
    call = ("publish", "--all", "--force", "--results", tmp_path / "runs", "--published-in", place)
    assert bench.ok(*call) and len([*place.glob("records/*.webp")]) == 1
    tables(place)
    (path,) = place.glob("records/*.npz")
    record = path.with_suffix(".json")
    kept = path.read_bytes()
    path.write_bytes(kept + b".")
    code, said = check(bench, place)
    assert code == 2 and f"{path.name} is not what was published with {record.name}" in said
    path.unlink()
    code, said = check(bench, place)
    assert code == 2 and path.name in said and "could not be read" in said
    path.write_bytes(kept)
    assert check(bench, place)[0] == 0
    # A name that is no file of a record is refused, not followed.
    content = json.loads(record.read_text())
    record.write_text(json.dumps(schema.sealed(content | {"files": {"/../../etc/passwd": "0"}})))
    code, said = check(bench, place)
    assert code == 2 and "files is no table" in said
    record.write_text(json.dumps(content))
    assert bench.ok(*call, "--no-pictures") and not [*place.glob("records/*.webp")]


def test_a_digest_survives_the_file_and_numbers_as_keys() -> None:
    record = {"a": {10: 1.5, 9: [0.1 + 0.2, -0.0, 1e-300, 12345678901234567]}, "b": "Δm", "c": None}
    sealed = schema.sealed(record)
    again = json.loads(json.dumps(sealed, indent=3))
    assert schema.digest_of(again) == sealed["digest"] != schema.digest_of(again | {"b": "Δ"})
