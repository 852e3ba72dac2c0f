"""The committed results: what the records give, from clean code, and a quickstart that has learnt something."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.commands.publish import LIMITS
from benchmark.plan import make
from benchmark.spec import run_id
from tests.conftest import ROOT

RECORDS = ROOT / "results" / "records"


def test_the_committed_tables_and_page_are_what_the_records_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "report", "--published", "--check", "--data", "nowhere"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0, capsys.readouterr().out


def test_the_field_is_published_from_clean_code_and_beats_a_constant_prediction(tmp_path: Path) -> None:
    records = [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]
    cells = make(["field"], ["seeds=5"], tmp_path).cells
    assert {spec.id for spec in cells} > {spec.id for spec in make(["quickstart"], [], tmp_path).cells}
    # Of a method that was mended since, the runs of an earlier version stay, as such, until they are run anew.
    versions = [{replace(spec, method_version=v).id for v in range(1, spec.method_version + 1)} for spec in cells]
    field = {r["id"] for r in records} & set().union(*versions)
    assert all(field & of_cell for of_cell in versions)
    for record in records:
        assert record["id"] == run_id(record["spec"]) and record["environment"]["dirty"] is False
    for record in (r for r in records if r["id"] in field):
        for task, about in record["tasks"].items():
            score, constant = (record[kind][task][about["metric"]] for kind in ("metrics", "constant"))
            gain = (score - constant) / constant * (1 if about["higher_is_better"] else -1)
            assert gain >= (0.2 if record["spec"]["method"] == "multi_task" else 0.1), (record["id"], task, score, constant)


def test_published_files_are_small() -> None:
    assert not {p.name for p in RECORDS.iterdir() if p.stat().st_size > LIMITS[p.suffix]}
