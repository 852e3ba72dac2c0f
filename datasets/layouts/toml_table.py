"""A table of a dataset.toml, whose keys are taken one by one; the first mistake is one sentence."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, shown, unknown
from datasets.layouts.toml_files import Place, is_pattern

ANY = object()  # a default that stands for none


class Table:
    """A table of the file, whose keys are taken one by one."""

    def __init__(self, file: Path, where: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise UserError(f"{where} in {file} is not a table; write [{where}] and its keys below.")
        self.file, self.values, self.said = file, values, f"[{where}] of {file}" if where else str(file)
        self.where = f"{where}." if where else ""

    def below(self, key: str, values: Any) -> Table:
        """A table within it."""
        return Table(self.file, self.where + key, values)

    def only(self, *keys: str) -> None:
        """Raise `UserError` for a key that is none of these."""
        for key in self.values:
            if key not in keys:
                raise unknown(f"key in {self.said}", key, keys)

    def take(self, key: str, right: Any, expected: str, default: Any = ANY) -> Any:
        """The value of a key; a `UserError` where it is not right, or missing without a default."""
        if key not in self.values:
            if default is not ANY:
                return default
            raise UserError(f"{self.said} has no {key}; add {key} = {expected}.")
        value = self.values[key]
        if not right(value):
            raise UserError(f"{key} = {shown(value)} in {self.said} is wrong; expected {expected}.")
        return value

    def table(self, key: str, keys: str) -> Any:
        """What should be a table of its own; a `UserError` where it is missing or empty."""
        if not self.values.get(key):
            raise UserError(f"{self.said} has no [{key}]; add it, with {keys}.")
        return self.values[key]

    def path(self, key: str, example: str) -> Path:
        """A file or folder inside the data set's folder."""
        value = self.take(key, lambda v: isinstance(v, str) and v.strip(), f'"{example}"')
        if Path(value).is_absolute() or ".." in Path(value).parts or "\\" in value:
            inside = f"{self.file.parent}; name something inside it"
            raise UserError(f"{key} = {shown(value)} in {self.said} leads out of {inside}.")
        return self.file.parent / value

    def place(self, key: str, example: str, endings: tuple[str, ...]) -> Place:
        """A folder at `key`, and which of its files are meant."""
        place = Place(self.path(key, example), endings)
        if "pattern" not in self.values:
            return place
        once = '{name} once, perhaps "{dir}/" before it, and the ending'
        example = f'"{{name}}_{example}{endings[-2]}": {once}'
        self.path("pattern", example)
        pattern = self.take("pattern", lambda v: is_pattern(v, endings), example)
        return replace(place, pattern=unicodedata.normalize("NFC", pattern))
