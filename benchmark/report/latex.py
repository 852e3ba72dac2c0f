"""A board as a LaTeX table for a paper: `\\input` it where the packages booktabs and graphicx are loaded."""

from __future__ import annotations

import re

from benchmark.report import published
from benchmark.report.board import Board
from benchmark.report.captions import facts, footnotes, verdict
from benchmark.report.naming import title
from benchmark.report.tables import texts

_ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "Δ": r"$\Delta$", "±": r"$\pm$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≥": r"$\geq$", "≤": r"$\leq$", "°": r"$^\circ$", "²": "$^2$", "“": "``", "”": "''",
    "…": r"\ldots{}", "\xd7": r"$\times$", "\u2212": "$-$", "\u2013": "--", "\u2014": "---", "\u2018": "`",
    "\u2019": "'",
}  # fmt: skip
_LAST_LATIN = "\u017f"  # letters up to here are typeset as they are
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # no wider than the text


def escape(text: str) -> str:
    """Prose for LaTeX. A character that the plain fonts of LaTeX lack becomes a question mark."""
    found = "".join(_ESCAPED.get(c, c if c <= _LAST_LATIN else "?") for c in text)
    found = re.sub(r"(?<!\w)'(?=\w)", "`", found).replace(',"', ', "')  # a long list needs places to break
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", found).replace(r"$\Delta$m", r"$\Delta m$")


def table(board: Board) -> str:
    """Return the board as a `table*` environment.

    Rows of tier 1 are bold, never a maximum. Rows that lack seeds or count for another version, the constant
    prediction and published numbers stand below rules of their own.
    """
    shown = texts(board)
    tasks = {f"{t.title} {t.arrow}": f"{t.name} {t.metric} {t.arrow}" for t in board.group.tasks}
    shown = shown[["method", "tier", "seeds", "Δm (%)", *tasks]]
    blocks: list[list[str]] = [[], [], [], []]
    for row in shown.to_dict("records"):
        cells = [escape(str(cell).split("\n")[0]) for cell in row.values()]
        if row["tier"] == "1":
            cells[0], cells[3] = (f"\\textbf{{{cells[i]}}}" for i in (0, 3))
        if not row["tier"].isdigit():
            cells[1] = "--"
        left_out = row["tier"].startswith(("version", "incomplete", "unranked")) or "failed" in row["seeds"]
        blocks[2 if row["tier"] == "not a method" else int(left_out)].append(" & ".join(cells))
    notes = [f"{name}: {text}" for name, text in facts(board)] + footnotes(board)
    papers = published.section(board)
    if papers:
        blocks[3].append(f"\\multicolumn{{{len(shown.columns)}}}{{l}}{{\\emph{{{escape(published.TITLE)}}}}}")
        for row in papers.table.to_dict("records"):
            name = escape(f"{row['method']} ({row['encoder']}) [{row['source']}]")
            scores = [escape(row.get(column, "")) for column in ("Δm (%)", *tasks.values())]
            blocks[3].append(" & ".join([f"\\multicolumn{{3}}{{l}}{{{name}}}", *scores]))
        notes += papers.notes
    bold = "Bold: tier 1." if (shown["tier"] == "1").any() else "Nothing is ranked."
    bodies = "\\midrule\n".join("".join(f"{line} \\\\\n" for line in block) for block in blocks if block)
    return (
        "% Made by `bench leaderboard` from records; needs \\usepackage{booktabs,graphicx}.\n"
        "\\begin{table*}\n\\centering\n\\caption{"
        f"{escape(f'{title(board.group)}. {verdict(board)} {bold}')}}}\n"
        f"\\label{{tab:{board.name}}}\n\\medskip\n\\small\n{_FIT}\n"
        f"\\begin{{tabular}}{{lcc{'r' * (1 + len(tasks))}}}\n\\toprule\n"
        f"{' & '.join(map(escape, shown.columns))} \\\\\n\\midrule\n{bodies}"
        "\\bottomrule\n\\end{tabular}}\n\n\\medskip\n\\begin{minipage}{\\linewidth}\\scriptsize\\raggedright\n"
        + "\n".join(escape(f"{note.removesuffix('.')}.") for note in notes)
        + "\n\\end{minipage}\n\\end{table*}\n"
    )
