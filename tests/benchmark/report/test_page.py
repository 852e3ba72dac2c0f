"""The page as text: whole, closed, safe against texts of records, the same bytes twice, and checked."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from benchmark.report import page
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.report.tables import csv_text
from tests.benchmark.report import make
from tests.conftest import Bench
from tests.helpers import replace_in

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
    return build(collect(folder))


def test_it_is_whole_closed_and_holds_the_numbers_of_the_table(results: Path) -> None:
    (board,) = boards_in(results)
    text = (results / page.NAME).read_text(encoding="utf-8")
    assert page.html([board], results) == text and str(results) not in text  # the same bytes anywhere
    reader = read(text)
    links = [str(a["href"]) for tag, a in reader.elements if tag == "a"]
    links += [str(a["src"]) for _, a in reader.elements if "src" in a]
    names = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(names) == len(set(names))
    assert {link[1:] for link in links if link.startswith("#")} <= {*names}
    # Figures and records lie beside the page; nothing else is asked for but the library's own page.
    files = {unquote(link) for link in links if not link.startswith(("#", "https://datatables.net"))}
    assert all((results / name).is_file() for name in files)
    records = {path.relative_to(results).as_posix() for path in (results / "records").glob("*.json")}
    figures = [figure["name"] for figure in page.figures(results, board.name)]
    drawn = {path.stem for path in results.glob("figures/*/*.png")}
    assert records <= files and {Path(name).stem for name in files - records} == drawn == {*figures}
    assert figures[:2] == ["delta_m", "wins"] and len(drawn) == len(figures)
    assert all(a.get("alt") for tag, a in reader.elements if tag == "img")
    assert not [tag for tag, a in reader.elements if tag in ("iframe", "object")]
    cells = [str(a["data-order"]) for tag, a in reader.elements if tag == "td" and "data-order" in a]
    cells = [cell for cell in cells if re.fullmatch(r"[-\d.e+]+", cell)]
    for row in csv.DictReader(io.StringIO(csv_text(board))):
        if row["method"] != "constant":
            for name in ("delta_m", "semseg_mIoU_mean", "depth_absErr_mean", "seconds", "params_infer"):
                assert any(float(c) == pytest.approx(float(row[name]), rel=1e-5) for c in cells), name


def test_the_board_of_most_seeds_comes_first(tmp_path: Path) -> None:
    make.write_board(tmp_path, seeds=3, labels="one")
    make.write_board(tmp_path, seeds=5, labels="random")
    reader = read(page.html(boards_in(tmp_path), tmp_path))
    names = [str(a["id"]) for tag, a in reader.elements if tag == "section" and a.get("class") == "board"]
    assert [name.rpartition("-")[2] for name in names] == ["random", "one"]


def test_texts_of_records_stay_texts(tmp_path: Path) -> None:
    evil = '</script><img src="https://example.org/x" onerror="alert(1)">&'
    content = make.record(make.spec("prototype"))
    make.write_run(tmp_path, content, panels=False)
    make.write_failure(tmp_path, make.spec("prototype", 1), evil)
    text = page.html(boards_in(tmp_path), tmp_path)
    reader = read(text)
    assert not any(tag in ("img", "b") for tag, _ in reader.elements)
    assert "alert(1)" in "".join(reader.texts)


def test_the_library_is_whole_and_cannot_end_its_element() -> None:
    script = page.library()
    assert len(script) > 300_000 and "window.DataTable" in script
    assert "SpryMedia" in script and "jQuery" in script  # its licences
    assert "</script" not in script.lower() and not re.search(r"\bexport\s*\{", script)


def test_the_command(bench: Bench, tmp_path: Path) -> None:
    place: list[Any] = ["report", "--published", "--published-in", tmp_path]
    assert "no run is published" in bench.refused(*place)
    for s in (*make.specs("single_task", 0), *make.specs("multi_task", 0)):
        make.write_run(tmp_path, make.record(s, curve=False), published=True, panels=False)
    file = tmp_path / page.NAME
    assert bench.json(*place)["page"] == str(file) and bench.ok(*place, "--check")
    replace_in(file, "</h1>", "!</h1>")
    edited = file.read_bytes()
    code, out, _ = bench(*place, "--check")
    assert code == 1 and "index.html differs" in out and "1 difference" in out
    assert file.read_bytes() == edited
