"""The page as text: whole, closed, self-contained, safe against what records say, the same bytes twice, and
checked.
"""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import leaderboard, page, records
from benchmark.report.board import Board
from benchmark.report.page import assets, figures
from benchmark.report.tables import csv_text
from tests.benchmark.report import make
from tests.conftest import Bench

VOID = {"meta", "link", "br", "img", "wbr", "input", "hr"}


class Reader(HTMLParser):
    """Checks that elements close in order; keeps attributes and the texts of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def boards_in(folder: Path) -> list[Board]:
    return leaderboard.build(records.collect(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published records of one board with its tables, figures and page."""
    place: Path = tmp_path_factory.mktemp("results")
    make.write_board(place, published=True)
    boards = boards_in(place)
    leaderboard.write(boards, place, complete=True)
    (place / page.NAME).write_text(page.html(boards, place), encoding="utf-8", newline="\n")
    return place


def test_whole_and_self_contained(folder: Path) -> None:
    reader = read((folder / page.NAME).read_text(encoding="utf-8"))
    sources = [
        value
        for _, a in reader.elements
        for key, value in a.items()
        if key in ("src", "srcset", "action", "poster")
    ]
    assert sources and all(str(value).startswith("data:") for value in sources)
    links = [a["href"] for tag, a in reader.elements if tag == "a"]
    names = {a["id"] for _, a in reader.elements if "id" in a}
    inside = {str(link)[1:] for link in links if str(link).startswith("#")}
    assert len([a for _, a in reader.elements if "id" in a]) == len(names)  # no id twice
    assert {name for name in inside if not name.startswith("run-")} <= names
    runs = {path.stem for path in (folder / "records").glob("*.json")}
    assert {name.removeprefix("run-") for name in inside if name.startswith("run-")} == runs
    assert all(a.get("alt") for tag, a in reader.elements if tag == "img")
    assert [
        tag for tag, a in reader.elements if tag in ("link", "iframe", "object") and a.get("href") != "data:,"
    ] == []


def test_its_numbers_are_those_of_the_table(folder: Path) -> None:
    (board,) = boards_in(folder)
    reader = read((folder / page.NAME).read_text(encoding="utf-8"))
    cells = [a["data-order"] for tag, a in reader.elements if tag == "td" and "data-order" in a]
    for row in csv.DictReader(io.StringIO(csv_text(board))):
        if row["method"] != "constant":
            for name in (
                "delta_m",
                "semseg_mIoU_mean",
                "depth_absErr_mean",
                "normals_mErr_mean",
                "seconds",
                "params_infer",
            ):
                assert any(float(c) == pytest.approx(float(row[name]), rel=1e-5) for c in cells if c), (
                    row["method"],
                    name,
                )


def test_the_board_of_most_seeds_comes_first(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=3, labels="one")
    make.write_board(tmp_path, seeds=5, labels="random")
    reader = read(page.html(boards_in(tmp_path), tmp_path))
    assert [a["data-labels"] for _, a in reader.elements if "data-labels" in a] == ["random", "one"]


def test_the_drill_down_holds_what_the_records_hold(folder: Path) -> None:
    text = (folder / page.NAME).read_text(encoding="utf-8")
    match = re.search(r'<script type="application/json" id="runs">(.*?)</script>', text, re.S)
    assert match
    runs = json.loads(match[1])
    for path in (folder / "records").glob("*.json"):
        record = json.loads(path.read_text())
        run = runs[record["id"]]
        assert {name: task["metrics"] for name, task in run["tasks"].items()} == record["metrics"]
        assert run["curve"] == record["curve"] and run["environment"] == record["environment"]
        assert (
            run["hyperparameters"] == record["spec"]["hyperparameters"] and run["hashes"] == record["hashes"]
        )


def test_texts_of_records_stay_texts(tmp_path: Path) -> None:
    evil = '</script><img src="https://example.org/x" onerror="alert(1)">&'
    content = make.record(make.spec("prototype", changed={"note": evil}))
    content["environment"]["commit"] = evil
    content["tasks"] = {task: info | {"unit": "</td><b>"} for task, info in content["tasks"].items()}
    make.write_run(tmp_path, content, published=True)
    text = page.html(boards_in(tmp_path), tmp_path)
    reader = read(text)
    assert not any(tag in ("img", "b") for tag, _ in reader.elements)
    assert "alert(1)" in "".join(reader.texts) and "\\u003c/script>" in text


