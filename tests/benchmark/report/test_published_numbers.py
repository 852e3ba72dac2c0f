"""Numbers of papers: the file against itself, its errors, and that they stand apart from a board's own
rows.
"""

import io
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.errors import UserError
from benchmark.report import leaderboard, published
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.report.tables import csv_text, markdown
from tests.benchmark.report import make

SIGNS = {"semseg": 1, "parts": 1, "saliency": 1, "edge": 1, "depth": -1, "normals": -1}
# By how much a printed Δm may differ from that of the printed metrics, which are rounded: absErr of
# Cityscapes has 4 digits of which two are zeros.
ROUNDING = {"nyuv2-13": 0.015, "pascal-context": 0.015, "cityscapes-7": 0.22}
# One ablation of DiffusionMTL prints a Δm that its metrics do not give, as its note says.
WRONG_IN_PRINT = {("pascal-context", "published:one", "resnet18", "diffusionmtl-no-diffusion"): (0.11, -0.03)}


def board(folder: Path, variant: str, labels: str) -> Board:
    make.write_board(folder, seeds=2)
    (found,) = build(collect(folder))
    return replace(found, group=replace(found.group, variant=variant, labels=labels))


def test_the_printed_delta_m_follow_from_the_printed_metrics() -> None:
    papers = published.read()
    place = {(r.dataset, r.labels, r.encoder, r.key): r for r in papers.rows}
    checked = 0
    for key, row in place.items():
        if row.delta_m is None:
            continue
        base = place.get((*key[:3], row.delta_m_reference))
        if base is None:
            assert row.encoder == "resnet50"  # no single-task row of it is known
            continue
        changes = []
        for metric, value in row.metrics.items():
            before = float(base.metrics[metric])
            changes.append(100 * SIGNS[metric.split("_")[0]] * (float(value) - before) / before)
        delta = sum(changes) / len(changes)
        assert papers.delta_m(row, row.delta_m_reference) == pytest.approx(delta)
        if key in WRONG_IN_PRINT:
            assert (float(row.delta_m), round(delta, 2)) == WRONG_IN_PRINT[
                key
            ] and "does not follow" in row.note
        else:
            assert abs(delta - float(row.delta_m)) <= ROUNDING[row.dataset], (key, delta)
        checked += 1
    assert checked == 30


def test_rows_known_by_heart() -> None:
    """Values that more than one source prints alike."""
    papers = published.read()
    found = {(r.dataset, r.labels, r.encoder, r.key): r for r in papers.rows}
    row = found["pascal-context", "published:one", "resnet18", "tkpr"]
    assert list(map(str, row.metrics.values())) == [
        "59.78",
        "59.08",
        "78.62",
        "15.63",
        "65.10",
    ]  # the digits as printed
    assert papers.delta_m(row, "stl") == pytest.approx(5.44, abs=0.005)
    row = found["nyuv2-13", "published:one", "resnet18", "tkpr"]
    assert papers.delta_m(row, "stl") == pytest.approx(0.43, abs=0.005)
    row = found["nyuv2-13", "published:one", "segnet", "xtc"]
    assert papers.delta_m(row, "stl") == pytest.approx(10.23, abs=0.005)
    assert papers.delta_m(row, "sl") == pytest.approx(9.76, abs=0.005)  # the reference makes the number
    assert (
        papers.delta_m(found["nyuv2-13", "published:one", "Stable Diffusion 2", "stablemtl"], "stl") is None
    )
    assert all(r.metrics["semseg_mIoU"] < 100 for r in papers.rows) and len(papers.rows) == 70


