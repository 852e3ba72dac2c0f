"""Reading records: both layouts, damaged files, and records that must not be compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.report.grouping import group, row_label
from benchmark.report.records import collect
from tests.benchmark.report import make


def test_both_layouts_give_the_same_records(tmp_path: Path) -> None:
    make.write_board(tmp_path / "runs", seeds=2)
    make.write_board(tmp_path / "published", seeds=2, published=True)
    runs, published = collect(tmp_path / "runs"), collect(tmp_path / "published")
    assert len(runs.records) == 2 * (3 + 4)
    contents = [{r.id: r.content for r in collection.records} for collection in (runs, published)]
    assert contents[0] == contents[1]
    assert {r.id for r in collect(tmp_path / "published" / "records").records} == set(contents[0])
    for record in (*runs.records, *published.records):
        assert record.arrays is not None
        assert (record.panel is not None) == (record.spec["label_seed"] == 0)


def test_states(tmp_path: Path) -> None:
    make.write_failure(tmp_path, make.spec("mtpsl", 1))
    make.write_failure(tmp_path, make.spec("mtpsl", 2), "ValueError: no\nTraceback (most recent\n  File ...")
    running = make.run_folder(tmp_path, make.spec("mtpsl", 3))
    running.mkdir(parents=True)
    (running / "spec.json").write_text(json.dumps(make.spec("mtpsl", 3)))
    done = make.write_run(tmp_path, make.record(make.spec("mtpsl", 4)))
    (done.parent / "error.txt").write_text("an earlier attempt")
    found = collect(tmp_path)
    assert [r.spec["label_seed"] for r in found.records] == [4]
    reasons = {f.spec["label_seed"]: f.reason for f in found.failures}
    assert reasons == {1: make.XTC, 2: "ValueError: no"}
    (tmp_path / "empty").mkdir()
    assert collect(tmp_path / "empty").records == ()
    with pytest.raises(UserError, match=r"no results folder.*nowhere"):
        collect(tmp_path / "nowhere")


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    record = make.record(make.spec("multi_task"))
    change(record)
    return json.dumps(record)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(lambda r: None)[:300], "truncated or not JSON"),
        ("[" * 100_000, "truncated or not JSON"),
        ("[]", "holds no JSON object"),
        (broken(lambda r: r.update(schema=2)), "record schema 2, not 1"),
        (broken(lambda r: r["spec"].pop("labels")), "spec.labels is missing;"),
        (broken(lambda r: r["metrics"]["depth"].update(absErr="x")), "absErr is 'x'; expected a"),
        (broken(lambda r: r["metrics"].pop("depth")), "metrics.depth is missing;"),
        (broken(lambda r: r["diagnostics"].update(a=[1])), "diagnostics.a is [1]; expected a table"),
        (broken(lambda r: r["spec"].update(changed=["depht"])), "spec.hyperparameters.depht is missing"),
        (broken(lambda r: r["spec"].update(labels="random")), "but its content has id"),
        (json.dumps(make.record(make.spec("multi_task", 1))), "as its name says"),
    ],
)
def test_damaged_records_are_named(content: str, message: str, published: bool, tmp_path: Path) -> None:
    path = make.write_run(tmp_path, make.record(make.spec("multi_task")), published, panels=False)
    path.write_text(content)
    with pytest.raises(UserError) as error:
        collect(tmp_path)
    assert str(path) in str(error.value) and message in str(error.value)
    assert ("publish the run again" if published else "remove the folder") in str(error.value)


@pytest.mark.parametrize("value", [None, "missing"])
def test_a_run_without_a_score_is_a_failure(value: object, tmp_path: Path) -> None:
    record = make.record(make.spec("mtpsl", 1))
    record["metrics"]["depth"]["absErr"] = value
    if value == "missing":
        del record["metrics"]["depth"]["absErr"]
    path = make.write_run(tmp_path, record)
    make.write_run(tmp_path, make.record(make.spec("mtpsl", 0)))
    (failure,) = (found := collect(tmp_path)).failures
    assert (failure.path, failure.reason) == (path, "its absErr of depth is undefined")
    (row,) = group(found)[0].rows
    assert list(row.seeds) == [(0, 0)] and list(row.failed) == [(1, 1)]


@pytest.mark.parametrize(
    ("key", "message"), [("data", "data"), ("test_data", "data"), ("labels", "labels under label seed 0")]
)
def test_rows_on_other_data_or_labels_are_refused(key: str, message: str, tmp_path: Path) -> None:
    record = make.record(make.spec("mtpsl"))
    record["hashes"][key] = "other"
    paths = [make.write_run(tmp_path, make.record(make.spec("multi_task"))), make.write_run(tmp_path, record)]
    with pytest.raises(UserError, match=f"different {message}") as error:
        group(collect(tmp_path))
    assert all(str(path) in str(error.value) for path in paths)


def test_other_settings_make_other_groups(tmp_path: Path) -> None:
    make.write(tmp_path, "mtpsl")
    # Allowed: another label setting.
    make.write(tmp_path, "mtpsl", labels="random", edit=lambda r: r["hashes"].update(labels="other"))
    make.write(tmp_path, "mtpsl", protocol={"epochs": 3.0})
    # Neither prose nor a key at its default makes another protocol.
    older = make.spec("multi_task", protocol={"summary": "other words"})
    assert older["protocol"].pop("batch") == 8
    make.write_run(tmp_path, make.record(older))
    groups = group(collect(tmp_path))
    found = sorted((g.labels, g.protocol["epochs"], len(g.rows)) for g in groups)
    assert found == [("one", 3.0, 1), ("one", 6.0, 2), ("random", 6.0, 1)]


def test_one_task_runs_make_a_seed_when_all_are_in(tmp_path: Path) -> None:
    whole, partial = make.specs("single_task", 0), make.specs("single_task", 1)[:2]
    for s in (*whole, *partial):
        make.write_run(tmp_path, make.record(s))
    (row,) = group(collect(tmp_path))[0].rows
    assert list(row.seeds) == [(0, 0)] and row.partial == {(1, 1): ("normals",)} and row.failed == {}
    costs = [make.record(s)["cost"] for s in whole]
    cost = row.seeds[0, 0].cost
    assert cost["seconds"] == pytest.approx(sum(c["seconds"] for c in costs))
    assert cost["params_train"] == sum(c["params_train"] for c in costs)
    assert cost["peak_gib"] == max(c["peak_gib"] for c in costs)
    make.write_failure(tmp_path, make.specs("single_task", 1)[2])
    (row,) = group(collect(tmp_path))[0].rows
    assert list(row.failed) == [(1, 1)] and row.partial == {}


def test_row_labels_show_only_what_differs() -> None:
    def label(index: int, *changed: dict[str, Any], balance: tuple[str, ...] = ("equal",) * 3) -> str:
        specs = [make.spec("prototype", changed=c, balance=b) for c, b in zip(changed, balance, strict=False)]
        return row_label(specs[index], specs)

    assert label(0, {}, {"tke": False}) == "prototype"
    assert label(1, {}, {"tke": False}) == "prototype(tke=false)"
    assert label(0, {"codes": 64}) == "prototype"
    assert label(1, {"codes": 64}, {"codes": 64, "tke": False}) == "prototype(tke=false)"
    assert label(1, {"codes": 64}, {"codes": 16, "tke": False}) == "prototype(codes=16, tke=false)"
    assert label(1, {}, {}, balance=("equal", "dwa")) == "prototype(balance=dwa)"
    assert label(0, {}, balance=("dwa",)) == "prototype"
    weighted = [make.spec("prototype", balance="amtl_g", weighting=w) for w in ({}, {"gamma": 1.0})]
    assert row_label(weighted[1], weighted) == "prototype(amtl_g.gamma=1.0)"
    weighted.append(make.spec("prototype"))
    assert row_label(weighted[1], weighted) == "prototype(amtl_g.gamma=1.0, balance=amtl_g)"