def test_the_same_bytes_twice(folder: Path) -> None:
    assert page.html(boards_in(folder), folder) == (folder / page.NAME).read_text(encoding="utf-8")
    assert str(folder) not in (folder / page.NAME).read_text(encoding="utf-8")


def test_a_difference_is_named(folder: Path, tmp_path: Path) -> None:
    boards, place = boards_in(folder), tmp_path / page.NAME
    text = (folder / page.NAME).read_text(encoding="utf-8")
    (tmp_path / "figures").symlink_to(folder / "figures")
    assert page.differences(boards, tmp_path) == ["index.html is missing."]
    place.write_text(text, encoding="utf-8")
    assert page.differences(boards, tmp_path) == []
    # Pixels may differ between machines; words may not.
    place.write_text(re.sub(r'src="data:image[^"]*"', 'src="data:image/png,other"', text), encoding="utf-8")
    assert page.differences(boards, tmp_path) == []
    before = next(m[0] for m in re.finditer(r"<strong>\+\d\.\d</strong>", text))
    place.write_text(text.replace(before, "<strong>+99.9</strong>", 1), encoding="utf-8")
    (found,) = page.differences(boards, tmp_path)
    assert "differs in thin-scenes-v1-one:" in found and "+99.9" in found and before[8:12] in found
    place.write_text(text + "more", encoding="utf-8")
    assert len(page.differences(boards, tmp_path)) == 1


def test_figures_in_their_order_and_large_ones_as_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (board,) = boards_in(folder)
    drawn = figures.of_board(folder, board.name)
    names = [figure.name for figure in drawn]
    assert names[:2] == ["delta_m", "changes"] and len(set(names)) == len(names)
    assert {p.stem for p in (folder / "figures" / board.name).glob("*.png")} == set(names)
    (first,) = [figure.source for figure in drawn if figure.name == "delta_m"]
    assert (
        first.startswith("data:image/svg+xml,") and '"' not in first and "<" not in first and "#" not in first
    )
    monkeypatch.setattr(figures, "MAX_SVG", 0)
    assert all(
        figure.source.startswith("data:image/webp;base64,") for figure in figures.of_board(folder, board.name)
    )


def test_the_library_is_whole_and_cannot_end_its_element() -> None:
    script = assets.library()
    assert len(script) > 300_000 and "window.DataTable" in script
    assert "SpryMedia" in script and "jQuery" in script  # its licences
    assert "</script" not in script.lower() and not re.search(r"\bexport\s*\{", script)


def test_the_command(bench: Bench, tmp_path: Path) -> None:
    place: list[Any] = ["--published", "--published-in", tmp_path]
    code, _, err = bench("report", *place)
    assert code == 2 and "no run is published" in err
    for s in (*make.specs("single_task", 0), *make.specs("multi_task", 0)):
        make.write_run(tmp_path, make.record(s, curve=False), published=True, panels=False)
    code, out, err = bench("report", *place, "--json")
    assert code == 0 and json.loads(out)["page"] == str(tmp_path / page.NAME), err
    assert bench("report", *place, "--check")[0] == 0
    code, out, err = bench("report", *place, "--check", "--figures", "--json")
    assert (code, json.loads(out)["differences"]) == (0, []), err
    assert bench("report", *place, "--figures")[0] == 2
    # One edit of each kind of file.
    (table,) = (tmp_path / "leaderboards").glob("*.csv")
    table.write_text(table.read_text().replace("multi_task", "mutli_task"))
    text = (tmp_path / page.NAME).read_text(encoding="utf-8")
    (tmp_path / page.NAME).write_text(text.replace("</h1>", "!</h1>"), encoding="utf-8")
    (drawings,) = (tmp_path / "figures").iterdir()
    (drawings / "delta_m.png").write_bytes((drawings / "cost.png").read_bytes())
    (drawings / "cost.svg").write_text((drawings / "cost.svg").read_text().replace("</svg>", " </svg>"))
    code, out, _ = bench("report", *place, "--check")
    assert code == 1 and table.name in out and "index.html differs" in out and "2 differences" in out
    (drawings / "changes.png").unlink()
    code, out, err = bench("report", *place, "--check", "--figures", "--json")
    said = "\n".join(json.loads(out)["differences"])
    assert code == 1 and all(
        words in said for words in ("changes.png is missing", "delta_m.png has ", "cost.svg is not what")
    )
    assert "index.html does not hold the pictures" in said
    assert (tmp_path / page.NAME).read_text(encoding="utf-8") != text