def test_they_stand_below_the_board_and_nowhere_else(tmp_path: Path) -> None:
    plain, shown = board(tmp_path, "scenes-v1", "one"), board(tmp_path / "x", "nyuv2-13", "published:one")
    files = leaderboard.files([plain])
    assert files[f"tables/{plain.name}.md"] == markdown(plain)  # no published row, no section
    files = leaderboard.files([shown])
    text = files[f"tables/{shown.name}.md"]
    own, apart = text.split(f"\n## {published.TITLE}\n")
    assert own == markdown(shown) and "DiffusionMTL" not in own and "mtpsl" not in apart
    assert files[f"leaderboards/{shown.name}.csv"] == csv_text(shown) and "TKPR" not in csv_text(shown)
    table = [
        [c.strip() for c in line.strip("|").split("|")] for line in apart.splitlines() if line.startswith("|")
    ]
    assert table[0] == [
        "method", "encoder", "semseg mIoU ↑", "depth absErr ↓", "normals mErr ↓", "Δm (%)", "Δm as printed",
        "source", "note",
    ]  # fmt: skip
    assert {len(line) for line in table} == {9}
    assert ["Single-task", "resnet18", "45.28", "0.4802", "25.93", "0", "", "DiffusionMTL", ""] in table
    assert [
        "MTL baseline",
        "resnet18",
        "43.92",
        "0.5138",
        "26.44",
        "-3.99",
        "-3.99",
        "DiffusionMTL",
        "",
    ] in table
    assert table[-1][:7] == ["StableMTL", "Stable Diffusion 2", "47.81", "", "22.45", "", ""]
    assert "Other labels" not in apart and "Other masks" not in apart
    assert "- JTR README: " in apart and "- JTR: " not in apart  # only the sources of these rows
    assert leaderboard.check([shown], tmp_path)[0].endswith("is missing.")


@pytest.mark.parametrize(
    ("variant", "labels", "methods", "sentences"),
    [
        ("nyuv2-13", "published:random", {"JTR", "TKPR"}, set()),
        (
            "nyuv2-13",
            "random",
            {"JTR", "TKPR"},
            {"Other masks: the papers use the one frozen split 'published:random'"},
        ),
        ("nyuv2-13", "full", {"Single-task"}, set()),
        (
            "nyuv2-13-derived-normals",
            "published:one",
            {"TKPR"},
            {"Other labels: the papers use nyuv2-13, this board nyuv2-13-d"},
        ),
        ("nyuv2-13-derived-normals", "one", {"TKPR"}, {"Other labels: ", "this board draws its own ('one')"}),
        ("pascal-context", "one", {"TKPR with TAE only"}, {"Other masks"}),
        ("cityscapes-7", "published:one", {"JTR"}, set()),
        ("nyuv2-130", "one", None, set()),
        ("nyuv2-40", "one", None, set()),
        ("nyuv2-13", "fraction:0.5", None, set()),
        ("nyuv2-13", "given", None, set()),
    ],
)
def test_which_boards_have_them(
    variant: str, labels: str, methods: set[str] | None, sentences: set[str], tmp_path: Path
) -> None:
    section = published.section(board(tmp_path, variant, labels))
    if methods is None:
        assert section is None
        return
    assert section is not None and methods <= {line[0] for line in section.lines}
    first, *others = section.sentences  # the made-up board is of 192 + 64 images
    theirs = published.read().images[variant.removesuffix("-derived-normals")]
    assert first == f"Other images: the papers train and test on {theirs}, this board on 192 + 64."
    text = " ".join(others)
    assert all(s in text for s in sentences) and text.count("Other ") == len(sentences)


def test_the_reference_of_a_printed_delta_m_is_named(tmp_path: Path) -> None:
    section = published.section(board(tmp_path, "nyuv2-13", "published:random"))
    assert section is not None
    (jtr,) = (line for line in section.lines if line[0] == "JTR")
    assert jtr[5:7] == ["+17.98", "+21.92 (against Supervised multi-task)"]


def test_boards_for_tuning_have_none(tmp_path: Path) -> None:
    found = board(tmp_path, "nyuv2-13", "one")
    group = replace(found.group, protocol=found.group.protocol | {"judge": "holdout"})
    assert published.section(replace(found, group=group)) is None


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("variant", ["nyuv2-13-derived-normals", "pascal-context", "cityscapes-7"])
def test_the_terminal_cuts_nothing(variant: str, width: int, tmp_path: Path) -> None:
    shown = board(tmp_path, variant, "one")
    section = published.section(shown)
    assert section is not None
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    console.print(leaderboard.text(shown))
    styled = console.export_text(styles=True, clear=False)
    text = console.export_text()
    below = text[text.index("Published numbers") :]
    assert "…" not in below and max(map(len, below.splitlines())) <= width
    flat = " ".join(below.split())
    for sentence in (
        published.TITLE,
        *section.sentences,
        "Sources, notes and the Δm that the papers print are in the Markdown",
    ):
        assert sentence in flat
    for line in section.lines:
        for cell in line[2 : -section.extra]:
            assert cell in flat
        assert line[0].split()[0][:12] in flat
    assert ("───" in below) == (width >= 80 or variant == "cityscapes-7")
    start = styled.index("Published numbers")
    plain = [line for line in styled[start:].splitlines()[1:] if re.sub(r"\x1b\[[\d;]*m", "", line).strip()]
    assert plain and all(re.search(r"\x1b\[2[;m]", line) for line in plain)


