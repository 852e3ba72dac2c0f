"""Where a table on disk is not what the records give: file, column and row of each cell, and runs that are no
longer there.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

NAMED = 3  # cells of a file that are named; the rest are counted
_KEYS = (
    "method",
    "label_seed",
    "train_seed",
    "unit",
    "task",
    "metric",
)  # what tells the lines of a table apart
_ROW = {".md": re.compile(r"(?<!\\)\|"), ".tex": re.compile(r"(?<!\\)&")}  # between the cells of a line
_SPAN = re.compile(r"\\multicolumn\{(\d+)\}\{.*?l\}")


def describe(name: str, disk: str, records: str) -> list[str]:
    """Sentences on a file that is not what the records give: its first cells, and how many more."""
    suffix = Path(name).suffix
    found = list(_csv(disk, records) if suffix == ".csv" else _text(disk, records, suffix))
    if not found:
        found = ["the lines are the same, but not their order, number, ends or quotes"]
    more = len(found) - NAMED
    shown = [f"{name} differs: {what}." for what in found[:NAMED]]
    return shown + (
        [f"{name} differs in {more} more {'places' if more > 1 else 'place'}."] if more > 0 else []
    )


def runs(tables: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """{run id: (file, method of the row)} of the runs that CSV tables name. tables: {file: content}."""
    found: dict[str, tuple[str, str]] = {}
    for name, content in tables.items():
        for line in csv.DictReader(io.StringIO(content)):
            for run in (line.get("run_ids") or "").split():
                found.setdefault(run, (name, line.get("method") or ""))
    return found


def _cell(column: str, row: str, disk: str, records: str) -> str:
    return f"{column} of {row} is {disk!r} on disk, {records!r} from the records"


def _csv(disk: str, records: str) -> Iterator[str]:
    here, there = (list(csv.reader(io.StringIO(text))) for text in (disk, records))
    header, expected = here[0] if here else [], there[0]
    if header != expected:
        yield from (f"the column {column} is missing" for column in expected if column not in header)
        yield from (
            f"the column {column!r} is not one of the records" for column in header if column not in expected
        )
        return
    keys = [i for i, column in enumerate(expected) if column in _KEYS]
    a, b = (
        {tuple("".join(line[i : i + 1]) for i in keys): line for line in lines[1:]} for lines in (here, there)
    )
    lost, added = [key for key in b if key not in a], [key for key in a if key not in b]
    pairs = [(a[key], line) for key, line in b.items() if key in a]
    if len(lost) == len(added) == 1:  # what a line is called was edited
        pairs.append((a[added[0]], b[lost[0]]))
        lost, added = [], []
    for mine, line in pairs:
        row = _named(line, keys)
        if len(mine) != len(line):
            yield f"the row {row} has {len(mine)} cells on disk, {len(line)} from the records"
            continue
        yield from (_cell(c, row, x, y) for c, x, y in zip(expected, mine, line, strict=True) if x != y)
    yield from (f"the row {_named(b[key], keys)} is missing" for key in lost)
    yield from (f"the row {_named(a[key], keys)} is not from the records" for key in added)


def _named(line: list[str], keys: list[int]) -> str:
    """The method, and in the long form unit, seeds, task and metric."""
    return " ".join(text for i in keys for text in line[i : i + 1] if text)


def _text(disk: str, records: str, suffix: str) -> Iterator[str]:
    here, there = disk.splitlines(), records.splitlines()
    for kind, a, b, c, d in difflib.SequenceMatcher(None, here, there, autojunk=False).get_opcodes():
        if kind == "replace" and b - a == d - c:
            for i, j in zip(range(a, b), range(c, d), strict=True):
                yield from _line(here[i], there[j], i + 1, _header(there, j, suffix), suffix)
        elif kind != "equal":
            yield from (f"line {i + 1} is not from the records: {_short(here[i])}" for i in range(a, b))
            yield from (
                f"a line of the records is missing at line {a + 1}: {_short(there[j])}" for j in range(c, d)
            )


def _line(mine: str, line: str, number: int, header: list[str], suffix: str) -> Iterator[str]:
    """The cells in which two lines differ, or, outside a table, the line."""
    x, y = _cells(mine, suffix), _cells(line, suffix)
    if len(x) == len(y) == len(header) > 1:
        names = [_plain(cell) if suffix == ".tex" else cell for cell in header]
        row = _plain(y[0]) if suffix == ".tex" else y[0]
        yield from (
            f"{_cell(c, row, p, q)} (line {number})" for c, p, q in zip(names, x, y, strict=True) if p != q
        )
    else:
        yield f"line {number} is {_short(mine)} on disk, {_short(line)} from the records"


def _cells(line: str, suffix: str) -> list[str]:
    if suffix == ".md":
        return [cell.strip() for cell in _ROW[suffix].split(line)[1:-1]]
    found = [cell.strip() for cell in _ROW[suffix].split(line.removesuffix("\\\\"))]
    # A cell that spans columns counts for all of them.
    spans = [int(wide[1]) if (wide := _SPAN.match(cell)) else 1 for cell in found]
    return [text for cell, span in zip(found, spans, strict=True) for text in (cell, *[""] * (span - 1))]


def _plain(cell: str) -> str:
    """`depth absErr (m)` of a cell of LaTeX."""
    text = re.sub(r"\\[a-z]+(\[l\])?\{?|[{}$]|\\\\", " ", _SPAN.sub("", cell))
    text = re.sub(r"\\([%_&#])", r"\1", text)
    return re.sub(r"\s+", " ", text.replace("\\Delta ", "Δ")).strip()


def _header(lines: list[str], at: int, suffix: str) -> list[str]:
    """The cells of the header of the table that a line is in."""
    inside: Callable[[str], bool] = (
        (lambda t: t.startswith("|")) if suffix == ".md" else (lambda t: not t.startswith("\\begin"))
    )
    first = at
    while first > 0 and inside(lines[first - 1]):
        first -= 1
    if suffix == ".tex":
        first = next((i for i in range(first, at + 1) if _ROW[suffix].search(lines[i])), at)
    return _cells(lines[first], suffix)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
