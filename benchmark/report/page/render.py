"""Boards to HTML with Jinja2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.report.board import Board
from benchmark.report.naming import protocol_changes
from benchmark.report.page.about import citation, methods, provenance, tasks
from benchmark.report.page.assets import library, text
from benchmark.report.page.boards import facets, view
from benchmark.report.page.figures import across, of_board

NAME = "index.html"


def html(found: Sequence[Board], folder: Path) -> str:
    """Return the page of all boards, to lie in `folder`, whose files it links to."""
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
    views = [view(board, folder, of_board(folder, board.name)) for board in ordered]
    titles = Counter(view["title"] for view in views)
    for each, board in zip(views, ordered, strict=True):
        if titles[each["title"]] > 1 and (changes := protocol_changes(board.group.protocol)):
            each["title"] += f" ({', '.join(changes)})"
    page = environment.get_template("page.html.j2").render(
        boards=views,
        families=across(folder, {board.name for board in ordered}),
        facets=facets(views),
        methods=methods(ordered),
        tasks=tasks(ordered),
        provenance=provenance(ordered),
        citation=citation(ordered),
        css=text("page.css"),
        script=text("page.js"),
        library=library(),
    )
    return page + "\n"