ROW = """
[[row]]
key = "stl"
method = "Single"
dataset = "d"
labels = "full"
encoder = "e"
metrics = { a_b = 10.50 }
source = "S"
"""
HEAD = 'reference = "stl"\n[metrics]\na_b = "higher"\n[sources]\nS = "whole"\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "published.toml"
    path.write_text(text)
    return path


def test_a_small_file(tmp_path: Path) -> None:
    papers = published.read(written(tmp_path, HEAD + ROW))
    assert papers.rows == (
        published.Paper("stl", "Single", "d", "full", "e", {"a_b": Decimal("10.50")}, "S"),
    )
    assert str(papers.rows[0].metrics["a_b"]) == "10.50" and papers.signs == {"a_b": 1}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('reference = "stl"\n', "", "lacks the key 'reference'; add it."),
        ('reference = "stl"', "reference = 1", "reference is 1; expected a text."),
        ('reference = "stl"', 'referenc = "stl"', "unknown key 'referenc'; did you mean 'reference'?"),
        ('"higher"', '"up"', "metric a_b is 'up'; write 'higher' or 'lower', whichever is better."),
        ('"whole"', "2", "sources: S is 2; expected a text."),
        ('encoder = "e"\n', "", "row 1 (Single) lacks the key 'encoder'; add it."),
        ('encoder = "e"', 'encodr = "e"', "row 1 (Single): unknown key 'encodr'; did you mean 'encoder'?"),
        ('encoder = "e"', "encoder = 1", "row 1 (Single): encoder is 1; expected a text."),
        ('method = "Single"', "method = 1", "row 1: method is 1; expected a text."),
        ('labels = "full"', 'labels = "one"', "row 1 (Single): unknown label setting 'one'; "),
        ('source = "S"', 'source = "T"', "row 1 (Single): unknown source 'T'; known: S."),
        ("{ a_b = 10.50 }", "{}", "row 1 (Single): metrics is empty; write what the paper prints."),
        ("{ a_b = 10.50 }", "1.5", "row 1 (Single): metrics is Decimal('1.5'); expected a table."),
        ("a_b = 10.50", "a_c = 10.50", "row 1 (Single): unknown metric 'a_c'; did you mean 'a_b'?"),
        ("10.50", "0.0", "row 1 (Single): a_b is 0.0; expected a number above 0 as printed, such as 45.0."),
        ("10.50", "nan", "row 1 (Single): a_b is NaN; expected a number above 0"),
        ("10.50", "'x'", "row 1 (Single): a_b is x; expected a number above 0"),
        ("10.50", "10", "row 1 (Single): a_b is 10; expected a number above 0"),
        (
            'source = "S"',
            'source = "S"\ndelta_m = 1',
            "delta_m is 1; expected a number as printed, such as 45.0.",
        ),
        (
            'source = "S"',
            'source = "S"\ndelta_m = 1.0',
            "row 1 (Single) has one of delta_m and delta_m_reference; a printed",
        ),
        (ROW, ROW + ROW, "row 2 (Single) has the key 'stl' of a row before; give it its own."),
        ("[[row]]", "[[row]", "cannot be read (Expected"),
    ],
)
def test_mistakes_in_the_file_are_named(before: str, after: str, message: str, tmp_path: Path) -> None:
    text = HEAD + ROW
    assert before in text
    path = written(tmp_path, text.replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        published.read(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_rows_must_be_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 1 is 1; expected a table"):
        published.read(written(tmp_path, "row = [1]\n" + HEAD))
    with pytest.raises(UserError, match="row is 1; expected an array of tables"):
        published.read(written(tmp_path, "row = 1\n" + HEAD))
    with pytest.raises(UserError, match=r"absent\.toml cannot be read"):
        published.read(tmp_path / "absent.toml")


def test_without_the_file_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "PATH", tmp_path / "absent.toml")
    assert published.markdown(board(tmp_path, "nyuv2-13", "one")) == ""
