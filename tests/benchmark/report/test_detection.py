"""Tables and records that cannot be trusted: each is detected, and named, by the command line."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.report import leaderboard, origins
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.runs import digest
from benchmark.spec import registry
from tests.benchmark.report import make, test_images
from tests.conftest import Bench

NAME = "thin-scenes-v1-one"


def publish(folder: Path, edit: Callable[[dict[str, Any]], None] = lambda r: None, **values: Any) -> None:
    """Records of three methods over two seeds, sealed as a run does it."""
    for method in ("single_task", "multi_task", "mtpsl"):
        for seed in range(2):
            for s in make.specs(method, seed, **values):
                record = make.record(s, curve=False)
                edit(record)
                make.write_run(folder, digest.sealed(record), published=True, panels=False)


def tables(folder: Path) -> list[Board]:
    """Write the tables of published records, without figures."""
    boards = build(collect(folder / "records"))
    for name, content in leaderboard.files(boards).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
    return boards


@pytest.fixture
def public(tmp_path: Path) -> Path:
    publish(tmp_path)
    tables(tmp_path)
    return tmp_path


def check(bench: Bench, folder: Path) -> tuple[int, str]:
    code, out, err = bench("leaderboard", "--published", "--published-in", folder, "--check")
    return code, out + err


def test_nothing_is_found_where_nothing_is(bench: Bench, public: Path) -> None:
    code, said = check(bench, public)
    assert code == 0 and said == f"the tables in {public} are what the records give.\n"


def test_a_cell_of_the_csv(bench: Bench, public: Path) -> None:
    path = public / "leaderboards" / f"{NAME}.csv"
    value = next(
        line["depth_absErr_sd"]
        for line in csv.DictReader(path.read_text().splitlines())
        if line["method"] == "mtpsl"
    )
    path.write_text(path.read_text().replace(value, "0.5"))
    code, said = check(bench, public)
    wanted = (
        f"leaderboards/{NAME}.csv differs: depth_absErr_sd of mtpsl is '0.5' on disk, {value!r} from "
        f"the records.\n"
    )
    assert (
        code == 1
        and said.startswith(wanted)
        and "1 difference; regenerate with `bench leaderboard --published`" in said
    )


def test_a_cell_of_the_long_form(bench: Bench, public: Path) -> None:
    path = public / "leaderboards" / "long" / f"{NAME}.csv"
    lines = path.read_text().splitlines()
    at = next(
        i for i, line in enumerate(lines) if line.startswith("mtpsl,") and ",1,1,1,done,normals,mErr," in line
    )
    cells = lines[at].split(",")
    value, cells[11] = cells[11], "7"
    path.write_text("\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :], ""]))
    code, said = check(bench, public)
    wanted = (
        f"leaderboards/long/{NAME}.csv differs: value of mtpsl 1 1 1 normals mErr is '7' on disk, "
        f"{value!r} from the records.\n"
    )
    assert code == 1 and said.startswith(wanted)


@pytest.mark.parametrize(
    ("suffix", "column"),
    [("md", "depth absErr (m) ↓"), ("tex", "depth absErr (m)"), ("md", "Δm (%)"), ("tex", "Δm (%)")],
)
def test_a_cell_of_a_text_table(suffix: str, column: str, bench: Bench, public: Path) -> None:
    path = public / "tables" / f"{NAME}.{suffix}"
    lines = path.read_text().splitlines()
    between = " | " if suffix == "md" else " & "
    at = next(i for i, line in enumerate(lines) if line.removeprefix("| ").startswith(f"mtpsl{between}"))
    header = next(line for line in lines if line.removeprefix("| ").startswith(f"method{between}"))
    names = header.split(between)
    i = next(
        i
        for i, name in enumerate(names)
        if column.split()[0].replace("Δm", "Δm" if suffix == "md" else "Delta") in name
    )
    cells = lines[at].split(between)
    value, cells[i] = cells[i], "99.9"
    path.write_text("\n".join([*lines[:at], between.join(cells), *lines[at + 1 :], ""]))
    code, said = check(bench, public)
    assert (
        code == 1
        and f"tables/{NAME}.{suffix} differs: {column} of mtpsl is '99.9' on disk, {value!r} from the" in said
    ), said
    assert f"(line {at + 1})" in said


def test_lines_and_columns(bench: Bench, public: Path) -> None:
    """Rows taken out, put in, renamed; a column taken out; a sentence changed; the order and the line
    ends.
    """
    path, text = (
        public / "leaderboards" / f"{NAME}.csv",
        (public / "leaderboards" / f"{NAME}.csv").read_text(),
    )
    lines = text.splitlines(keepends=True)
    mine = next(line for line in lines if ",mtpsl," in line)
    document = public / "tables" / f"{NAME}.md"
    prose = document.read_text()
    for file, content, sentence in (
        (path, text.replace(mine, ""), "differs: the row mtpsl is missing."),
        (path, text + mine.replace(",mtpsl,", ",best,"), "differs: the row best is not from the records."),
        (
            path,
            text.replace(",mtpsl,", ",best,"),
            "differs: method of mtpsl is 'best' on disk, 'mtpsl' from the records.",
        ),
        (path, text.replace(",rho,", ",r,"), "differs: the column rho is missing."),
        (
            path,
            text.replace("\n", "\r\n"),
            "differs: the lines are the same, but not their order, number, ends or quotes.",
        ),
        (
            path,
            "".join([lines[0], *reversed(lines[1:])]),
            "differs: the lines are the same, but not their order",
        ),
        (path, "", "differs: the column tier is missing."),
        (
            document,
            prose.replace("nothing is ranked", "all is ranked"),
            "is '- 2 seeds: development, all is ranked (5 seeds",
        ),
        (document, prose + "- I am the best.\n", "is not from the records: '- I am the best.'."),
        (document, prose[: prose.index("\n## ")], "differs in "),
    ):
        file.write_bytes(content.encode())
        code, said = check(bench, public)
        assert code == 1 and sentence in said and f"{file.relative_to(public)} differs" in said, said
        path.write_text(text)
        document.write_text(prose)
    # Of a file that differs everywhere, a few cells are named and the others counted.
    path.write_text(text.replace("scenes-v1", "other"))
    assert f"leaderboards/{NAME}.csv differs in 1 more place." in check(bench, public)[1]


def test_a_missing_record_is_named_by_its_id(bench: Bench, public: Path) -> None:
    gone = make.record(make.spec("mtpsl", 1))["id"]
    (public / "records" / f"{gone}.json").unlink()
    code, said = check(bench, public)
    first = said.splitlines()[0]
    assert (
        code == 1
        and first == f"leaderboards/{NAME}.csv names the run {gone} of mtpsl, which has no record any more."
    )
    assert "n_seeds of mtpsl is '2' on disk, '1' from the records" in said
    # A part of a seed is enough, and so is a whole board.
    part = make.record(make.specs("single_task", 0)[1])["id"]
    (public / "records" / f"{part}.json").unlink()
    assert f"names the run {part} of single_task, which has no record any more." in check(bench, public)[1]
    publish(public, labels="random")
    tables(public)
    for path in (public / "records").glob("*.json"):
        if json.loads(path.read_text())["spec"]["labels"] == "random":
            path.unlink()
    code, said = check(bench, public)
    assert code == 1 and said.count("which has no record any more") == 10
    assert "tables/thin-scenes-v1-random.tex belongs to no board of these records." in said
    assert "leaderboards/long/thin-scenes-v1-random.csv belongs to no board of these records." in said
    # Making the tables again takes those of the board that is gone away, all four.
    assert bench("leaderboard", "--published", "--published-in", public)[0] == 0
    assert check(bench, public)[0] == 0 and not list(public.rglob("*random*.*"))


def test_a_record_without_a_row_is_named(bench: Bench, public: Path) -> None:
    record = make.record(make.spec("jtr", 0))
    make.write_run(public, record, published=True, panels=False)
    code, said = check(bench, public)
    assert (
        code == 1
        and f"leaderboards/{NAME}.csv does not name the run {record['id']} of jtr, which has a record.\n"
        in said
    )


def test_missing_statistics_of_images_are_named(bench: Bench, tmp_path: Path) -> None:
    test_images.write(tmp_path / "runs")
    (tmp_path / "records").mkdir()
    for path in (tmp_path / "runs").glob("*/*/record.json"):
        name = json.loads(path.read_text())["id"]
        shutil.copy(path, tmp_path / "records" / f"{name}.json")
        shutil.copy(path.with_name("per_image.npz"), tmp_path / "records" / f"{name}.npz")
    tables(tmp_path)
    assert check(bench, tmp_path)[0] == 0
    gone = make.record(make.spec("mtpsl", 1))["id"]
    (tmp_path / "records" / f"{gone}.npz").unlink()
    code, said = check(bench, tmp_path)
    assert (
        code == 1
        and "differs: delta_m_images_low of mtpsl is '" in said
        and "on disk, '' from the records" in said
    )
    sentence = (
        f"Without statistics of single images, so without intervals over test images: mtpsl (run {gone})."
    )
    assert f"warning: {NAME}: {sentence}" in said
    tables(tmp_path)
    assert f"- {sentence}" in (tmp_path / "tables" / f"{NAME}.md").read_text()
    assert check(bench, tmp_path)[0] == 0


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r["metrics"]["semseg"].update(pixAcc=77.5),
        lambda r: r["metrics"]["semseg"].update(mIoU=77.5),
        lambda r: r["constant"]["depth"].update(absErr=0.1),
        lambda r: r["cost"].update(seconds=0.1),
        lambda r: r["environment"].update(dirty=True),
        lambda r: r["hashes"].update(order="other"),
        lambda r: r.update(summary="better"),
    ],
)
def test_an_edited_record_is_refused(
    edit: Callable[[dict[str, Any]], None], bench: Bench, public: Path
) -> None:
    path = public / "records" / f"{make.record(make.spec('mtpsl', 1))['id']}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    code, said = check(bench, public)
    assert code == 2 and f"{path} was edited: its content has digest " in said and said.count("\n") == 1
    del content["digest"]  # one made before records had a digest
    path.write_text(json.dumps(content))
    assert check(bench, public)[0] in (0, 1)


def test_a_record_under_another_id_is_refused(bench: Bench, public: Path) -> None:
    path = public / "records" / f"{make.record(make.spec('mtpsl', 1))['id']}.json"
    content = json.loads(path.read_text())
    content["spec"]["label_seed"] = 5
    path.write_text(json.dumps(content))
    code, said = check(bench, public)
    assert code == 2 and f"{path} says id {path.stem}, but its content has id" in said


def test_an_edited_run_is_not_published(bench: Bench, tmp_path: Path) -> None:
    record = digest.sealed(make.record(make.spec("mtpsl", 0)))
    record["metrics"]["semseg"]["pixAcc"] = 99.0
    path = make.write_run(tmp_path / "runs", record)
    code, _, err = bench(
        "publish", "--all", "--results", tmp_path / "runs", "--published-in", tmp_path / "public"
    )
    assert (
        code == 2
        and f"{path} was edited: its digest is not that of its content; run it again with --force." in err
    )
    assert not (tmp_path / "public").exists()


def test_a_run_without_its_arrays_is_not_published(bench: Bench, tmp_path: Path) -> None:
    path = make.write_run(tmp_path / "runs", digest.sealed(make.record(make.spec("mtpsl", 0))))
    path.with_name("per_image.npz").unlink()
    code, out, err = bench(
        "publish", "--all", "--results", tmp_path / "runs", "--published-in", tmp_path / "public"
    )
    assert (
        code == 2
        and f"{path.with_name('per_image.npz')} is missing; make the run again" in err
        and "Traceback" not in out + err
    )
    assert not (tmp_path / "public").exists()


def test_a_digest_survives_the_file_and_numbers_as_keys() -> None:
    record = {"a": {10: 1.5, 9: [0.1 + 0.2, -0.0, 1e-300, 12345678901234567]}, "b": "Δm", "c": None}
    sealed = digest.sealed(record)
    again = json.loads(json.dumps(sealed, indent=3))
    assert digest.of(again) == sealed["digest"] != digest.of(again | {"b": "Δ"})


@pytest.mark.parametrize("values", [{"version": 0}, {"epochs": 7}])
def test_mixed_protocols_are_apart_and_named(values: dict[str, int], bench: Bench, public: Path) -> None:
    publish(public, protocol=values)
    boards = tables(public)
    assert len(boards) == 2 and len({b.name for b in boards}) == 2
    other = next(b.name for b in boards if b.name != NAME)
    title = "thin v0 (shipped: v1)" if "version" in values else "thin v1 (epochs=7)"
    code, said = check(bench, public)
    both = sorted([f"{title} in {other}", f"thin v1 in {NAME}"], key=lambda t: t.split(" in ")[1])
    assert code == 0 and f"warning: Not compared with each other: {'; '.join(both)}." in said
    text = (public / "tables" / f"{other}.md").read_text()
    sentence = (
        "Other version of the protocol: these are runs of thin v0, which is at v1 now; runs of that "
        "have a board"
    )
    assert (sentence in text and f"warning: {other}: {sentence}" in said) == ("version" in values)
    assert sentence not in (public / "tables" / f"{NAME}.md").read_text()
    code, out, _ = bench("leaderboard", "--published", "--published-in", public)
    assert code == 0 and f"note: Not compared with each other: {'; '.join(both)}." in out


def test_uncommitted_changes_are_named(bench: Bench, tmp_path: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["environment"]["dirty"] = (
            record["spec"]["method"] == "mtpsl" and record["spec"]["label_seed"] == 1
        )

    publish(tmp_path, edit)
    sentence = "Computed with uncommitted changes: mtpsl."
    code, out, _ = bench("leaderboard", "--published", "--published-in", tmp_path)
    assert (
        code == 0 and sentence in out and f"- {sentence}" in (tmp_path / "tables" / f"{NAME}.md").read_text()
    )
    assert sentence in (tmp_path / "tables" / f"{NAME}.tex").read_text()
    lines = csv.DictReader((tmp_path / "leaderboards" / f"{NAME}.csv").read_text().splitlines())
    assert {line["method"]: line["dirty"] for line in lines} == {
        "single_task": "no", "multi_task": "no", "mtpsl": "yes", "constant": "",
    }  # fmt: skip
    code, said = check(bench, tmp_path)
    assert code == 0 and f"warning: {NAME}: {sentence}\n" in said
    code, out, _ = bench("leaderboard", "--published", "--published-in", tmp_path, "--check", "--json")
    assert json.loads(out) == {"differences": [], "warnings": [f"{NAME}: {sentence}"]}


def test_other_code_is_named_and_no_difference(bench: Bench, tmp_path: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        method, seed = record["spec"]["method"], record["spec"]["label_seed"]
        record["source"] = "0123456789ab" if (method, seed) == ("mtpsl", 1) else registry.source_hash(method)

    publish(tmp_path, edit)
    code, out, _ = bench("leaderboard", "--published", "--published-in", tmp_path)
    sentence = "Computed by other code: mtpsl (1 of 2 runs). The method's source is another today"
    mixed = "The runs of one row were not all computed by the same code: mtpsl."
    assert code == 0 and sentence in out and mixed in out
    code, said = check(bench, tmp_path)
    assert code == 0 and f"warning: {NAME}: {sentence}" in said and f"warning: {NAME}: {mixed}" in said
    # What today's code is like is no part of a table; that the runs of a row differ is.
    text = (tmp_path / "tables" / f"{NAME}.md").read_text()
    assert f"- {mixed}" in text and "Computed by other code" not in text


def test_an_older_version_is_not_told_twice(tmp_path: Path) -> None:
    for version in (1, 2):
        record = make.record(make.spec("multi_task", 0, method_version=version))
        make.write_run(tmp_path, record | {"source": f"of v{version}"}, panels=False)
    (board,) = build(collect(tmp_path))
    assert origins.other_code(board, {"multi_task": "of v2"}) == "" and "v2" not in origins.other_code(
        board, {}
    )
    assert "other code: multi_task. The" in origins.other_code(board, {"multi_task": "of v3"})


def test_many_ids_are_counted(tmp_path: Path) -> None:
    publish(tmp_path)
    for path in (tmp_path / "records").glob("*.npz"):
        path.unlink()
    (board,) = build(collect(tmp_path))
    (sentence,) = origins.sentences(board)
    assert "single_task (runs " in sentence and " and 3 more)" in sentence and sentence.count("mtpsl") == 1
    assert np.all(
        [e.beside.images is None or not any(e.beside.images.scores.values()) for e in board.entries]
    )
