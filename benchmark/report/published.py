"""Numbers that papers print, from `results/published.toml`: shown below a board, apart from its rows.

Other code and other choices made them, so they enter no ranking, no CSV and no figure. Their delta m is
computed here from the printed metrics against the file's own single-task row of the same data set, label
setting and encoder, and stands beside what the paper prints, which may be relative to another row.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmark import ROOT
from benchmark.errors import UserError, unknown
from benchmark.report.board import Board
from benchmark.report.formats import signed
from benchmark.report.rows import Group

PATH = ROOT / "results" / "published.toml"
TITLE = "Published numbers (other code, their own choice of epoch; not comparable in level)"
LABELS = ("published:one", "published:random", "full")

_FILE = {"reference": str, "metrics": dict, "sources": dict, "row": list}
_NEEDED = {
    "key": str,
    "method": str,
    "dataset": str,
    "labels": str,
    "encoder": str,
    "metrics": dict,
    "source": str,
}
_OPTIONAL = {"delta_m": Decimal, "delta_m_reference": str, "note": str}
_WORDS = {
    str: "a text",
    dict: "a table",
    list: "an array of tables",
    Decimal: "a number as printed, such as 45.0",
}


@dataclass(frozen=True)
class Paper:
    """A row of a paper. metrics: {`TASK_METRIC`: value with the digits that are printed}. source: a key of
    `Papers.sources`.

    delta_m: as the paper prints it, in %, relative to the row with the key delta_m_reference.
    """

    key: str
    method: str
    dataset: str
    labels: str
    encoder: str
    metrics: dict[str, Decimal]
    source: str
    delta_m: Decimal | None = None
    delta_m_reference: str = ""
    note: str = ""


@dataclass(frozen=True)
class Papers:
    """The file. signs: {`TASK_METRIC`: +1 where higher is better, else -1}. reference: the key of its
    single-task rows.
    images: {data set: "795 + 654"}, on how many the papers train and test."""

    rows: tuple[Paper, ...]
    signs: dict[str, int]
    sources: dict[str, str]
    reference: str
    images: dict[str, str]

    def find(self, row: Paper, key: str) -> Paper | None:
        """The row with this key of the same data set, label setting and encoder as `row`."""
        place = (row.dataset, row.labels, row.encoder, key)
        return next((r for r in self.rows if (r.dataset, r.labels, r.encoder, r.key) == place), None)

    def delta_m(self, row: Paper, key: str) -> float | None:
        """Delta m of a row in %, from its metrics against those of the row with this key; None where they are
        not the same.
        """
        base = self.find(row, key)
        if base is None or base.metrics.keys() != row.metrics.keys():
            return None
        changes = [
            self.signs[m] * float((value - base.metrics[m]) / base.metrics[m])
            for m, value in row.metrics.items()
        ]
        return 100 * sum(changes) / len(changes)


@dataclass(frozen=True)
class Section:
    """What stands below a board. lines: one a row, as wide as header. details: sentences, and `extra` the
    last columns, that the terminal has no room for."""

    header: list[str]
    lines: list[list[str]]
    sentences: list[str]
    details: list[str]
    extra: int = 3


def read(path: Path = PATH) -> Papers:
    """The file's rows. Raises `UserError` naming the row and the key that is unknown, missing or not what it
    must be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); put it back as this program brings it.") from error
    _check(str(path), content, _FILE, {"images": dict})
    for metric, direction in content["metrics"].items():
        if direction not in ("higher", "lower"):
            raise UserError(
                f"{path}: metric {metric} is {direction!r}; write 'higher' or 'lower', whichever is better."
            )
    _check(f"{path}: sources", content["sources"], dict.fromkeys(content["sources"], str), {})
    signs = {metric: 1 if direction == "higher" else -1 for metric, direction in content["metrics"].items()}
    rows: dict[tuple[str, ...], Paper] = {}
    for number, values in enumerate(content["row"], 1):
        row = _row(f"{path}: row {number}", values, signs, content["sources"])
        if rows.setdefault((row.dataset, row.labels, row.encoder, row.key), row) is not row:
            raise UserError(
                f"{path}: row {number} ({row.method}) has the key {row.key!r} of a row before; give it its "
                f"own."
            )
    return Papers(
        tuple(rows.values()), signs, content["sources"], content["reference"], content.get("images", {})
    )


def _check(where: str, values: Any, needed: dict[str, Any], optional: dict[str, Any]) -> None:
    """That these are the keys and each has its type."""
    if not isinstance(values, dict):
        raise UserError(f"{where} is {values!r}; expected a table.")
    for key in values:
        if key not in (kinds := needed | optional):
            raise UserError(f"{where}: {unknown('key', key, kinds)}")
        if type(values[key]) is not kinds[key]:
            raise UserError(f"{where}: {key} is {values[key]!r}; expected {_WORDS[kinds[key]]}.")
    for key in needed:
        if key not in values:
            raise UserError(f"{where} lacks the key {key!r}; add it.")


