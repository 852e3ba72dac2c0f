"""What a study found: rows of plain values, and how a table shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Column:
    """header: with the unit. key: of a row's value. pattern: how the value is written; None and absent are a
    dash.
    """

    header: str
    key: str
    pattern: str = "{}"

    def text(self, row: dict[str, Any]) -> str:
        value = row.get(self.key)
        return "-" if value is None else self.pattern.format(value)


@dataclass(frozen=True)
class Found:
    """rows: {key: value} that JSON can hold, more than the table shows; empty columns are left out. notes:
    sentences to be read below the table."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        table = Table()
        shown = [c for c in self.columns if any(row.get(c.key) is not None for row in self.rows)]
        for column in shown:
            words = all(isinstance(row.get(column.key), str | None) for row in self.rows)
            table.add_column(column.header, justify="left" if words else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(column.text(row) for column in shown))
        return table

    def as_dict(self) -> dict[str, Any]:
        return {"title": self.title, "rows": self.rows, "notes": list(self.notes)}
