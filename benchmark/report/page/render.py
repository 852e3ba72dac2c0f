"""Boards to HTML, and whether a page on disk is what they give."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.report.board import Board
from benchmark.report.naming import protocol_changes
from benchmark.report.page.about import citations, methods, provenance, tasks
from benchmark.report.page.assets import library, text
from benchmark.report.page.boards import facets, view
from benchmark.report.page.figures import across, of_board
from benchmark.report.page.runs import objects

NAME = "index.html"
_PLACE = re.compile(r'<(?:section|script)[^>]* id="([^"]+)"')
_PICTURE = re.compile(r'src="data:[^"]*"')


def html(found: Sequence[Board], folder: Path, *, pictures: bool = True) -> str:
    """The page of all boards of a results folder, with the figures that lie below it.

    pictures: False leaves the figures' content out, for a comparison: pixels may differ a little between
    machines. Raises
    `UserError` for a figure that cannot be read.
    """
    environment = Environment(
        loader=PackageLoader("benchmark"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A visitor sees the first: that which can say most.
    ordered = sorted(
        found, key=lambda board: (-max(len(e.units) for e in board.entries), -len(board.run_ids), board.name)
    )
    views = [view(board, of_board(folder, board.name, pictures)) for board in ordered]
    titles = Counter(view["title"] for view in views)
    for each, board in zip(views, ordered, strict=True):
        if titles[each["title"]] > 1 and (changes := protocol_changes(board.group.protocol)):
            each["title"] += f" ({', '.join(changes)})"
    shown: dict[str, Any] = {
        "boards": views,
        "families": across(folder, [board.name for board in ordered], pictures),
        "facets": facets(views),
        "methods": methods(ordered),
        "tasks": tasks(ordered),
        "provenance": provenance(ordered),
        "citations": citations(ordered),
        "runs": _script({run["id"]: run for board in ordered for run in objects(board)}),
        "css": text("page.css"),
        "script": text("page.js"),
        "library": library(),
    }
    return environment.get_template("page.html.j2").render(shown) + "\n"


def _script(value: Any) -> str:
    """JSON that may stand inside a script element whatever texts it holds."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def differences(found: Sequence[Board], folder: Path) -> list[str]:
    """What differs between the page below `folder` and that which the records give, pictures aside; [] if
    nothing.
    """
    path = folder / NAME
    if not path.is_file():
        return [f"{NAME} is missing."]
    disk = _PICTURE.sub('src="data:"', path.read_bytes().decode("utf-8", errors="replace")).split("\n")
    expected = html(found, folder, pictures=False).split("\n")
    if disk == expected:
        return []
    where = next(
        (i for i, (a, b) in enumerate(zip(disk, expected, strict=False)) if a != b),
        min(len(disk), len(expected)),
    )
    marks = (_PLACE.search(line) for line in reversed(expected[: where + 1]))
    place = next((f" in {mark[1]}" for mark in marks if mark), "")
    here, there = (
        " ".join(lines[where].split()) if where < len(lines) else "nothing" for lines in (disk, expected)
    )
    start = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), 0)
    start = max(0, start - 40)
    return [
        f"{NAME} differs{place}: it has {here[start : start + 120]!r}, the records give "
        f"{there[start : start + 120]!r}."
    ]