def _row(where: str, values: Any, signs: dict[str, int], sources: dict[str, str]) -> Paper:
    if isinstance(values, dict) and isinstance(values.get("method"), str):
        where = f"{where} ({values['method']})"
    _check(where, values, _NEEDED, _OPTIONAL)
    if values["labels"] not in LABELS:
        raise UserError(f"{where}: {unknown('label setting', values['labels'], LABELS)}")
    if values["source"] not in sources:
        raise UserError(f"{where}: {unknown('source', values['source'], sources)}")
    if not values["metrics"]:
        raise UserError(f"{where}: metrics is empty; write what the paper prints.")
    for metric, value in values["metrics"].items():
        if metric not in signs:
            raise UserError(f"{where}: {unknown('metric', metric, signs)}")
        if type(value) is not Decimal or not value.is_finite() or value <= 0:
            raise UserError(
                f"{where}: {metric} is {value}; expected a number above 0 as printed, such as 45.0."
            )
    if ("delta_m" in values) != ("delta_m_reference" in values):
        raise UserError(
            f"{where} has one of delta_m and delta_m_reference; a printed Δm needs the row that it is "
            f"relative to."
        )
    return Paper(**values)


def section(board: Board) -> Section | None:
    """The published rows of the board's data set and label setting, whoever drew the labels; None where there
    are none.

    A board that judges on a part of the train images has none: those of papers are scores on the test set.
    """
    if not PATH.is_file() or board.group.protocol["judge"] != "test":
        return None
    papers, g = read(), board.group
    rows = [r for r in papers.rows if _matches(g, r)]
    if not rows:
        return None
    metrics = [m for m in papers.signs if any(m in r.metrics for r in rows)]
    titles = [f"{m.replace('_', ' ')} {'↑' if papers.signs[m] > 0 else '↓'}" for m in metrics]
    lines = []
    for r in rows:
        values = [str(r.metrics.get(m, "")) for m in metrics]
        delta = papers.delta_m(r, papers.reference)
        computed = "0" if r.key == papers.reference else signed(delta, 2)
        lines.append([r.method, r.encoder, *values, computed, _printed(papers, r), r.source, r.note])
    header = ["method", "encoder", *titles, "Δm (%)", "Δm as printed", "source", "note"]
    details = [
        "Δm as printed: what the paper says, against the same row or the one in brackets.",
        *(f"{name}: {text}." for name, text in papers.sources.items() if any(r.source == name for r in rows)),
    ]
    return Section(header, lines, _sentences(g, rows, papers.images), details)


def _matches(g: Group, row: Paper) -> bool:
    same_data = g.variant == row.dataset or g.variant.startswith(f"{row.dataset}-")
    return same_data and g.labels.removeprefix("published:") == row.labels.removeprefix("published:")


def _printed(papers: Papers, row: Paper) -> str:
    if row.delta_m is None:
        return ""
    if row.delta_m_reference == papers.reference:
        return f"{row.delta_m:+}"
    base = papers.find(row, row.delta_m_reference)
    return f"{row.delta_m:+} (against {base.method if base else row.delta_m_reference})"


def _images(g: Group) -> str:
    """`795 + 654`: on how many images the board's runs were trained, and tested at most."""
    trained = [r["images"] for row in g.rows for r in row.records if not r["one_task"]]
    return f"{max(trained, default=0)} + {max((t.test_images or 0 for t in g.tasks), default=0)}"


def _sentences(g: Group, rows: list[Paper], images: dict[str, str]) -> list[str]:
    dataset, labels = rows[0].dataset, rows[0].labels
    found = []
    if dataset in images and _images(g) not in (images[dataset], f"0 + {images[dataset].split()[-1]}"):
        found.append(
            f"Other images: the papers train and test on {images[dataset]}, this board on {_images(g)}."
        )
    if g.variant != dataset:
        found.append(
            f"Other labels: the papers use {dataset}, this board {g.variant}, whose labels differ from "
            f"theirs in training and in "
            f"the test, so neither levels nor differences can be compared."
        )
    if g.labels != labels:
        found.append(
            f"Other masks: the papers use the one frozen split '{labels}', this board draws its own "
            f"('{g.labels}')."
        )
    found.append(
        "Δm (%): computed here from these numbers against the single-task row of the same encoder, whichever "
        "paper it is from; "
        "empty where a number is not known."
    )
    return found


def markdown(board: Board) -> str:
    """The section as Markdown, to stand at the end of a board's document; "" where there is none."""
    found = section(board)
    if found is None:
        return ""
    rule = ["---"] * 2 + ["---:"] * (len(found.header) - 4) + ["---"] * 2
    table = [found.header, rule, *found.lines]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)
    return (
        f"\n## {TITLE}\n\n{body}\n\n"
        + "\n".join(f"- {sentence}" for sentence in found.sentences + found.details)
        + "\n"
    )
