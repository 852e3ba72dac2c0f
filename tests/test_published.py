"""The committed results: what the records give, from clean code, and networks that have learnt something."""

import json
import sys

import pytest

from benchmark.cli.app import main
from benchmark.cli.publish import LIMITS
from benchmark.spec.run import run_id
from tests.conftest import ROOT

RECORDS = ROOT / "results" / "records"


def test_the_committed_tables_and_page_are_what_the_records_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "report", "--published", "--check", "--data", "nowhere"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0, capsys.readouterr().out


def test_records_are_of_clean_code_and_pretrained_networks_beat_a_constant_prediction() -> None:
    records = [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]
    assert records
    for record in records:
        assert record["id"] == run_id(record["spec"]) and record["environment"]["dirty"] is False
    for record in (r for r in records if r["spec"]["protocol"].get("weights", "none") != "none"):
        for task, about in record["tasks"].items():
            score, constant = (record[kind][task][about["metric"]] for kind in ("metrics", "constant"))
            gain = (score - constant) / constant * (1 if about["higher_is_better"] else -1)
            assert gain >= (0.2 if record["spec"]["method"] == "multi_task" else 0.1), (
                record["id"],
                task,
                score,
                constant,
            )


def test_published_files_are_small() -> None:
    assert not {p.name for p in RECORDS.iterdir() if p.stat().st_size > LIMITS[p.suffix]}
