"""The LaTeX table: what is bold, what stands below which rule, how its text is escaped, and that LaTeX sets
it.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import published
from benchmark.report.board import Board, build
from benchmark.report.captions import verdict
from benchmark.report.formats import fixed, signed
from benchmark.report.latex import escape, table
from benchmark.report.records import collect
from benchmark.report.tables import decimals
from tests.benchmark.report import make


def board(folder: Path, seeds: int, **data: Any) -> Board:
    """Five rows of which one lacks a failed seed and one is of an older version; two are too close to tell
    apart.
    """
    rows = [("single_task", {}, 0.0), ("multi_task", {}, 2.0), ("own_%&#$", {}, 4.0), ("mtpsl", {}, 8.0)]
    rows += [
        ("prototype", {"changed": {"codes": 64, "tke": False}}, 8.0),
        ("mtpsl", {"method_version": 0}, 5.0),
    ]
    for method, values, gain in rows:
        for seed in range(seeds):
            for s in make.specs(method, seed, labels="random", **values):
                s |= data
                if (method, seed) == ("own_%&#$", 1):
                    make.write_failure(folder, s, "loss of a_b rose to 1e9 & more, 100 %")
                else:
                    make.write_run(folder, make.record(s, gain, curve=False), panels=False)
    (found,) = build(collect(folder))
    return found


def blocks(text: str) -> list[list[str]]:
    """The lines between the rules of the table."""
    inside = text[text.index("\\toprule") : text.index("\\bottomrule")]
    return [block.strip().splitlines() for block in re.split(r"\\toprule|\\midrule", inside)[1:]]


def test_tier_one_is_bold_and_nothing_else(tmp_path: Path) -> None:
    made = board(tmp_path, 6)
    text = table(made)
    best = [e for e in made.entries if e.tier == "1"]
    assert {e.label.partition("(")[0] for e in best} == {"mtpsl", "prototype"} and len(best) == 2
    bold = [line for block in blocks(text) for line in block if "bf{" in line]
    assert len(bold) == 2 and text.count("\\textbf{") == text.count("\\mathbf{") == 2
    for e, line in zip(best, bold, strict=True):
        assert (
            e.delta is not None
            and f"\\textbf{{{e.row.method}}}" in line
            and f"\\mathbf{{{signed(e.delta.value)}}}" in line
        )
    # The best number of a task stands in another row than the first, and is not marked for that.
    assert not re.search(r"bf\{\d", text) and "Bold: tier 1." in text


def test_a_development_board_marks_nothing(tmp_path: Path) -> None:
    text = table(board(tmp_path, 3))
    assert (
        "bf{" not in text and "Nothing is bold, because nothing is ranked." in text and "& tier &" not in text
    )


def test_rows_and_rules(tmp_path: Path) -> None:
    made = board(tmp_path, 6)
    header, counted, others, constant = blocks(table(made))
    assert [t in header[0] for t in ("mIoU (\\%) $\\uparrow$", "absErr (m) $\\downarrow$", "mErr (deg)")] == [
        True
    ] * 3
    assert [line.split(" & ")[0] for line in others] == [
        "own\\_\\%\\&\\#\\$",
        "mtpsl v0",
    ] and "5/6 {\\tiny 1 failed}" in others[0]
    assert [line.split(" & ")[1] for line in others] == ["--", "--"]
    assert (
        len(counted) == 4
        and "0 (reference)" in counted[-1]
        and constant[0].startswith("constant (no method) & ")
    )
    places = decimals(made)
    for e, line in zip(
        (e for e in made.entries if e.delta and not e.failed and not e.row.outdated), counted, strict=True
    ):
        assert line.endswith(" \\\\") and len(re.split(r"(?<!\\)&", line)) == 7
        if e.role == "":
            assert e.delta and f"[{signed(e.delta.low)},\\,{signed(e.delta.high)}]" in line
        spread = e.spreads["depth"]["absErr"]
        mean, sd = (fixed(x, places["depth"]) for x in (spread.mean, spread.sd))
        assert f"${mean}\\,{{\\scriptstyle\\pm{sd}}}$" in line


def test_papers_stand_apart(tmp_path: Path) -> None:
    made = board(tmp_path, 6, dataset="nyuv2", variant="nyuv2-13")
    papers = published.section(made)
    last = blocks(table(made))[-1]
    assert papers and published.TITLE in last[0] and len(last) == 1 + len(papers.lines)
    for row, line in zip(papers.lines, last[1:], strict=True):
        assert (
            line.startswith(f"\\multicolumn{{3}}{{@{{}}l}}{{{escape(row[0])} ")
            and f"[{escape(row[-2])}]" in line
        )
        assert "bf{" not in line and f"${row[2]}$" in line
    sources = [detail for detail in papers.details if "arXiv" in detail]
    assert sources and all(escape(detail) in table(made) for detail in sources)


def test_text_is_escaped() -> None:
    assert escape(r"50 % of a_b & {c} #1 $x \y ~ ^") == (
        r"50 \% of a\_b \& \{c\} \#1 \$x \textbackslash{}y \textasciitilde{} \textasciicircum{}"
    )
    assert escape("Δm ↑ -1.5 to +2, x-1, labels 'one' \u4e2d é") == (
        r"$\Delta m$ $\uparrow$ $-$1.5 to +2, x-1, labels `one' ? é"
    )


def test_wide_tables_take_two_columns(tmp_path: Path) -> None:
    for name, tasks, environment in (("few", make.TASKS, "table"), ("many", tuple(make.INFO), "table*")):
        make.write_board(tmp_path / name, 2, tasks)
        text = table(build(collect(tmp_path / name))[0])
        assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") == 1


def test_bytes_and_caption(tmp_path: Path) -> None:
    made = board(tmp_path, 6)
    text = table(made)
    assert (
        text == table(build(collect(tmp_path))[0])
        and escape(verdict(made)) in text
        and text.endswith("\\end{table*}\n")
    )
    assert "loss of a\\_b rose to 1e9 \\& more, 100 \\%." in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs")
@pytest.mark.parametrize("tasks", [make.TASKS, tuple(make.INFO)])
def test_latex_sets_it(tasks: tuple[str, ...], tmp_path: Path) -> None:
    if subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:
        pytest.skip("needs the package booktabs")
    if tasks == make.TASKS:
        made = board(tmp_path / "runs", 6, dataset="nyuv2", variant="nyuv2-13")
    else:
        make.write_board(tmp_path / "runs", 2, tasks)
        (made,) = build(collect(tmp_path / "runs"))
    (tmp_path / "board.tex").write_text(table(made), encoding="utf-8")
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n"
    document += "\\begin{document}\n\\input{board}\n\\end{document}\n"
    (tmp_path / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    assert (
        done.returncode == 0 and "Overfull" not in done.stdout and "Missing character" not in done.stdout
    ), done.stdout
