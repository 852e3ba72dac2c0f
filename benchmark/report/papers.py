"""Numbers that papers print, from `results/published.toml`.

They stand apart from a board's rows: other code and other choices made them, so they enter no ranking, no CSV
of rows and no figure of them. Their delta m is computed here from the printed metrics against the file's own
single-task row of the same data set, label setting and encoder, and stands beside that of the paper, which
may be relative to another row.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from benchmark import ROOT
from benchmark.errors import UserError, unknown
from benchmark.files import read_toml
from benchmark.report.rows import Group
from benchmark.typed import convert

PUBLISHED = ROOT / "results" / "published.toml"


class Placed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for a data set, a label setting and an encoder: rows of one such place are compared."""

    dataset: str
    labels: Literal["published:one", "published:random", "full"]
    encoder: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Return the three."""
        return self.dataset, self.labels, self.encoder


class Paper(Placed, frozen=True, forbid_unknown_fields=True):
    """A row of a paper.

    metrics: {`TASK_METRIC`: value with the digits in print}. source: a key of `Papers.sources`. delta_m: in
    print, in %, relative to the row with the key delta_m_reference.
    """

    key: str
    method: str
    metrics: dict[str, Decimal]
    source: str
    delta_m: Decimal | None = None
    delta_m_reference: str = ""
    note: str = ""


class Claim(Placed, frozen=True, forbid_unknown_fields=True):
    """What a paper says of a contrast that a plan named: that its row `first` is ahead of `second`, or not.

    first, second: keys of rows of its place. note: how these differ from the contrast's sides.
    """

    contrast: str
    first: str
    second: str
    note: str = ""


class Papers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file.

    metrics: the better direction of each `TASK_METRIC`. reference: the key of its single-task rows. images:
    {data set: "795 + 654"}, the number for training and for the test.
    """

    reference: str
    metrics: dict[str, Literal["higher", "lower"]]
    sources: dict[str, str]
    row: list[Paper]
    images: dict[str, str] = {}
    claim: list[Claim] = []

    def find(self, row: Placed, key: str) -> Paper | None:
        """Return the row with this key and the same place as `row`."""
        return next((r for r in self.row if (r.place, r.key) == (row.place, key)), None)

    def sides(self, claim: Claim, where: str = "") -> list[tuple[Paper, float]]:
        """Return both rows of a claim with their delta m. Raises `UserError` where one has none."""
        found = []
        for key in (claim.first, claim.second):
            row = self.find(claim, key)
            delta = self.delta_m(row, self.reference) if row else None
            if row is None or delta is None:
                raise UserError(f"{where}: {key!r} is no row of its place with a Δm; name another.")
            found.append((row, delta))
        return found

    def delta_m(self, row: Paper, key: str) -> float | None:
        """Return delta m of a row in % against that with this key, or None for other metrics."""
        base = self.find(row, key)
        if base is None or base.metrics.keys() != row.metrics.keys():
            return None
        signs = {m: 1 if direction == "higher" else -1 for m, direction in self.metrics.items()}
        changes = [signs[m] * float(v / base.metrics[m] - 1) for m, v in row.metrics.items()]
        return 100 * sum(changes) / len(changes)


def read_papers(path: Path = PUBLISHED) -> Papers:
    """Read the file. Raises `UserError` that names a wrong row and key."""
    papers: Papers = convert(read_toml(path, parse_float=Decimal), Papers, str(path))
    places = set()
    for number, row in enumerate(papers.row, 1):
        where = f"{path}: row {number} ({row.method})"
        if (row.place, row.key) in places:
            raise UserError(f"{where} has the key {row.key!r} of a row before; give it its own.")
        places.add((row.place, row.key))
        if row.source not in papers.sources:
            raise UserError(f"{where}: {unknown('source', row.source, papers.sources)}")
        for metric, value in row.metrics.items():
            if metric not in papers.metrics:
                raise UserError(f"{where}: {unknown('metric', metric, papers.metrics)}")
            if not value.is_finite() or not 0 < value < 10**9:
                raise UserError(f"{where}: {metric} is {value}; expected a number above 0, as printed.")
        if not row.metrics or (row.delta_m is None) != (not row.delta_m_reference):
            raise UserError(f"{where} needs metrics, and both or none of delta_m and delta_m_reference.")
    for claim in papers.claim:
        papers.sides(claim, f"{path}: claim on {claim.contrast!r}")
    return papers


@cache
def published() -> Papers:
    """The file of this checkout, read once for all boards; empty without it."""
    return read_papers() if PUBLISHED.is_file() else Papers(reference="", metrics={}, sources={}, row=[])


def alike(row: Placed, g: Group) -> bool:
    """Tell whether a row is of a group's data set and label setting, its mask published or drawn."""
    labels = {text.removeprefix("published:") for text in (row.labels, g.labels)}
    return len(labels) == 1 and f"{g.variant}-".startswith(f"{row.dataset}-")
