"""The page: every board of a results folder in one file that links to its figures and records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.report.board import Board
from benchmark.report.naming import protocol_changes
from benchmark.report.page.about import citation, figures, methods, provenance, tasks
from benchmark.report.page.boards import facets, view

NAME = "index.html"
# The bundle ends in its exports, then a comment with the licences.
_EXPORTS = re.compile(
    r"export\s*\{[^}]*?(\w+) as jQuery\b[^}]*\}\s*;?\s*(?=/\*! Bundled license information)"
)


def html(found: Sequence[Board], folder: Path) -> str:
    """Return the page of all boards, to lie in `folder`, whose files it links to."""
    # A visitor sees the first: that which can say most.
    ordered = sorted(
        found, key=lambda board: (-max(len(e.units) for e in board.entries), -len(board.run_ids), board.name)
    )
    views = [view(board, folder) for board in ordered]
    titles = Counter(view["title"] for view in views)
    for each, board in zip(views, ordered, strict=True):
        if titles[each["title"]] > 1 and (changes := protocol_changes(board.group.protocol)):
            each["title"] += f" ({', '.join(changes)})"
    others = {path.name for path in folder.glob("figures/*")} - {board.name for board in ordered}
    environment = Environment(
        loader=PackageLoader("benchmark"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        boards=views,
        families=[figure for name in sorted(others) for figure in figures(folder, name, f"{name}: ")],
        facets=facets(views),
        methods=methods(ordered),
        tasks=tasks(ordered),
        provenance=provenance(ordered),
        citation=citation(ordered),
        css=_own("page.css"),
        script=_own("page.js"),
        library=library(),
    )
    return page + "\n"


def _own(name: str) -> str:
    return (files("benchmark") / "templates" / name).read_text(encoding="utf-8")


@cache
def library() -> str:
    """Return DataTables as a module script that sets `window.DataTable`.

    It is MIT, with jQuery, MIT, as the package itables brings it, licences inside; its style sheet is not
    used. Raises `ValueError` where the bundle is not of the known form.
    """
    bundle = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8").rstrip()
    script, count = _EXPORTS.subn(r"\nwindow.DataTable = \1.fn.dataTable;\n", bundle)
    if count != 1:
        raise ValueError("the script in the package itables does not end in an export of jQuery")
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)
