"""Figures of a results folder as parts of the page: their content inside it, with a title and words for who
cannot see them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image, UnidentifiedImageError

from benchmark.errors import UserError

# {start of a figure's name: (title, what it shows)}; the longest that fits counts. The figure itself says the
# rest.
TITLES = {
    "delta_m": ("Δm with every seed", "Each method's Δm with its 95 % interval, a dot a seed"),
    "changes": (
        "Change by task",
        "Heat map of each task's relative change against the reference, with intervals",
    ),
    "wins": ("Every pair of methods", "Matrix of paired differences in Δm: ahead, behind, or cannot tell"),
    "cost": ("What Δm costs", "Training time of a seed against Δm"),
    "budget": ("Label budgets", "Scores and Δm against the share of labels, a line a method"),
    "ablation": ("Ablation", "What each component brings, with paired intervals"),
    "labels": ("Who is labelled", "Which labels of which training images are visible, for one label seed"),
    "predictions": ("Predictions", "The same test images for all methods: image, truth and predictions"),
    "errors": ("Errors", "The same test images for all methods: where and by how much each is wrong"),
    "curves": ("Training curves", "Losses and test scores over training: mean and range over seeds"),
    "extra_losses": ("Further losses", "The losses beside the tasks' own over training"),
    "matrix_": (
        "Matrix at the end of training",
        "A matrix that methods report of themselves, mean over seeds",
    ),
    "diagnostics": ("Over training", "What methods report of themselves over training"),
    "variance": ("Where the noise comes from", "Noise split into draw of labels, training, and the rest"),
}
MAX_SVG = 160 * 1024  # bytes; what is larger goes in as pixels
_QUALITY = 82  # of WebP, for pictures that are photographs


@dataclass(frozen=True)
class Figure:
    """source: a data URI, `data:` where contents are left out."""

    name: str
    title: str
    alt: str
    source: str


def of_board(folder: Path, board: str, pictures: bool = True) -> list[Figure]:
    """The figures of a board in the order of `TITLES`. Raises `UserError` for one that cannot be read."""
    place = folder / "figures" / board
    stems = {path.stem for path in place.glob("*.png")}
    known = list(TITLES)
    ordered = sorted(stems, key=lambda stem: (known.index(_kind(stem)) if _kind(stem) else len(known), stem))
    return [_figure(place, stem, pictures) for stem in ordered]


def across(folder: Path, boards: Collection[str], pictures: bool = True) -> list[Figure]:
    """The figures of folders that are no board's: those that several boards share."""
    places = sorted(path for path in folder.glob("figures/*") if path.is_dir() and path.name not in boards)
    return [
        _figure(place, path.stem, pictures, f"{place.name}: ")
        for place in places
        for path in sorted(place.glob("*.png"))
    ]


def _kind(stem: str) -> str:
    return max((start for start in TITLES if stem.startswith(start)), key=len, default="")


def _figure(place: Path, stem: str, pictures: bool, before: str = "") -> Figure:
    kind = _kind(stem)
    title, alt = TITLES.get(kind, (stem.replace("_", " "), "A figure"))
    rest = stem.removeprefix(kind).strip("_").replace("_", " ")
    title = f"{before}{title}{f': {rest}' if rest else ''}"
    return Figure(stem, title, alt, _source(place, stem) if pictures else "data:")


def _source(place: Path, stem: str) -> str:
    """The drawing as it is where that is small, else its pixels: without loss unless there is no drawing of
    it at all.
    """
    drawing, pixels = place / f"{stem}.svg", place / f"{stem}.png"
    try:
        if drawing.is_file() and drawing.stat().st_size <= MAX_SVG:
            # As text, which compresses; characters that an attribute or an address may not hold are escaped.
            text = " ".join(drawing.read_text(encoding="utf-8").split("?>", 1)[-1].split())
            return "data:image/svg+xml," + quote(text, safe=" =:/;,.()[]{}!$*+-_@?|~^'")
        out = io.BytesIO()
        with Image.open(pixels) as image:
            lossless = {"lossless": True} if drawing.is_file() else {"quality": _QUALITY}
            image.convert("RGB").save(out, "WEBP", method=6, **lossless)
    except (OSError, UnicodeDecodeError, UnidentifiedImageError) as error:
        raise UserError(
            f"{pixels.with_suffix('.*')} could not be read ({error}); `bench report` draws it anew."
        ) from None
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
