"""A board for scripts: the rows of its CSV as objects, with numbers as numbers."""

from __future__ import annotations

import csv
import io
import math

from benchmark.report.board import Board
from benchmark.report.tables import csv_text

Value = str | int | float | None
# Columns of text; a hash or an id may look like a number.
_TEXT = {
    "tier", "method", "hyperparameters", "balance", "role", "dataset", "labels", "decidable", "tuning",
    "label_masks", "data",
    "protocol", "protocol_changes", "dirty", "run_ids", "device", "variance_split",
}  # fmt: skip


def objects(board: Board) -> list[dict[str, Value]]:
    """One object a row of the board's CSV, with its columns in its order; None for a number that is not
    there.
    """
    rows = csv.DictReader(io.StringIO(csv_text(board)))
    return [{column: _value(column, text) for column, text in row.items()} for row in rows]


def _value(column: str, text: str) -> Value:
    if column in _TEXT or (column.endswith("_seeds") and column != "n_seeds"):
        return text
    if text.isdigit():
        return int(text)
    return float(text) if text and math.isfinite(float(text)) else None  # JSON has no other numbers
