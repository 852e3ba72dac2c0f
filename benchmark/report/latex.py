"""A board as a LaTeX table for a paper: `\\input` it in a document that uses the package booktabs."""

from __future__ import annotations

import re

from benchmark.report import published
from benchmark.report.board import Board, Entry
from benchmark.report.captions import seeds_cell, sentences
from benchmark.report.formats import fixed, signed
from benchmark.report.naming import title
from benchmark.report.rows import TaskInfo
from benchmark.report.statistics import Estimate, Spread
from benchmark.report.tables import decimals

BEST = "1"  # the tier whose rows are bold
SIZES = {
    68: "small",
    77: "footnotesize",
    88: "scriptsize",
}  # {characters of a line: size at which it fits an article's text}
LONG = 20  # characters of a row's name from which its values stand on a second line
_ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "Δ": r"$\Delta$", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≥": r"$\geq$", "≤": r"$\leq$",
    "ψ": r"$\psi$",
    "°": r"$^\circ$", "²": "$^2$", "“": "``", "”": "''", "…": r"\ldots{}", "\xd7": r"$\times$",
    "\u2212": "$-$", "\u2013": "--",
    "\u2014": "---", "\u2018": "`", "\u2019": "'",
}  # fmt: skip
_LAST_LATIN = "\u017f"  # letters up to here are typeset as they are


def escape(text: str) -> str:
    """Prose for LaTeX. A character that the plain fonts of LaTeX lack becomes a question mark."""
    found = "".join(_ESCAPED.get(c, c if c <= _LAST_LATIN else "?") for c in text)
    found = re.sub(r"(?<!\w)'(?=\w)", "`", found).replace(',"', ', "')  # a long list needs places to break
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", found).replace(r"$\Delta$m", r"$\Delta m$")


def table(board: Board) -> str:
    """The board as a `table` environment. Rows of tier 1 are bold, never a maximum; rows that lack seeds or
    count for another version, the constant prediction and what papers print stand below rules of their
    own."""
    g, places = board.group, decimals(board)
    ranked = any(e.tier.isdigit() for e in board.entries)
    header = ["method", *["tier"] * ranked, "seeds", r"$\Delta m$ (\%)", *(_heading(t) for t in g.tasks)]
    lines = [(_counts(e), _line(board, e, places, ranked)) for e in board.entries]
    counted = [line for counts, line in lines if counts]
    others = [line for counts, line in lines if not counts]
    constant = ["constant (no method)", *[""] * ranked, "", _math(signed(board.constant.delta))]
    constant += [_math(fixed(board.constant.means[t.name].get(t.metric), places[t.name])) for t in g.tasks]
    papers = published.section(board)
    blocks = [counted, others, [constant], _papers(papers, g.tasks, ranked) if papers else []]
    bodies = ["".join(f"{' & '.join(line)} \\\\\n" for line in block) for block in blocks if block]
    if papers:
        bodies[-1] = (
            f"\\multicolumn{{{len(header)}}}{{@{{}}l}}{{\\emph{{{escape(published.TITLE)}}}}} "
            f"\\\\\n{bodies[-1]}"
        )
    answer, *notes = sentences(board)
    bold = (
        "Bold: tier 1."
        if any(e.tier == BEST for e in board.entries)
        else "Nothing is bold, because nothing is ranked."
    )
    notes += ["seeds: complete of planned.", *(papers.sentences + papers.details if papers else [])]
    columns = "l" + "c" * (1 + ranked) + "r" * (1 + len(g.tasks))
    size = _size([header, *counted, *others, constant])
    # A wide one takes both columns of a page that has two; where it is wider still, it stands out on both
    # sides alike.
    environment = "table" if size else "table*"
    return (
        "% Made by `bench leaderboard` from records; needs \\usepackage{booktabs}.\n"
        f"\\begin{{{environment}}}\n\\centering\n"
        f"\\caption{{{escape(f'{title(g)}. {answer} {bold}')}}}\n\\label{{tab:{board.name}}}\n\\medskip\n"
        f"\\{size or 'scriptsize'}\n\\setlength{{\\tabcolsep}}{{{3 if size else 2}pt}}\n"
        f"\\makebox[\\linewidth]{{%\n"
        f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n{' & '.join(header)} \\\\\n\\midrule\n"
        + "\\midrule\n".join(bodies)
        + "\\bottomrule\n\\end{tabular}}\n\n\\medskip\n"
        + "\\begin{minipage}{\\linewidth}\\scriptsize\\raggedright\n"
        + "\n".join(escape(note if note.endswith(".") else f"{note}.") for note in notes)
        + f"\n\\end{{minipage}}\n\\end{{{environment}}}\n"
    )


