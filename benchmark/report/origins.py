"""What a reader must know of where records come from: uncommitted changes, other code, other versions, what
is not there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmark.report.board import Board
from benchmark.report.naming import protocol_title, shipped_values
from benchmark.report.records import Record
from benchmark.runs import digest

NAMED = 3  # ids in a sentence


def sentences(board: Board) -> list[str]:
    """What the records alone tell of it, for the board's caption."""
    found = (
        _version(board),
        _dirty(board),
        _mixed_code(board),
        _without_digest(board),
        _without_arrays(board),
    )
    return [sentence for sentence in found if sentence]


def other_code(board: Board, sources: Mapping[str, str]) -> str:
    """Which rows today's code did not compute, though the versions of their methods are the same; "" without
    any.

    sources: {method: hash of its source today}. It is no part of a table: a changed comment must not make
    published ones wrong.
    """
    rows = []
    for e in board.entries:
        found = [r["source"] for r in e.row.records if r.content.get("source")]
        other = sum(source != sources.get(e.row.method) for source in found)
        if other and e.row.method in sources and not e.row.outdated:
            rows.append(e.label if other == len(found) else f"{e.label} ({other} of {len(found)} runs)")
    if not rows:
        return ""
    return (
        f"Computed by other code: {', '.join(rows)}. The method's source is another today and its version "
        f"the same; "
        f"`bench run --force` makes the runs again, or bump the version if numbers move."
    )


def apart(boards: Sequence[Board]) -> list[str]:
    """A sentence for each protocol name, data set and label setting whose records are of several versions or
    values.
    """
    alike: dict[tuple[str, ...], list[Board]] = defaultdict(list)
    for board in boards:
        g = board.group
        alike[g.protocol["name"], g.variant, g.labels].append(board)
    return [
        f"Not compared with each other: "
        f"{'; '.join(f'{protocol_title(b.group.protocol)} in {b.name}' for b in found)}."
        for found in alike.values()
        if len(found) > 1
    ]


def warnings(boards: Sequence[Board], sources: Mapping[str, str]) -> list[str]:
    """All of it over all boards, each sentence of one board after its name."""
    of_boards = [f"{b.name}: {s}" for b in boards for s in (*sentences(b), other_code(b, sources)) if s]
    return [*of_boards, *apart(boards)]


def _version(board: Board) -> str:
    protocol = board.group.protocol
    shipped = shipped_values(protocol["name"])
    if shipped is None or shipped["version"] == protocol["version"]:
        return ""
    return (
        f"Other version of the protocol: these are runs of {protocol['name']} v{protocol['version']}, which "
        f"is at "
        f"v{shipped['version']} now; runs of that have a board of their own."
    )


def _dirty(board: Board) -> str:
    rows = _rows(board, lambda records: any(r["environment"].get("dirty") for r in records))
    return f"Computed with uncommitted changes: {', '.join(rows)}." if rows else ""


def _mixed_code(board: Board) -> str:
    rows = _rows(board, lambda records: len({s for r in records if (s := r.content.get("source"))}) > 1)
    return f"The runs of one row were not all computed by the same code: {', '.join(rows)}." if rows else ""


def _without_digest(board: Board) -> str:
    rows = _rows(board, lambda records: any(digest.KEY not in r.content for r in records))
    return (
        f"Records without a digest, so that edits of them cannot be told: {', '.join(rows)}." if rows else ""
    )


def _without_arrays(board: Board) -> str:
    found = {e.label: [r.id for r in e.row.records if r.arrays is None] for e in board.entries}
    rows = [f"{label} ({_ids(ids)})" for label, ids in sorted(found.items()) if ids]
    if not rows:
        return ""
    return f"Without statistics of single images, so without intervals over test images: {', '.join(rows)}."


def _rows(board: Board, which: Callable[[list[Record]], bool]) -> list[str]:
    return sorted(e.label for e in board.entries if which(e.row.records))


def _ids(ids: Iterable[str]) -> str:
    ordered = sorted(ids)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return f"run{'s' * (len(ordered) > 1)} {', '.join(ordered[:NAMED])}{more}"
