"""A practitioner's own images and label maps, in a folder with a dataset.toml; no code needed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmark.errors import UserError
from datasets import packed
from datasets.layouts.base import Source
from datasets.layouts.toml_folder import TomlFolder
from datasets.prepared import Form, Prepared
from datasets.tasks import Task, from_dict


class OwnData(Prepared):
    """Read `own-data-NAME` as a dataset.toml describes it: name, tasks, size; labels may be partial."""

    name: ClassVar[str] = "own-data"
    summary: ClassVar[str] = "your own images and label maps, partial or not, as a dataset.toml says"
    source: ClassVar[str] = "a folder of yours"
    licence: ClassVar[str] = "yours"
    private: ClassVar[bool] = True  # runs of it are published only where each is named
    default_labels: ClassVar[str] = "given"
    forms: ClassVar[dict[str, Form]] = {"own-data": Form({}, (96, 128))}  # what it is without data
    expected: ClassVar[str] = "a folder with a dataset.toml that says where images and label maps are"
    elsewhere: ClassVar[tuple[str, ...]] = (
        "these are your own: put a dataset.toml beside images and label maps and run `bench data prepare "
        "own-data FOLDER`.",
    )

    @classmethod
    def open(cls, path: Path, form: str) -> Source | None:
        """Return the reader of a folder; see `Prepared.open`."""
        return TomlFolder(path) if TomlFolder.detect(path) else None

    @classmethod
    def form_in(cls, source: Source, name: str) -> Form:
        """Return the tasks, the size and the fit that a description gives."""
        assert isinstance(source, TomlFolder)
        return Form(source.tasks, source.description.size, source.description.fit)

    @property
    def joins(self) -> tuple[str, ...]:
        """Name the data sets that a dataset.toml here joins by this name; () where none does."""
        every = [store.manifest.get("joins", ()) for store in self._stores]
        every += [self._unpacked.joins] if not every and self._unpacked else []
        found = {f"{self.name}-{whole}": names for whole, *names in filter(None, every)}
        sole = self.wanted == self.name and len(found) == 1 and all(every)
        whole = next(iter(found)) if sole else self.wanted
        return tuple(f"{self.name}-{name}" for name in found.get(whole, ()))

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks of the data here. Raises `UserError` without any."""
        if not self.here():
            raise self._absent()
        for store in self._own:
            if self._tasks_in(store) != self._tasks_in(first := self._own[0]):
                cure = "`bench data prepare --force` packs the older one again"
                both = f"{first.folder} and {store.folder}"
                raise UserError(f"{both} were packed with different tasks; {cure}.")
        return super().tasks

    def _tasks_in(self, store: packed.Store) -> dict[str, Task]:
        try:
            return {name: from_dict(store.manifest["definitions"][name]) for name in store.manifest["tasks"]}
        except (KeyError, TypeError, ValueError, AttributeError):
            damaged = f"{store.folder / 'manifest.json'} is damaged (definitions)"
            raise UserError(f"{damaged}; prepare the data again with --force.") from None
