"""The figures of a results folder as parts of the page: a link, a title, and words that describe it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# {start of a figure's name: (title, what it shows)}; the longest that fits counts. The figure itself says the
# rest.
TITLES = {
    "delta_m": ("Δm with every seed", "Each method's Δm with its 95 % interval, a dot a seed"),
    "changes": ("Change by task", "Heat map of each task's relative change against the reference"),
    "wins": ("Every pair of methods", "Matrix of paired differences in Δm: ahead, behind, or cannot tell"),
    "cost": ("What Δm costs", "Training time of a seed against Δm"),
    "budget": ("Label budgets", "Scores and Δm against the share of labels, a line a method"),
    "labels": ("Who is labelled", "Which labels of which training images are visible, for one label seed"),
    "predictions": ("Predictions", "The same test images for all methods: image, truth and predictions"),
    "errors": ("Errors", "The same test images for all methods: where and by how much each is wrong"),
    "curves": ("Training curves", "Losses and test scores over training: mean and range over seeds"),
    "extra_losses": ("Further losses", "The losses beside the tasks' own over training"),
    "matrix_": ("Matrix at the end of training", "A matrix that methods report, mean over seeds"),
    "diagnostics": ("Over training", "Diagnostics of methods over training"),
    "variance": ("Where the noise comes from", "Noise split into draw of labels, training, and the rest"),
}


@dataclass(frozen=True)
class Figure:
    """A figure at `source`, relative to the page: its SVG, or else its pixels."""

    name: str
    title: str
    alt: str
    source: str


def of_board(folder: Path, board: str) -> list[Figure]:
    """Return the figures of a board in the order of `TITLES`."""
    known = list(TITLES)
    paths = sorted((folder / "figures" / board).glob("*.png"))
    return [
        _figure(path) for path in sorted(paths, key=lambda p: [*known, _kind(p.stem)].index(_kind(p.stem)))
    ]


def across(folder: Path, boards: Collection[str]) -> list[Figure]:
    """Return the figures that several boards share."""
    paths = sorted(path for path in folder.glob("figures/*/*.png") if path.parent.name not in boards)
    return [_figure(path, f"{path.parent.name}: ") for path in paths]


def _kind(stem: str) -> str:
    return max((start for start in TITLES if stem.startswith(start)), key=len, default="")


def _figure(path: Path, before: str = "") -> Figure:
    kind, drawing = _kind(path.stem), path.with_suffix(".svg")
    title, alt = TITLES.get(kind, (path.stem.replace("_", " "), "A figure"))
    rest = path.stem.removeprefix(kind).strip("_").replace("_", " ")
    name = drawing.name if drawing.is_file() else path.name
    source = quote(f"figures/{path.parent.name}/{name}")
    return Figure(path.stem, f"{before}{title}{f': {rest}' if rest else ''}", alt, source)
