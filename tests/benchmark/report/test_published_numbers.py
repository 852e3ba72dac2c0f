"""Numbers of papers: the file against itself, its errors, and that they stand apart from a board's rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.report.board import Board
from benchmark.report.details import TITLE, papers
from benchmark.report.papers import read_papers
from benchmark.report.rows import Group
from benchmark.report.tables import csv_text
from benchmark.report.views import markdown

SIGNS = {"semseg": 1, "parts": 1, "saliency": 1, "edge": 1, "depth": -1, "normals": -1}
# By how much a printed Δm may differ from that of the printed metrics, which are rounded: absErr of
# Cityscapes has 4 digits of which two are zeros.
ROUNDING = {"nyuv2-13": 0.015, "pascal-context": 0.015, "cityscapes-7": 0.22}
# One ablation of DiffusionMTL prints a Δm that its metrics do not give, as its note says.
WRONG_IN_PRINT = {("pascal-context", "published:one", "resnet18", "diffusionmtl-no-diffusion"): (0.11, -0.03)}


def group(found: Group, variant: str, labels: str, **protocol: object) -> Group:
    """Return the group as one of another data set and label setting."""
    return replace(found, variant=variant, labels=labels, protocol=found.protocol | protocol)


def test_the_printed_delta_m_follow_from_the_printed_metrics() -> None:
    file = read_papers()
    place = {(r.dataset, r.labels, r.encoder, r.key): r for r in file.row}
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
        assert file.delta_m(row, row.delta_m_reference) == pytest.approx(delta)
        if key in WRONG_IN_PRINT:
            assert (float(row.delta_m), round(delta, 2)) == WRONG_IN_PRINT[key]
            assert "does not follow" in row.note
        else:
            assert abs(delta - float(row.delta_m)) <= ROUNDING[row.dataset], (key, delta)
        checked += 1
    assert checked == 30


def test_rows_known_by_heart() -> None:
    """Values that more than one source prints alike, digits as printed; the reference makes the number."""
    file = read_papers()
    found = {(r.dataset, r.labels, r.encoder, r.key): r for r in file.row}
    row = found["pascal-context", "published:one", "resnet18", "tkpr"]
    assert [*map(str, row.metrics.values())] == ["59.78", "59.08", "78.62", "15.63", "65.10"]
    for place, reference, delta in (
        (("pascal-context", "published:one", "resnet18", "tkpr"), "stl", 5.44),
        (("nyuv2-13", "published:one", "resnet18", "tkpr"), "stl", 0.43),
        (("nyuv2-13", "published:one", "segnet", "xtc"), "stl", 10.23),
        (("nyuv2-13", "published:one", "segnet", "xtc"), "sl", 9.76),
    ):
        assert file.delta_m(found[place], reference) == pytest.approx(delta, abs=0.005)
    alone = found["nyuv2-13", "published:one", "Stable Diffusion 2", "stablemtl"]
    assert file.delta_m(alone, "stl") is None and len(file.row) == 70


def test_they_stand_below_the_board_and_nowhere_else(board: Board) -> None:
    assert papers(board.group) is None and TITLE not in markdown(board)
    shown = Board(group(board.group, "nyuv2-13", "published:one"))
    own, apart = markdown(shown).split(f"\n## {TITLE}\n")
    assert "DiffusionMTL" not in own and "mtpsl" not in apart and "TKPR" not in csv_text(shown)
    for line in (
        "| Single-task | resnet18 | 45.28 | 0.4802 | 25.93 | 0 |  | DiffusionMTL |  |",
        "| MTL baseline | resnet18 | 43.92 | 0.5138 | 26.44 | -3.99 | -3.99 | DiffusionMTL |  |",
        "| StableMTL | Stable Diffusion 2 | 47.81 |  | 22.45 |  |  |",
    ):
        assert line in apart
    assert "- JTR README: " in apart and "- JTR: " not in apart  # only the sources of these rows
    random = papers(group(board.group, "nyuv2-13", "published:random"))
    assert random and "| +17.98 | +21.92 (against Supervised multi-task) |" in random.markdown()
    assert papers(group(board.group, "nyuv2-13", "published:one", judge="holdout")) is None


@pytest.mark.parametrize(
    ("variant", "labels", "method", "differences"),
    [
        ("nyuv2-13", "published:random", "JTR", ["images"]),
        ("nyuv2-13-derived-normals", "one", "TKPR", ["images", "data", "labels"]),
        ("pascal-context", "one", "TKPR with TAE only", ["images", "labels"]),
        ("nyuv2-130", "one", None, []),
        ("nyuv2-13", "fraction:0.5", None, []),
    ],
)
def test_which_boards_have_them(
    variant: str, labels: str, method: str | None, differences: list[str], board: Board
) -> None:
    section = papers(group(board.group, variant, labels))
    assert (section is None) == (method is None)
    if section:
        assert method in set(section.table["method"])
        named = [note.split()[3] for note in section.notes if note.startswith("Not the same: ")]
        assert named == differences


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
CLAIM = """
[[claim]]
contrast = "c"
dataset = "d"
labels = "full"
encoder = "e"
first = "stl"
second = "mtl"
"""
HEAD = 'reference = "stl"\n[metrics]\na_b = "higher"\n[sources]\nS = "whole"\n'


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('reference = "stl"', 'referenc = "stl"', ["referenc"]),
        ('labels = "full"', 'labels = "one"', ["one"]),
        ('source = "S"', 'source = "T"', ["row 1 (Single): unknown source 'T'; known: S."]),
        ("a_b = 10.50", "a_c = 10.50", ["row 1 (Single): unknown metric 'a_c'; did you mean 'a_b'?"]),
        ("10.50", "nan", ["row 1 (Single): a_b is NaN; expected a number above 0"]),
        ('source = "S"', 'source = "S"\ndelta_m = 1.0', ["row 1 (Single)", "delta_m_reference"]),
        (ROW, ROW + ROW, ["row 2 (Single) has the key 'stl' of a row before; give it its own."]),
        (ROW, ROW + CLAIM, ["claim on 'c': 'mtl' is no row of its place with a Δm; name another."]),
    ],
)
def test_mistakes_in_the_file_are_named(before: str, after: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "published.toml"
    path.write_text(HEAD + ROW)
    assert str(read_papers(path).row[0].metrics["a_b"]) == "10.50"
    path.write_text((HEAD + ROW).replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        read_papers(path)
    assert str(caught.value).startswith(str(path)) and all(word in str(caught.value) for word in words)
