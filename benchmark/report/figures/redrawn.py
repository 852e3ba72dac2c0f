"""Compare figures on disk with those that the records give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.report import leaderboard, page
from benchmark.report.board import Board


def differences(boards: Sequence[Board], folder: Path) -> list[str]:
    """Draw all figures anew; return a sentence for each that differs, and for the page."""
    with TemporaryDirectory(prefix="bench-report-") as place:
        leaderboard.write(boards, Path(place), complete=True)
        here, drawn = (
            {p.relative_to(top): p.read_bytes() for p in sorted(top.glob("figures/*/*"))}
            for top in (folder, Path(place))
        )
    found = [f"{name} is missing." for name in drawn if name not in here]
    found += [f"{name} is no figure of these records." for name in here if name not in drawn]
    other = [name for name in drawn if name in here and here[name] != drawn[name]]
    found += [f"{name} is not what the records and the versions of constraints.txt give." for name in other]
    path = folder / page.NAME
    if path.is_file() and path.read_bytes() != page.html(boards, folder).encode():
        found.append(f"{page.NAME} holds other pictures than figures, or other words than the records give.")
    return found