def _counts(entry: Entry) -> bool:
    return bool(entry.delta) and not (entry.failed or entry.row.partial or entry.row.outdated)


def _heading(task: TaskInfo) -> str:
    unit = f" ({task.unit})" if task.unit else ""
    return (
        f"\\shortstack{{{escape(task.name)}\\strut\\\\{escape(task.metric + unit)} {_ESCAPED[task.arrow]}}}"
    )


def _line(board: Board, entry: Entry, places: dict[str, int], ranked: bool) -> list[str]:
    best = entry.tier == BEST
    delta = "0 (reference)" if entry is board.reference and entry.delta else _delta(entry.delta, best)
    cells = [_name(entry.label, best), *[entry.tier if entry.tier.isdigit() else "--"] * ranked]
    cells += [_seeds(entry, len(board.planned)), delta]
    return cells + [_score(entry.spreads[t.name].get(t.metric), places[t.name]) for t in board.group.tasks]


def _name(label: str, best: bool) -> str:
    method, bracket, rest = label.partition("(")
    names = (
        [escape(method), f"{{\\tiny {escape(bracket + rest)}}}"]
        if bracket and len(label) > LONG
        else [escape(label)]
    )
    if best:
        names[0] = f"\\textbf{{{names[0]}}}"
    return names[0] if len(names) == 1 else f"\\shortstack[l]{{\\rule{{0pt}}{{2ex}}{names[0]}\\\\{names[1]}}}"


def _seeds(entry: Entry, planned: int) -> str:
    """`5/6`, and small how many failed."""
    complete, comma, failed = seeds_cell(entry, planned).partition(", ")
    return f"{complete} {{\\tiny {escape(failed)}}}" if comma else complete


def _math(text: str) -> str:
    return f"${text}$" if text else ""


def _delta(found: Estimate | None, best: bool) -> str:
    if found is None:
        return ""
    value = f"\\mathbf{{{signed(found.value)}}}" if best else signed(found.value)
    if found.low is None or found.high is None:
        return f"${value}$"
    return f"${value}\\;{{\\scriptstyle[{signed(found.low)},\\,{signed(found.high)}]}}$"


def _score(found: Spread | None, places: int) -> str:
    if found is None:
        return ""
    sd = "" if found.sd is None else f"\\,{{\\scriptstyle\\pm{fixed(found.sd, places)}}}"
    return f"${fixed(found.mean, places)}{sd}$"


def _papers(found: published.Section, tasks: tuple[TaskInfo, ...], ranked: bool) -> list[list[str]]:
    """The rows of papers, in the board's columns: their metrics where the board has them, their delta m
    computed alike.
    """
    column = {name: i for i, name in enumerate(found.header)}
    lines = []
    for row in found.lines:
        values = {t.name: column.get(f"{t.name} {t.metric} {t.arrow}") for t in tasks}
        about = f"{escape(row[0])} {{\\tiny {escape(row[1])} [{escape(row[column['source']])}]}}"
        name = f"\\multicolumn{{{2 + ranked}}}{{@{{}}l}}{{{about}}}"
        scores = ["" if at is None else _math(row[at]) for at in values.values()]
        lines.append([name, _math(row[column["Δm (%)"]]), *scores])
    return lines


def _size(lines: list[list[str]]) -> str:
    """The font size at which the widest line fits; "" where none is small enough."""
    width = sum(2 + max(_width(line[i]) for line in lines) for i in range(len(lines[0])))
    return next((size for most, size in SIZES.items() if width <= most), "")


def _width(cell: str) -> float:
    """About how many characters wide a cell is; of two lines the longer."""
    small = r"\{\\(?:tiny|scriptstyle) ?([^}]*)\}"
    parts = re.sub(r"\\rule\{0pt\}\{2ex\}|\\strut", "", cell).split("\\\\")
    return max(
        _length(re.sub(small, "", part)) + 0.7 * _length("".join(re.findall(small, part))) for part in parts
    )


def _length(text: str) -> int:
    return len(re.sub(r"\\[a-z]+(?:\[l\])?|\\[,;]|[\\{}$]", "", text))
