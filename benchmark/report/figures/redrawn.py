"""Whether figures on disk are what the records give: each is drawn again and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark.report import leaderboard, page
from benchmark.report.board import Board

# of 255: mean difference of the pixels of two drawings that are the same; fonts are smoothed a little
# differently
TOLERANCE = 2.0


def differences(boards: Sequence[Board], folder: Path) -> list[str]:
    """A sentence for each figure below `folder` that is missing, another or too many, and for a page that
    holds other pictures than lie there. SVG must be the same bytes, as they are under the versions of the
    constraints file."""
    with TemporaryDirectory(prefix="bench-report-") as place:
        leaderboard.write(boards, Path(place), complete=True)
        here, there = (
            {p.relative_to(top): p for p in sorted(top.glob("figures/*/*"))} for top in (folder, Path(place))
        )
        found = [f"{name} is missing." for name in there if name not in here]
        found += [f"{name} is no figure of these records." for name in here if name not in there]
        found += [
            f"{name} {what}."
            for name in there
            if name in here and (what := _difference(here[name], there[name]))
        ]
    path = folder / page.NAME
    if path.is_file() and path.read_bytes() != page.html(boards, folder).encode():
        found.append(
            f"{page.NAME} does not hold the pictures that lie in figures, or not the words that the records "
            f"give."
        )
    return found


def _difference(disk: Path, drawn: Path) -> str:
    """How a file differs from the one drawn again; "" if it does not."""
    if disk.suffix != ".png":
        same = disk.read_bytes() == drawn.read_bytes()
        return (
            ""
            if same
            else "is not what the records give, or other versions than those of constraints.txt drew it"
        )
    try:
        with Image.open(disk) as mine, Image.open(drawn) as other:
            if mine.size != other.size:
                return f"has {mine.size[0]}x{mine.size[1]} pixels, not {other.size[0]}x{other.size[1]}"
            a, b = (np.asarray(image.convert("RGB"), dtype=float) for image in (mine, other))
    except (OSError, UnidentifiedImageError) as error:
        return f"could not be read ({error})"
    mean = float(np.abs(a - b).mean())
    return f"is another drawing: pixels differ by {mean:.1f} of 255 in the mean" if mean > TOLERANCE else ""
