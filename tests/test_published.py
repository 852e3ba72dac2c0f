"""The committed records: small, from clean code, and of networks that have learnt something."""

import json

from benchmark.cli.publish import LIMITS
from benchmark.report import overview
from benchmark.report.board import build
from benchmark.report.records import collect
from benchmark.spec.run import run_id
from tests.conftest import ROOT

RECORDS = ROOT / "results" / "records"


def test_records_are_of_clean_code_and_pretrained_networks_beat_a_constant_prediction() -> None:
    records = [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]
    assert records
    for record in records:
        assert record["id"] == run_id(record["spec"]) and record["environment"]["dirty"] is False
    for record in (r for r in records if r["spec"]["protocol"].get("weights", "none") != "none"):
        for task, about in record["tasks"].items():
            score, constant = (record[kind][task][about["metric"]] for kind in ("metrics", "constant"))
            gain = (score - constant) / constant * (1 if about["higher_is_better"] else -1)
            least = 0.2 if record["spec"]["method"] == "multi_task" else 0.1
            assert gain >= least, (record["id"], task, score, constant)


def test_published_files_are_small() -> None:
    assert not {p.name for p in RECORDS.iterdir() if p.stat().st_size > LIMITS[p.suffix]}


def test_the_readme_begins_with_what_the_first_board_says() -> None:
    asked = overview.asked(overview.listed(build(collect(ROOT / "results"))))
    assert asked
    board, answers = asked
    start, _, _ = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Two commands")
    said = " ".join(start.split())
    for text in (overview.headline(answers), *(f"{a.sentence} The first costs {a.costs}." for a in answers)):
        assert text in said, f"README.md does not begin with: {text}"
    figure = f"results/figures/{board.name}/contrasts.png"
    assert start.count("](results/figures/") == start.count(f"]({figure})") == 1 and (ROOT / figure).is_file()
